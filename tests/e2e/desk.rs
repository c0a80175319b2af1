//! Starts environments against one database, each with its own stats table.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::kit::dynamodb_local::DynamoDbLocal;
use harness::kit::execution_environment::{ExecutionEnvironment, Function};
use harness::kit::fault_proxy::FaultProxy;
use harness::kit::runtime_api::{Outcome, RuntimeApi};
use harness::kit::stats::Stats;
use harness::kit::{functions, lambda_event, tables, workspace};
use serde_json::{Value, json};

/// A database, and the programs of the functions.
pub(crate) struct Desk {
    dynamodb: DynamoDbLocal,
    pub logs: PathBuf,
    programs: BTreeMap<String, PathBuf>,
}

impl Desk {
    pub(crate) async fn new(name: &str) -> Result<Self> {
        let logs = workspace::local(&format!("logs/{name}"));
        std::fs::create_dir_all(&logs)?;
        let dynamodb = DynamoDbLocal::start_in_memory(&logs.join("dynamodb.log")).await?;
        tables::create(&dynamodb.client()).await?;
        Ok(Self { dynamodb, logs, programs: functions::build().await? })
    }

    /// Returns the function of this name.
    pub(crate) fn function(&self, name: &'static str) -> Result<Function> {
        Ok(Function { name, program: self.programs.get(name).with_context(|| format!("there is a {name}"))?.clone() })
    }

    /// Starts an `encode` with its own stats table, which exists only if `has_table`, and with a proxy before the database.
    pub(crate) async fn encode(&self, name: &str, settings: &[(&str, &str)], has_table: bool) -> Result<Running> {
        self.start(&self.function("encode")?, name, settings, has_table).await
    }

    /// Starts another function in the same way as [`Self::encode`].
    pub(crate) async fn start(
        &self,
        function: &Function,
        name: &str,
        settings: &[(&str, &str)],
        has_table: bool,
    ) -> Result<Running> {
        let proxy = FaultProxy::before(&self.dynamodb.url()).await?;
        let stats = self.stats(name);
        if has_table {
            stats.create().await?;
        }
        let variables = stats.variables(&proxy.url(), settings);
        let log = self.logs.join(format!("{name}.log"));
        let environment = ExecutionEnvironment::start(function, &variables, &log).await?;
        Ok(Running { api: environment.api(), environment, proxy, stats })
    }

    /// Returns the stats table of this name.
    pub(crate) fn stats(&self, name: &str) -> Stats {
        Stats::new(self.dynamodb.client(), format!("stats-{name}"))
    }

    /// Returns the URL of the database.
    pub(crate) fn url(&self) -> String {
        self.dynamodb.url()
    }
}

/// A running environment, with its proxy and its stats table.
pub(crate) struct Running {
    pub environment: ExecutionEnvironment,
    pub api: Arc<RuntimeApi>,
    pub proxy: FaultProxy,
    pub stats: Stats,
}

impl Running {
    /// Sends an `encode` one request, which must succeed. Returns the time from its response until the environment asks for the
    /// next event.
    pub(crate) async fn request(&self) -> Result<Duration> {
        let outcome = self.api.invoke(&event()).await?;
        let responded = Instant::now();
        let created = matches!(&outcome, Outcome::Response(response) if response["statusCode"] == 201);
        ensure!(created, "{outcome:?}\n{}", self.environment.process().log_tail(20));
        self.api.asks_for_event().await;
        Ok(responded.elapsed())
    }

    /// Sends requests one after the other for `duration`. Returns the number of requests, and the share of the time in which
    /// the environment had answered and did not yet ask for the next event.
    pub(crate) async fn closed_loop(&self, duration: Duration) -> Result<(u32, f64)> {
        let (started, mut held, mut requests) = (Instant::now(), Duration::ZERO, 0);
        while started.elapsed() < duration {
            held += self.request().await?;
            requests += 1;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok((requests, held.as_secs_f64() / started.elapsed().as_secs_f64()))
    }
}

/// Returns the event of a request to `encode`.
pub(crate) fn event() -> Value {
    lambda_event::http_request("POST", "/api/consciousness/sigils", &[], Some(&json!({ "data": "publishing" })))
}
