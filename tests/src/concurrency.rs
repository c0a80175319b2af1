//! `local-bundle concurrency`: an environment that handles several requests at once, with metrics published and not, side by side
//! in one run; and how far pages are behind while a long request runs.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use prometheus_dynamodb::internals::page::PageValue;
use prometheus_dynamodb::internals::{Structures, scrape};
use prometheus_dynamodb::{DynamoDbStatsTable, TableSettings};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::dynamodb_local::DynamoDbLocal;
use crate::environment::Environment;
use crate::execution_environment::{ExecutionEnvironment, Function};
use crate::runtime_api::{Deadline, Outcome, RuntimeApi};
use crate::settings::DEFAULT_METRICS_TOKEN;
use crate::{functions, tables, workspace};

/// How many requests an environment handles at once.
const AT_ONCE: u32 = 16;

/// How many requests each is sent, in turn, so that whatever else the machine does meets both.
const ROUND: u32 = 500;
const ROUNDS: u32 = 40;

/// How long the long request takes.
const LONG: Duration = Duration::from_secs(60);

/// How often a request is sent and a page is read meanwhile.
const PAUSE: Duration = Duration::from_millis(50);

/// Runs it and prints what was measured. Whether the totals are exact is checked.
pub async fn run() -> Result<()> {
    let logs = workspace::local("logs/concurrency");
    std::fs::create_dir_all(&logs).with_context(|| logs.display().to_string())?;
    let dynamodb = DynamoDbLocal::start_in_memory(&logs.join("dynamodb.log")).await?;
    let function = Function { name: "deployable", program: functions::build_deployable().await? };
    let on = Measured::start("on", &function, &dynamodb, &[], &logs).await?;
    // An environment that publishes once an hour counts as usual and writes next to nothing.
    let rarely = [("STATS_PUBLISH_INTERVAL", "1h"), ("STATS_PUBLISH_BURST", "1")];
    let off = Measured::start("off", &function, &dynamodb, &rarely, &logs).await?;

    let (mut with, mut without) = (Duration::ZERO, Duration::ZERO);
    for round in 0..ROUNDS {
        for turn in 0..2 {
            let (environment, time) = if (round + turn) % 2 == 0 { (&on, &mut with) } else { (&off, &mut without) };
            *time += environment.round().await?;
        }
    }
    let requests = ROUND * ROUNDS;
    let rate = |time: Duration| f64::from(requests) / time.as_secs_f64();
    println!("{requests} requests, {AT_ONCE} at once, in rounds of {ROUND} by turns:");
    println!(
        "  {:.0} a second with metrics published, {:.0} without: {:.1} %",
        rate(with),
        rate(without),
        100.0 * rate(with) / rate(without)
    );

    let (behind, jobs) = on.furthest_behind(requests).await?;
    println!("while a request of {LONG:?} runs, pages are at most {:.1} s behind", behind.as_secs_f64());
    on.ends_with(requests + jobs).await?;
    off.ends_with(requests).await
}

/// An environment with a stats table of its own.
struct Measured {
    environment: ExecutionEnvironment,
    api: Arc<RuntimeApi>,
    table: DynamoDbStatsTable,
}

impl Measured {
    async fn start(
        name: &str,
        function: &Function,
        dynamodb: &DynamoDbLocal,
        settings: &[(&str, &str)],
        logs: &Path,
    ) -> Result<Self> {
        let table = format!("stats-{name}");
        tables::create_stats(&dynamodb.client(), &table).await?;
        let mut variables =
            Environment::new(&dynamodb.url(), &sigil::keys::generate("concurrency"), DEFAULT_METRICS_TOKEN);
        variables.set("STATS_TABLE", &table);
        variables.set("JOB_METRICS", "before");
        variables.set("AWS_LAMBDA_MAX_CONCURRENCY", &AT_ONCE.to_string());
        settings.iter().for_each(|(variable, value)| variables.set(variable, value));
        let environment = ExecutionEnvironment::start(function, &variables, &logs.join(format!("{name}.log"))).await?;
        let table = DynamoDbStatsTable::new(dynamodb.client(), table);
        Ok(Self { api: environment.api(), environment, table })
    }

    /// One round of requests. Returns how long it took.
    async fn round(&self) -> Result<Duration> {
        let started = Instant::now();
        let mut clients = JoinSet::new();
        for client in 0..AT_ONCE {
            let api = Arc::clone(&self.api);
            let share = ROUND / AT_ONCE + u32::from(client < ROUND % AT_ONCE);
            clients.spawn(async move {
                for _ in 0..share {
                    job(&api).await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(client) = clients.join_next().await {
            client??;
        }
        Ok(started.elapsed())
    }

    /// While a long request runs and others come and go: by how much the pages are behind at most, and how many jobs that were.
    /// `before` is how many there were already.
    async fn furthest_behind(&self, before: u32) -> Result<(Duration, u32)> {
        self.api.set_deadline(Deadline::After(LONG * 2));
        let api = Arc::clone(&self.api);
        let long = json!({ "seconds": 0.1, "hold_seconds": LONG.as_secs() });
        let mut done_at = vec![Instant::now()];
        let long = tokio::spawn(async move { api.invoke(&long).await });
        let mut furthest = Duration::ZERO;
        while !long.is_finished() {
            job(&self.api).await?;
            done_at.push(Instant::now());
            let asked_at = Instant::now();
            let shown = shown(&self.table).await?.saturating_sub(u64::from(before)) as usize;
            ensure!(shown <= done_at.len(), "{shown} jobs are shown of {}", done_at.len());
            // The first that the page does not have.
            if let Some(missing_since) = done_at.get(shown) {
                furthest = furthest.max(asked_at.duration_since(*missing_since));
            }
            tokio::time::sleep(PAUSE).await;
        }
        long.await??;
        Ok((furthest, u32::try_from(done_at.len())?))
    }

    /// Ends it as Lambda does: then its page has all of its jobs, and no more.
    async fn ends_with(self, jobs: u32) -> Result<()> {
        let Self { environment, table, .. } = self;
        environment.terminate().await?;
        let shown = shown(&table).await?;
        ensure!(shown == u64::from(jobs), "{shown} jobs are shown of {jobs}");
        println!("{jobs} jobs are counted exactly");
        Ok(())
    }
}

/// How many jobs the page shows.
async fn shown(table: &DynamoDbStatsTable) -> Result<u64> {
    let settings = TableSettings::builder(tables::STATS).build()?;
    let deadline = Instant::now() + Duration::from_secs(30);
    let page = scrape(table, &Structures::default(), &settings, deadline).await?;
    let family = page.families.iter().find(|family| family.name == "jobs_total");
    Ok(match family.and_then(|family| family.series.first()).map(|series| &series.value) {
        Some(PageValue::Number(number)) => *number as u64,
        _ => 0,
    })
}

async fn job(api: &RuntimeApi) -> Result<()> {
    let outcome = api.invoke(&json!({ "seconds": 0.1 })).await?;
    ensure!(matches!(&outcome, Outcome::Response(Value::Object(_))), "{outcome:?}");
    Ok(())
}
