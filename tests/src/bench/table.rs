//! All measurements, as Markdown.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use super::measurement::{Measurement, quantile};
use super::subject::{ENCODE, NODE, NODE_BUNDLED, Subject};
use super::{COLD_STARTS, INVOCATIONS};

/// The columns. All are times, but the last one is memory.
const COLUMNS: [&str; 6] =
    ["start, median", "start, worst", "first response, median", "response, p50", "response, p99", "peak memory"];

/// What a run has measured.
pub struct Table {
    rows: Vec<(&'static str, [f64; COLUMNS.len()])>,
    node: String,
    duration: Duration,
}

impl Table {
    /// The table of these subjects.
    pub async fn new(measured: Vec<(Subject, Measurement)>, duration: Duration) -> Result<Self> {
        let version = Command::new("node").arg("--version").output().await.context("node could not be started")?;
        ensure!(version.status.success(), "node does not say its version");
        let node = String::from_utf8(version.stdout)?.trim().trim_start_matches('v').to_owned();
        let rows = measured.iter().map(|(subject, measurement)| (subject.name, numbers(measurement))).collect();
        Ok(Self { rows, node, duration })
    }

    fn numbers(&self, name: &str) -> Option<&[f64; COLUMNS.len()]> {
        self.rows.iter().find(|(row, _)| *row == name).map(|(_, numbers)| numbers)
    }
}

/// In the order of the columns: milliseconds, and at last megabytes.
fn numbers(measurement: &Measurement) -> [f64; COLUMNS.len()] {
    let Measurement { starts, first_responses, latencies, peak_memory } = measurement;
    let milliseconds = |samples: &[Duration], share| quantile(samples, share).as_secs_f64() * 1e3;
    [
        milliseconds(starts, 0.5),
        milliseconds(starts, 1.0),
        milliseconds(first_responses, 0.5),
        milliseconds(latencies, 0.5),
        milliseconds(latencies, 0.99),
        *peak_memory as f64 / 1e6,
    ]
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        writeln!(
            f,
            "\n{cores} cores, {}, DynamoDB Local, Node {}; {COLD_STARTS} starts and {INVOCATIONS} invocations of each in {:.0} s",
            std::env::consts::ARCH,
            self.node,
            self.duration.as_secs_f64()
        )?;
        writeln!(f, "Node runs under a minimal client of the Runtime API, not under AWS's managed runtime.\n")?;
        writeln!(f, "| | {} |", COLUMNS.join(" | "))?;
        writeln!(f, "|---|{}", "--:|".repeat(COLUMNS.len()))?;
        for (name, numbers) in &self.rows {
            write!(f, "| {name} |")?;
            for (column, number) in numbers.iter().enumerate() {
                let unit = if column + 1 == COLUMNS.len() { "MB" } else { "ms" };
                write!(f, " {} {unit} |", rounded(*number))?;
            }
            writeln!(f)?;
        }
        for name in [NODE, NODE_BUNDLED] {
            if let (Some(node), Some(rust)) = (self.numbers(name), self.numbers(ENCODE)) {
                write!(f, "| *{name} / {ENCODE}* |")?;
                node.iter().zip(rust).try_for_each(|(node, rust)| write!(f, " {} × |", rounded(node / rust)))?;
                writeln!(f)?;
            }
        }
        Ok(())
    }
}

/// Whole numbers or one decimal: runs differ by more than what is left out.
fn rounded(number: f64) -> String {
    if number < 9.95 { format!("{number:.1}") } else { format!("{number:.0}") }
}
