//! What publishing costs the service when the stats table is in trouble, and what is lost when Lambda ends an environment.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use local_bundle::dynamodb_local::DynamoDbLocal;
use local_bundle::environment::Environment;
use local_bundle::execution_environment::{ExecutionEnvironment, Function};
use local_bundle::fault_proxy::{Fault, FaultProxy, Options};
use local_bundle::runtime_api::{Deadline, Outcome, RuntimeApi};
use local_bundle::settings::DEFAULT_METRICS_TOKEN;
use local_bundle::wait::{self, not_yet};
use local_bundle::{functions, lambda_event, tables, workspace};
use prometheus_dynamodb::internals::page::PageValue;
use prometheus_dynamodb::internals::{Structures, scrape};
use prometheus_dynamodb::{DynamoDbStatsTable, TableSettings};
use serde_json::{Value, json};

/// Longer than the longest pause between two attempts to publish.
const PATIENCE: Duration = Duration::from_secs(90);

/// How long the table is in trouble: `TROUBLE_SECONDS=60`, as `make soak` has it, is what the bar is for.
fn trouble() -> Result<Duration> {
    let seconds = std::env::var("TROUBLE_SECONDS").map_or(Ok(15), |text| text.parse());
    Ok(Duration::from_secs(seconds.context("TROUBLE_SECONDS must be a whole number")?))
}

/// The share of the time that trouble may take, in percent. What the budget starts with weighs more in a short time, and so
/// does whatever else this machine does; without a budget, a table that hangs takes nearly all.
fn bound(trouble: Duration) -> f64 {
    if trouble < Duration::from_secs(60) { 20.0 } else { 5.0 }
}

const HANGS: Fault = Fault::Delay(Duration::from_secs(600));

/// A database, and the program of `encode`.
struct Desk {
    dynamodb: DynamoDbLocal,
    logs: PathBuf,
    program: PathBuf,
}

impl Desk {
    async fn new(name: &str) -> Result<Self> {
        let logs = workspace::local(&format!("logs/{name}"));
        std::fs::create_dir_all(&logs)?;
        let dynamodb = DynamoDbLocal::start_in_memory(&logs.join("dynamodb.log")).await?;
        tables::create(&dynamodb.client()).await?;
        let program = functions::build().await?.remove("encode").context("there is an encode")?;
        Ok(Self { dynamodb, logs, program })
    }

    /// Starts an `encode` with a stats table of its own, if it is to have one, and a proxy before the database.
    async fn encode(&self, name: &str, settings: &[(&str, &str)], has_table: bool) -> Result<Encode> {
        let function = Function { name: "encode", program: self.program.clone() };
        self.start(&function, name, settings, has_table).await
    }

    /// The same for another function.
    async fn start(
        &self,
        function: &Function,
        name: &str,
        settings: &[(&str, &str)],
        has_table: bool,
    ) -> Result<Encode> {
        let options = Options {
            target: self.dynamodb.url(),
            seed: 0,
            signature_validity: Duration::from_secs(900),
            blind_puts: false,
        };
        let proxy = FaultProxy::start(options, ()).await?;
        let url = format!("http://{}", proxy.address());
        let stats = Stats { table: format!("stats-{name}"), dynamodb: self.dynamodb.client() };
        if has_table {
            tables::create_stats(&stats.dynamodb, &stats.table).await?;
        }
        let mut variables = Environment::new(&url, &sigil::keys::generate("publishing"), DEFAULT_METRICS_TOKEN);
        variables.set("STATS_TABLE", &stats.table);
        settings.iter().for_each(|(variable, value)| variables.set(variable, value));
        let log = self.logs.join(format!("{name}.log"));
        let environment = ExecutionEnvironment::start(function, &variables, &log).await?;
        Ok(Encode { api: environment.api(), environment, proxy, stats })
    }
}

struct Encode {
    environment: ExecutionEnvironment,
    api: Arc<RuntimeApi>,
    proxy: FaultProxy,
    stats: Stats,
}

impl Encode {
    /// One request that succeeds. Returns for how long the environment asks for no other after its response.
    async fn request(&self) -> Result<Duration> {
        let outcome = self.api.invoke(&event()).await?;
        let responded = Instant::now();
        let created = matches!(&outcome, Outcome::Response(response) if response["statusCode"] == 201);
        ensure!(created, "{outcome:?}\n{}", self.environment.process().log_tail(20));
        self.api.asks_for_event().await;
        Ok(responded.elapsed())
    }

