//! A function whose metrics change with a deployment: `JOB_METRICS` is `before` or `after`.
//!
//! | metric | before | after |
//! |---|---|---|
//! | `jobs_total` | counter | the same |
//! | `job_duration_seconds` | histogram with the bounds 0.1, 0.5 and 1 | with the bounds 0.1, 1 and 5 |
//! | `job_results_total` | counter without labels | with the label `result` |
//! | `jobs_waiting` | counter | gauge |
//!
//! An event gives the duration of the job, `{"seconds": 0.25}`, and may keep the handler running after it,
//! `"hold_seconds": 5`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use env_settings::EnvReader;
use function_runtime::aws::{Aws, Budget};
use lambda_runtime::{Error, LambdaEvent, Runtime, service_fn};
use prometheus::{
    Counter, Gauge, Histogram, HistogramOpts, Opts, Registry, register_counter_vec_with_registry,
    register_counter_with_registry, register_gauge_with_registry, register_histogram_with_registry,
};
use prometheus_dynamodb::{DynamoDbStatsTable, Publisher, Sources};
use serde::Deserialize;

fn main() -> ExitCode {
    function_runtime::start(run)
}

#[derive(Deserialize)]
struct Job {
    seconds: f64,
    /// Time for which the handler keeps running after the job was counted, in seconds.
    #[serde(default)]
    hold_seconds: f64,
}

#[derive(Clone)]
struct Metrics {
    jobs: Counter,
    duration: Histogram,
    results: Counter,
    waiting: Waiting,
}

#[derive(Clone)]
enum Waiting {
    Counted(Counter),
    Gauged(Gauge),
}

impl Metrics {
    fn register(registry: &Registry, is_after: bool) -> Result<Self, prometheus::Error> {
        let bounds = if is_after { vec![0.1, 1.0, 5.0] } else { vec![0.1, 0.5, 1.0] };
        let duration = HistogramOpts::new("job_duration_seconds", "Duration of jobs.").buckets(bounds);
        let results = Opts::new("job_results_total", "Jobs that are done.");
        let waiting = Opts::new("jobs_waiting", "Jobs that wait.");
        Ok(Self {
            jobs: register_counter_with_registry!(Opts::new("jobs_total", "Jobs."), registry)?,
            duration: register_histogram_with_registry!(duration, registry)?,
            results: match is_after {
                false => register_counter_with_registry!(results, registry)?,
                true => register_counter_vec_with_registry!(results, &["result"], registry)?.with_label_values(&["ok"]),
            },
            waiting: match is_after {
                false => Waiting::Counted(register_counter_with_registry!(waiting, registry)?),
                true => Waiting::Gauged(register_gauge_with_registry!(waiting, registry)?),
            },
        })
    }

    fn done(&self, job: &Job) {
        self.jobs.inc();
        self.duration.observe(job.seconds);
        self.results.inc();
        match &self.waiting {
            Waiting::Counted(waiting) => waiting.inc(),
            Waiting::Gauged(waiting) => waiting.set(2.0),
        }
    }
}

async fn run(started_at: Instant) -> Result<(), Error> {
    let mut env = EnvReader::from_process();
    let is_after = env.required("JOB_METRICS", |text| match text {
        "before" => Ok(false),
        "after" => Ok(true),
        _ => Err("before or after is needed".to_owned()),
    });
    let settings = function_runtime::settings::writer(&mut env);
    let (is_after, settings) = env.finish(|| Some((is_after?, settings?)))?;
    let registry = Registry::new();
    let metrics = Metrics::register(&registry, is_after)?;
    let table = DynamoDbStatsTable::new(Aws::from_env().await.dynamodb(Budget::PUBLISH), settings.table());
    let publisher = Publisher::new(table, Sources::new(registry), settings, started_at)?;
    let handler = service_fn(move |event: LambdaEvent<Job>| {
        metrics.done(&event.payload);
        let hold = Duration::from_secs_f64(event.payload.hold_seconds);
        async move {
            tokio::time::sleep(hold).await;
            Ok::<_, Error>(serde_json::json!({ "statusCode": 200 }))
        }
    });
    function_runtime::serve(Runtime::new(handler), Budget::REQUEST_LIMIT, publisher).await
}
