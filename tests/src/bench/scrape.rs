//! The part `scrape`: measures decoding, merging and rendering, beside what Python and Node do for many processes.

use anyhow::{Result, ensure};
use prometheus_dynamodb::MemoryStatsTable;

use super::measurement::{milliseconds, quantile, thread_time};
use super::peer::Peer;
use super::population::{self, SERIES, Shape};
use super::report::{Report, Table};
use crate::kit::exposition::Exposition;

/// Numbers of environments, processes or workers.
const ENVIRONMENTS: [usize; 3] = [100, 1000, 5000];

/// Number of measured scrapes of each subject, after one that is not measured.
const SCRAPES: usize = 5;

/// Name of this project in the tables.
const OURS: &str = "this project";

/// Measures the part.
pub(super) async fn run() -> Result<Report> {
    let columns = ENVIRONMENTS.map(|environments| format!("{environments} environments"));
    let mut table = Table::new(
        format!("A scrape: decode, merge and render, {SERIES} series in each environment"),
        columns.iter().map(|column| (column.as_str(), "ms")),
    );
    let mut measured = Vec::new();
    for environments in ENVIRONMENTS {
        measured.push(compare(environments, Shape::of(SERIES)).await?);
    }
    let names: Vec<_> = measured[0].iter().map(|(name, _)| *name).collect();
    for (subject, name) in names.iter().enumerate() {
        table.row(*name, measured.iter().map(|subjects| subjects[subject].1));
    }
    for (subject, name) in names.iter().enumerate().skip(1) {
        table.row(format!("*{name} / {OURS}*"), measured.iter().map(|subjects| subjects[subject].1 / subjects[0].1));
    }
    table.note(format!(
        "CPU time, the median of {SCRAPES} scrapes in turns, after one to warm up; {SERIES} series as Prometheus \
         counts them. All three pages show the same counts, which each run checks."
    ));
    table.note(
        "Ours reads snapshots from memory, compressed as they are in the table; Python reads three files a process, which the \
         operating system has cached; Node reads the workers' JSON from memory. What brings the data there (DynamoDB, a disk, \
         messages between processes) is not in these numbers.",
    );
    Ok(table.into())
}

/// Lets all subjects scrape the same counts in turns. Returns the processor time of each, in milliseconds, ours first.
pub(super) async fn compare(environments: usize, shape: Shape) -> Result<Vec<(&'static str, f64)>> {
    let stats = MemoryStatsTable::default();
    population::populate(&stats, 0..environments, shape, 1).await?;
    let mut peers = [Peer::python(environments, shape).await?, Peer::prom_client(environments, shape).await?];

    let ours = counts(&population::page(&stats).await?)?;
    for peer in &mut peers {
        let theirs = counts(&peer.page().await?)?;
        ensure!(same(&ours, &theirs), "{} counts otherwise:\n{ours:?}\n{theirs:?}", peer.name);
    }
    let mut samples = vec![Vec::new(); 1 + peers.len()];
    for scrape in 0..=SCRAPES {
        let (stats, mut round) = (stats.clone(), Vec::new());
        round.push(tokio::task::spawn_blocking(move || ours_once(&stats)).await??);
        for peer in &mut peers {
            round.push(peer.scrape().await?);
        }
        if scrape > 0 {
            samples.iter_mut().zip(round).for_each(|(samples, sample)| samples.push(sample));
        }
    }
    let names = [OURS, peers[0].name, peers[1].name];
    Ok(names.into_iter().zip(samples.iter().map(|samples| quantile(samples, 0.5))).collect())
}

/// Scrapes ours once, on this thread alone. Returns the processor time, in milliseconds.
fn ours_once(stats: &MemoryStatsTable) -> Result<f64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let started = thread_time();
    runtime.block_on(population::page(stats))?;
    Ok(milliseconds(thread_time() - started))
}

/// Returns name, number and sum of the samples of each of the population's metrics.
fn counts(page: &str) -> Result<Vec<(String, usize, f64)>> {
    let page = Exposition::parse(page)?;
    let names =
        ["requests_total", "in_flight", "duration_seconds_bucket", "duration_seconds_sum", "duration_seconds_count"];
    let count = |name: &str| {
        let name = format!("bench_{name}");
        let samples = page.samples().iter().filter(|sample| sample.name == name).count();
        let sum = page.sum(&name, &[]);
        (name, samples, sum)
    };
    Ok(names.map(count).into())
}

/// Returns whether both have counted the same. Sums may differ by rounding, since each subject adds floats in another
/// order.
fn same(a: &[(String, usize, f64)], b: &[(String, usize, f64)]) -> bool {
    a.iter().zip(b).all(|(a, b)| (&a.0, a.1) == (&b.0, b.1) && (a.2 - b.2).abs() <= 1e-9 * a.2.abs())
}
