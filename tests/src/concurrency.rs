//! `harness concurrency`: compares environments that handle several requests at once with metrics published and
//! without, side by side in one run, and measures how far pages lag behind while a long request runs.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::kit::dynamodb_local::DynamoDbLocal;
use crate::kit::execution_environment::{ExecutionEnvironment, Function};
use crate::kit::runtime_api::{Deadline, RuntimeApi};
use crate::kit::stats::Stats;
use crate::kit::wait::{self, not_yet};
use crate::kit::{functions, workspace};

/// Number of requests that an environment handles at once.
const AT_ONCE: u32 = 16;

/// Number of requests in a round. The environments take turns, so that whatever else the machine does affects both.
const ROUND: u32 = 500;
const ROUNDS: u32 = 40;

/// Duration of the long request.
const LONG: Duration = Duration::from_secs(60);

/// Longest time until the page shows the earlier rounds: longer than the last publish takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Metric that counts requests.
const JOBS: &str = "jobs_total";

/// Pause between two requests during the long one; the page is read after each.
const PAUSE: Duration = Duration::from_millis(50);

/// Runs the comparison, prints what it measured, and checks that the totals are exact.
pub async fn run() -> Result<()> {
    let logs = workspace::local("logs/concurrency");
    std::fs::create_dir_all(&logs).with_context(|| logs.display().to_string())?;
    let dynamodb = DynamoDbLocal::start_in_memory(&logs.join("dynamodb.log")).await?;
    let function = Function { name: "jobs", program: functions::build_jobs().await? };
    let on = Measured::start("on", &function, &dynamodb, &[], &logs).await?;
    // An environment that publishes once an hour counts as usual, but writes almost nothing.
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

/// An environment with its own stats table.
struct Measured {
    environment: ExecutionEnvironment,
    api: Arc<RuntimeApi>,
    stats: Stats,
}

impl Measured {
    async fn start(
        name: &str,
        function: &Function,
        dynamodb: &DynamoDbLocal,
        settings: &[(&str, &str)],
        logs: &Path,
    ) -> Result<Self> {
        let stats = Stats::new(dynamodb.client(), format!("stats-{name}"));
        stats.create().await?;
        let mut variables = stats.variables(&dynamodb.url(), settings);
        variables.set("JOB_METRICS", "before");
        variables.set("AWS_LAMBDA_MAX_CONCURRENCY", &AT_ONCE.to_string());
        let environment = ExecutionEnvironment::start(function, &variables, &logs.join(format!("{name}.log"))).await?;
        Ok(Self { api: environment.api(), environment, stats })
    }

    /// Sends one round of requests. Returns its duration.
    async fn round(&self) -> Result<Duration> {
        let started = Instant::now();
        self.api.invoke_all(&job(), ROUND, AT_ONCE).await?;
        Ok(started.elapsed())
    }

    /// Sends short requests while a long one runs. Returns the longest time by which a page lagged behind, and the
    /// number of jobs, the long one among them. `before` is the number of jobs from before.
    async fn furthest_behind(&self, before: u32) -> Result<(Duration, u32)> {
        // What is not shown yet of the earlier rounds would look as if it lagged, or hide what does.
        wait::until("the page shows the earlier rounds", PATIENCE, async || match self.stats.counted(JOBS).await? {
            shown if shown == f64::from(before) => Ok(()),
            shown => not_yet(format!("it shows {shown} of {before} jobs")),
        })
        .await?;
        self.api.set_deadline(Deadline::After(LONG * 2));
        let api = Arc::clone(&self.api);
        let long = json!({ "seconds": 0.1, "hold_seconds": LONG.as_secs() });
        let mut done_at = vec![Instant::now()];
        let long = tokio::spawn(async move { api.invoke(&long).await });
        let mut furthest = Duration::ZERO;
        while !long.is_finished() {
            self.api.invoke_all(&job(), 1, 1).await?;
            done_at.push(Instant::now());
            let asked_at = Instant::now();
            let shown = self.stats.counted(JOBS).await? - f64::from(before);
            ensure!((0.0..=done_at.len() as f64).contains(&shown), "{shown} jobs are shown of {}", done_at.len());
            // The first job that the page does not show.
            if let Some(missing_since) = done_at.get(shown as usize) {
                furthest = furthest.max(asked_at.duration_since(*missing_since));
            }
            tokio::time::sleep(PAUSE).await;
        }
        long.await??;
        Ok((furthest, u32::try_from(done_at.len())?))
    }

    /// Ends the environment as Lambda does, and checks that its page then has exactly this many jobs.
    async fn ends_with(self, jobs: u32) -> Result<()> {
        self.environment.terminate().await?;
        let shown = self.stats.counted(JOBS).await?;
        ensure!(shown == f64::from(jobs), "{shown} jobs are shown of {jobs}");
        println!("{jobs} jobs are counted exactly");
        Ok(())
    }
}

fn job() -> Value {
    json!({ "seconds": 0.1 })
}
