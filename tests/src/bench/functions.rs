//! The part `functions`: measures the release artifacts under the Runtime API, beside a function for Node that does the
//! work of encode.
//!
//! Subjects take turns, invocation by invocation, so that whatever else the machine does affects all of them alike.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::desk::Desk;
use super::measurement::{milliseconds, peak_memory, quantile};
use super::report::{Report, Table};
use super::subject::{self, NODE, NODE_BUNDLED, Subject, serve};
use super::work::{ENCODE, Ledger};

/// Number of cold starts of each subject.
const COLD_STARTS: usize = 11;

/// Number of measured invocations of each subject, once it runs.
const INVOCATIONS: usize = 300;

/// Number of invocations that are not measured, during which the database warms up as well.
const WARM_UP: usize = 20;

/// Index of the column with the program's size.
const PROGRAM: usize = 6;

/// The measurements of one subject.
#[derive(Debug, Default)]
struct Measurement {
    /// Times from the start of the process until it asked for its first event.
    starts: Vec<Duration>,
    /// Times that the first invocations took after that.
    first_responses: Vec<Duration>,
    /// Times that the later invocations took.
    latencies: Vec<Duration>,
    /// Largest resident memory, in bytes.
    peak_memory: u64,
}

/// Measures the part. A function that does not respond correctly is a failure.
pub(super) async fn run() -> Result<Report> {
    let desk = Desk::start().await?;
    let mut ledger = Ledger::default();
    let mut rows: Vec<(Subject, Measurement)> =
        subject::all()?.into_iter().map(|subject| (subject, Measurement::default())).collect();
    for _ in 0..COLD_STARTS {
        for (subject, measurement) in &mut rows {
            let environment = desk.environment(subject).await?;
            measurement.starts.push(environment.init_duration());
            measurement.first_responses.push(serve(subject, &environment, &mut ledger).await?);
            environment.api().asks_for_event().await;
            environment.terminate().await?;
        }
    }

    let mut environments = Vec::new();
    for (subject, _) in &rows {
        environments.push(desk.environment(subject).await?);
    }
    for invocation in 0..WARM_UP + INVOCATIONS {
        for ((subject, measurement), environment) in rows.iter_mut().zip(&environments) {
            let latency = serve(subject, environment, &mut ledger).await?;
            if invocation >= WARM_UP {
                measurement.latencies.push(latency);
            }
        }
    }
    for ((_, measurement), environment) in rows.iter_mut().zip(&environments) {
        measurement.peak_memory = peak_memory(environment.process())?;
    }
    for environment in environments {
        environment.terminate().await?;
    }

    // All environments have published a last time, so nothing may be missing from the page.
    let metrics = rows.iter().find(|(subject, _)| subject.name == "metrics").context("metrics is measured")?;
    let environment = desk.environment(&metrics.0).await?;
    serve(&metrics.0, &environment, &mut ledger).await?;
    let (counted, encoded) = (ledger.counted(), ledger.encoded());
    ensure!(counted == encoded, "encode has made {encoded} sigils, and {counted} are counted in the end");
    environment.terminate().await?;
    table(&rows).map(Report::from)
}

fn table(rows: &[(Subject, Measurement)]) -> Result<Table> {
    let mut table = Table::new(
        "Start, response and memory of the release artifacts",
        [
            ("start, median", "ms"),
            ("start, worst", "ms"),
            ("first response, median", "ms"),
            ("response, p50", "ms"),
            ("response, p99", "ms"),
            ("peak memory", "MB"),
            ("program", "MB"),
        ],
    );
    for (subject, measurement) in rows {
        let numbers = numbers(subject, measurement)?.into_iter().map(Some).enumerate();
        // The size of the program that is not bundled is unknown, since its packages lie beside it.
        let known = numbers.map(|(column, number)| number.filter(|_| column != PROGRAM || subject.name != NODE));
        table.row_with_gaps(subject.name, known);
    }
    let of = |name: &str| {
        let (subject, measurement) = rows.iter().find(|(subject, _)| subject.name == name).context("it is measured")?;
        numbers(subject, measurement)
    };
    for node in [NODE, NODE_BUNDLED] {
        let ratios = of(node)?.into_iter().zip(of(ENCODE)?).map(|(node, rust)| Some(node / rust));
        // The size of Node itself, which AWS provides, is not part of its programs' size.
        let ratios = ratios.enumerate().map(|(column, ratio)| ratio.filter(|_| column != PROGRAM));
        table.row_with_gaps(format!("*{node} / {ENCODE}*"), ratios);
    }
    table.note(format!("{COLD_STARTS} starts and {INVOCATIONS} invocations of each, in turns."));
    table.note(
        "Node runs under a minimal client of the Runtime API, not under AWS's managed runtime. Not measured on AWS: what Lambda \
         adds to a start is the same for all.",
    );
    Ok(table)
}

/// Returns the numbers of a row, in the order of the columns.
fn numbers(subject: &Subject, measurement: &Measurement) -> Result<[f64; 7]> {
    let Measurement { starts, first_responses, latencies, peak_memory } = measurement;
    let program = std::fs::metadata(&subject.function.program)?.len();
    Ok([
        milliseconds(quantile(starts, 0.5)),
        milliseconds(quantile(starts, 1.0)),
        milliseconds(quantile(first_responses, 0.5)),
        milliseconds(quantile(latencies, 0.5)),
        milliseconds(quantile(latencies, 0.99)),
        *peak_memory as f64 / 1e6,
        program as f64 / 1e6,
    ])
}
