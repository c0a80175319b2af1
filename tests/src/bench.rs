//! `make bench`: measures what this project costs beside what a user would take instead, both in one run.
//!
//! ```text
//! functions, service, overhead   the release artifacts under the Runtime API, beside Node
//! units, live                    the units that DynamoDB Local reports, and a large table
//! scrape, growth                 merging, beside Python's and Node's clients
//! publish, sigils                single steps, beside the libraries on which they are built
//! bodies                         the release artifacts, and requests that are as expensive as any
//!   ├ subject, work              the programs, their requests, and checks of their responses
//!   ├ population, peer           environments by the thousand, and the alternatives
//!   └ measurement, report        clocks and samples, and results as data
//! counted                        the work whose instructions `make guard` counts
//! ```

pub mod counted;
pub mod measurement;

mod bodies;
mod functions;
mod growth;
mod live;
mod overhead;
mod publish;
mod scrape;
mod service;
mod sigils;
mod units;

mod capacity;
mod desk;
mod express;
mod peer;
mod population;
mod report;
mod subject;
mod work;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use sigil::timestamp::Timestamp;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

use report::Report;

/// Parts, in the order in which they run if none is chosen.
const PARTS: [&str; 10] =
    ["scrape", "publish", "sigils", "bodies", "functions", "service", "overhead", "units", "live", "growth"];

/// Longest time that a part may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(600);

/// Measures these parts, or all, and writes the results to the file that the first argument names. Results of other
/// parts in that file are kept. A subject that does not do its work is a failure; so are Ctrl-C and SIGTERM.
pub async fn run(arguments: &[String]) -> Result<()> {
    let Some((results, parts)) = arguments.split_first() else {
        bail!("usage: harness bench <results> [{}]...", PARTS.join("|"));
    };
    let results = Path::new(results);
    let parts = if parts.is_empty() { PARTS.map(String::from).to_vec() } else { parts.to_vec() };
    if let Some(unknown) = parts.iter().find(|part| !PARTS.contains(&part.as_str())) {
        bail!("there is no part {unknown:?}: {} are", PARTS.join(", "));
    }
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        measured = measure(results, &parts) => measured,
        _ = interrupt.recv() => bail!("interrupted"),
        _ = terminate.recv() => bail!("interrupted"),
    }
}

async fn measure(results: &Path, parts: &[String]) -> Result<()> {
    let mut all: Value = match std::fs::read(results) {
        Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| results.display().to_string())?,
        Err(_) => json!({}),
    };
    all["machine"] = machine().await?;
    for part in parts {
        eprintln!("measuring {part}");
        let started = Instant::now();
        let report = tokio::time::timeout(LIMIT, run_part(part)).await;
        let report = report.with_context(|| format!("{part} took longer than {LIMIT:?}"))?;
        let mut report = serde_json::to_value(report.with_context(|| part.clone())?)?;
        report["date"] = json!(Timestamp::now());
        report["seconds"] = started.elapsed().as_secs().into();
        // A load above the number of cores means that wall times include the work of other processes.
        report["load"] = std::fs::read_to_string("/proc/loadavg")?.split(' ').next().map(str::to_owned).into();
        all[part] = report;
        std::fs::write(results, format!("{all:#}\n")).with_context(|| results.display().to_string())?;
    }
    Ok(())
}

async fn run_part(part: &str) -> Result<Report> {
    match part {
        "scrape" => scrape::run().await,
        "publish" => publish::run().await,
        "sigils" => sigils::run().await,
        "bodies" => bodies::run().await,
        "functions" => functions::run().await,
        "service" => service::run().await,
        "overhead" => overhead::run().await,
        "units" => units::run().await,
        "live" => live::run().await,
        "growth" => growth::run().await,
        _ => bail!("there is no part {part:?}"),
    }
}

/// Describes the machine and the tools on which the numbers depend.
async fn machine() -> Result<Value> {
    let version = async |program: &str| {
        let output = Command::new(program).arg("--version").output().await.with_context(|| program.to_owned())?;
        anyhow::Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo")?;
    let processor = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    Ok(json!({
        "cores": std::thread::available_parallelism()?,
        "architecture": std::env::consts::ARCH,
        "processor": processor,
        "rust": version("rustc").await?,
        "node": version("node").await?,
        "python": version("python3").await?,
    }))
}