    /// Requests one after the other for so long. Returns how many there were, and which share of the time the environment asked for
    /// none.
    async fn closed_loop(&self, duration: Duration) -> Result<(u32, f64)> {
        let (started, mut held, mut requests) = (Instant::now(), Duration::ZERO, 0);
        while started.elapsed() < duration {
            held += self.request().await?;
            requests += 1;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok((requests, held.as_secs_f64() / started.elapsed().as_secs_f64()))
    }
}

/// The stats table.
struct Stats {
    table: String,
    dynamodb: aws_sdk_dynamodb::Client,
}

impl Stats {
    /// The sum of a counter's series on the page.
    async fn counted(&self, counter: &str) -> Result<f64> {
        let settings = TableSettings::builder(tables::STATS).build()?;
        let table = DynamoDbStatsTable::new(self.dynamodb.clone(), &self.table);
        let page = scrape(&table, &Structures::default(), &settings, Instant::now() + Duration::from_secs(30)).await?;
        let family = page.families.iter().find(|family| family.name == counter);
        let number = |value: &PageValue| if let PageValue::Number(number) = value { *number } else { 0.0 };
        Ok(family.map_or(0.0, |family| family.series.iter().map(|series| number(&series.value)).sum()))
    }
}

fn event() -> Value {
    lambda_event::http_request("POST", "/api/consciousness/sigils", &[], Some(&json!({ "data": "publishing" })))
}

/// What trouble takes away from the service is the time in which the environment asks for no event after its responses, beyond
/// that of one whose table is well. How fast the requests themselves are on this machine does not matter.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_in_trouble_takes_little_of_the_time_and_loses_nothing() -> Result<()> {
    let trouble = trouble()?;
    let desk = Desk::new("publishing-trouble").await?;
    let well = desk.encode("well", &[], true).await?;
    let troubled = async |name: &'static str, fault: Fault| -> Result<_> {
        let encode = desk.encode(name, &[], true).await?;
        encode.proxy.set_outage(&encode.stats.table, Some(fault));
        let (requests, share) = encode.closed_loop(trouble).await?;
        Ok((name, encode, requests, share))
    };
    let ((_, usual_share), hanging, slow, throttling, failing) = tokio::try_join!(
        well.closed_loop(trouble),
        troubled("hanging", HANGS),
        // Within the 500 ms that an attempt is given, so that it succeeds each time.
        troubled("slow", Fault::Delay(Duration::from_millis(400))),
        troubled("throttling", Fault::Throttle),
        troubled("failing", Fault::Drop),
    )?;
    for (name, encode, requests, share) in [hanging, slow, throttling, failing] {
        let percent = (share - usual_share) * 100.0;
        println!("{name}: {requests} requests, {percent:.1} % of the time held");
        ensure!(percent <= bound(trouble), "{name}: {percent:.1} % of the time held in {requests} requests");
        encode.proxy.set_outage(&encode.stats.table, None);
        wait::until("what was held back is published", PATIENCE, async || {
            let found = encode.stats.counted("sigil_encode_total").await?;
            if found == f64::from(requests) { Ok(()) } else { not_yet(format!("{found} of {requests} are")) }
        })
        .await?;
    }
    Ok(())
}

/// Publishes are an hour apart, so that only the one before the deadline can have been it.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_counted_before_a_time_out_is_published() -> Result<()> {
    const TIMEOUT: Duration = Duration::from_millis(1500);
    let desk = Desk::new("publishing-time-out").await?;
    let rarely = [("STATS_PUBLISH_INTERVAL", "1h"), ("STATS_PUBLISH_BURST", "1"), ("JOB_METRICS", "before")];
    let program = env!("CARGO_BIN_EXE_deployable").into();
    let function = Function { name: "deployable", program };
    let Encode { environment, api, proxy: _proxy, stats } = desk.start(&function, "time-out", &rarely, true).await?;
    let job = |hold_seconds: f64| json!({ "seconds": 0.1, "hold_seconds": hold_seconds });
    for _ in 0..20 {
        api.invoke(&job(0.0)).await?;
        api.asks_for_event().await;
    }
    assert_eq!(stats.counted("jobs_total").await?, 1.0, "the others are held back");

    // A handler that takes longer than Lambda waits for it.
    api.set_deadline(Deadline::After(TIMEOUT));
    let invocation = tokio::spawn(async move { api.invoke(&job(60.0)).await });
    tokio::time::sleep(TIMEOUT).await;
    environment.kill().await?;
    ensure!(invocation.await?.is_err(), "it was to take longer");
    assert_eq!(stats.counted("jobs_total").await?, 21.0, "also the one that ran into its time-out");
    assert_eq!(stats.counted("lambda_invocations_total").await?, 21.0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_does_not_exist_is_named_in_the_log_and_does_not_flood_it() -> Result<()> {
    let desk = Desk::new("publishing-no-table").await?;
    let encode = desk.encode("missing", &[], false).await?;
    encode.closed_loop(Duration::from_secs(6)).await?;
    let log = encode.environment.process().output();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("could not be published")).collect();
    assert_eq!(lines.len(), 1, "{log}");
    assert!(lines[0].contains("ResourceNotFoundException"), "{log}");
    Ok(())
}
