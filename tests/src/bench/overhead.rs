//! The part `overhead`: measures the same requests with metrics off, with metrics published as by default, and with
//! metrics published after every response.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::desk::Desk;
use super::measurement::{CpuTime, milliseconds, quantile};
use super::report::{Report, Table};
use super::subject::{Subject, serve};
use super::work::{ENCODE, Ledger};

/// Variants: the name, and the values of `STATS_PUBLISH_INTERVAL`, `STATS_PUBLISH_BURST` and
/// `STATS_PUBLISH_BUDGET_PERCENT`. Off means published once an hour.
const VARIANTS: [(&str, [&str; 3]); 3] = [
    ("off", ["1h", "1", "2"]),
    ("on, as by default", ["1s", "10", "2"]),
    ("published after every response", ["0s", "1", "100"]),
];

/// Number of measured requests to each variant.
const REQUESTS: usize = 1000;

/// Number of requests to each variant that are not measured.
const WARM_UP: usize = 50;

/// The measurements of one variant.
#[derive(Default)]
struct Measurement {
    latencies: Vec<Duration>,
    /// Times from a request until the environment asks for the next one.
    cycles: Vec<Duration>,
    /// The processor time before the measured requests.
    cpu_before: CpuTime,
}

/// Measures the part.
pub(super) async fn run() -> Result<Report> {
    let desk = Desk::start().await?;
    let subject = Subject::artifact(ENCODE)?;
    let mut ledger = Ledger::default();
    let mut environments = Vec::new();
    for (_, [interval, burst, budget_percent]) in VARIANTS {
        let mut variables = desk.variables.clone();
        variables.set("STATS_PUBLISH_INTERVAL", interval);
        variables.set("STATS_PUBLISH_BURST", burst);
        variables.set("STATS_PUBLISH_BUDGET_PERCENT", budget_percent);
        environments.push((desk.environment_with(&subject, &variables).await?, Measurement::default()));
    }
    for _ in 0..WARM_UP {
        for (environment, _) in &environments {
            serve(&subject, environment, &mut ledger).await?;
        }
    }
    for (environment, measurement) in &mut environments {
        environment.api().asks_for_event().await;
        measurement.cpu_before = CpuTime::of(environment.process())?;
    }
    for request in 0..REQUESTS {
        // The order rotates, so that no variant always finds the database warmed up by another.
        for turn in 0..VARIANTS.len() {
            let (environment, measurement) = &mut environments[(request + turn) % VARIANTS.len()];
            let started = Instant::now();
            measurement.latencies.push(serve(&subject, environment, &mut ledger).await?);
            environment.api().asks_for_event().await;
            measurement.cycles.push(started.elapsed());
        }
    }
    let mut table = Table::new(
        "Requests to encode with metrics on and off",
        [
            ("response, p50", "ms"),
            ("response, p99", "ms"),
            ("requests in a closed loop", "/s"),
            ("CPU time per request", "ms"),
        ],
    );
    let mut rows = Vec::new();
    for (environment, measurement) in &mut environments {
        let used = CpuTime::of(environment.process())?.since(&measurement.cpu_before);
        let total: Duration = measurement.cycles.iter().sum();
        rows.push([
            milliseconds(quantile(&measurement.latencies, 0.5)),
            milliseconds(quantile(&measurement.latencies, 0.99)),
            REQUESTS as f64 / total.as_secs_f64(),
            milliseconds(used) / REQUESTS as f64,
        ]);
    }
    for ((name, ..), row) in VARIANTS.iter().zip(&rows) {
        table.row(*name, *row);
    }
    for ((name, ..), row) in VARIANTS.iter().zip(&rows).skip(1) {
        table.row(format!("*{name} / off*"), row.iter().zip(&rows[0]).map(|(on, off)| on / off));
    }
    table.note(format!(
        "{REQUESTS} requests to each of three environments of the release artifact, in turns, one at a time. Off counts as usual and \
         publishes once an hour. A client waits for the response alone; a publish comes after it, and shows where the next request \
         would have to wait: in the closed loop."
    ));
    for (environment, _) in environments {
        environment.terminate().await?;
    }
    Ok(table.into())
}
