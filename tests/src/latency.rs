//! `harness latency`, a part of `make soak`: sends the same requests to functions with metrics on and with metrics off,
//! side by side in one run, with k6.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

use crate::kit::dynamodb_local::DynamoDbLocal;
use crate::kit::variables::{DEFAULT_METRICS_TOKEN, FunctionVariables};
use crate::kit::watch::Watch;
use crate::kit::{port, tables, workspace};

/// Runs k6 until it ends. Ctrl-C and SIGTERM end it early, which is a failure.
pub async fn run() -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        ended = compare() => ended,
        _ = interrupt.recv() => anyhow::bail!("interrupted"),
        _ = terminate.recv() => anyhow::bail!("interrupted"),
    }
}

/// Starts both sets of functions and runs k6. Both use one database, so that its load is the same for both.
async fn compare() -> Result<()> {
    let logs = workspace::local("logs/latency");
    std::fs::create_dir_all(&logs).with_context(|| logs.display().to_string())?;
    let dynamodb = DynamoDbLocal::start_in_memory(&logs.join("dynamodb.log")).await?;
    tables::create(&dynamodb.client()).await?;
    let on = FunctionVariables::new(&dynamodb.url(), &sigil::keys::generate("latency"), DEFAULT_METRICS_TOKEN);
    // An environment that publishes once an hour counts as usual, but writes almost nothing.
    let mut off = on.clone();
    off.set("STATS_PUBLISH_INTERVAL", "1h");
    off.set("STATS_PUBLISH_BURST", "1");

    let on = Watch::start(port::free()?, 1, on, logs.join("metrics-on.log")).await?;
    let off = Watch::start(port::free()?, 1, off, logs.join("metrics-off.log")).await?;
    k6(&workspace::root().join("tests/load/latency.js"), &on, &off).await
}

async fn k6(script: &Path, on: &Watch, off: &Watch) -> Result<()> {
    let status = Command::new(workspace::tool("k6/bin/k6")?)
        .args(["run", "--quiet", "--no-usage-report"])
        .arg(script)
        .env("ON_URL", on.url())
        .env("OFF_URL", off.url())
        .kill_on_drop(true)
        .status()
        .await?;
    ensure!(status.success(), "k6 ended with {status}");
    Ok(())
}
