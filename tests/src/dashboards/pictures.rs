//! Draws the dashboards in a browser. The script that draws them also compares the numbers on the pages.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::kit::prometheus::Prometheus;
use crate::kit::workspace;

use super::Window;
use super::oracle::Oracle;

/// Short enough to show each phase of the incident.
const RATE_INTERVAL_SECONDS: u64 = 10;

pub(super) async fn draw(prometheus: &Prometheus, oracle: &Oracle, window: Window) -> Result<()> {
    let total = |name| oracle.rise(name, &[]);
    let gauge = |name, state: &str| {
        let states = oracle.gauges(name, &["state"]);
        states.get(&vec![state.to_owned()]).copied().unwrap_or_default()
    };
    let order = json!({
        "url": format!("{}/user/", prometheus.url()),
        "from": window.from,
        "to": window.to,
        "rateInterval": RATE_INTERVAL_SECONDS,
        // Numbers that the panels of these names must show, to the last digit that they show.
        "numbers": {
            "Sigils encoded": total("sigil_encode_total"),
            "Tokens verified": total("sigil_verify_total"),
            "Open circuit breakers": gauge("sigil_circuit_breaker_state", "open"),
            "Live environments": gauge("prometheus_dynamodb_writers", "live"),
            "Series": oracle.gauges("prometheus_dynamodb_series", &[])[&vec![]],
            "Conflicts": 0,
            "Unreadable items": 0,
        },
    });
    let mut script = Command::new("node")
        .current_dir(workspace::root().join("dashboards/draw"))
        .arg("pictures.mjs")
        .stdin(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("node could not be started")?;
    script.stdin.take().context("it has an input")?.write_all(order.to_string().as_bytes()).await?;
    let status = script.wait().await?;
    ensure!(status.success(), "the pictures could not be drawn, or show something else");
    Ok(())
}
