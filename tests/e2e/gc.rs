//! Shows what gc does with the time that Lambda gives it, and what its runs leave on the page.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use harness::kit::deployed::Deployed;
use harness::kit::execution_environment::ExecutionEnvironment;
use harness::kit::exposition::Exposition;
use harness::kit::lambda_event::{http_request, scheduled};
use harness::kit::runtime_api::{Deadline, Outcome};
use serde_json::{Value, json};
use sigil::metrics::LAST_SUCCESS;

const TOKEN: &str = "the-metrics-token";

async fn deployed(test: &str) -> Result<Deployed> {
    Deployed::start(test, &json!({ "seed": "s".repeat(64) }).to_string(), TOKEN).await
}

/// Runs gc, and returns its summary once it has published its metrics.
async fn run(gc: &ExecutionEnvironment) -> Result<Value> {
    let outcome = gc.api().invoke(&scheduled()).await?;
    gc.api().asks_for_event().await;
    match outcome {
        Outcome::Response(summary) => Ok(summary),
        Outcome::Error(error) => bail!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_without_time_leaves_its_work_to_the_next_one() -> Result<()> {
    let deployed = deployed("gc-deadline").await?;
    let gc = deployed.function("gc", "gc").await?;
    for (deadline, finished) in [
        // Publishing and the response need more than is left.
        (Deadline::After(Duration::from_millis(1600)), false),
        (Deadline::After(Duration::from_secs(60)), true),
    ] {
        gc.api().set_deadline(deadline);
        let summary = run(&gc).await?;
        let parts = [&summary["sigils"]["finished"], &summary["stats"]["finished"]];
        ensure!(parts == [finished, finished], "{deadline:?}: {summary}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_success_is_that_of_the_last_run_also_when_no_environment_is_left() -> Result<()> {
    let deployed = deployed("gc-last-success").await?;
    let (metrics, one) = (deployed.function("metrics", "metrics").await?, deployed.function("gc", "one").await?);
    let other = deployed.function("gc", "other").await?;
    let last_success = async || {
        let event = http_request("GET", "/metrics", &[("authorization", &format!("Bearer {TOKEN}"))], None);
        let Outcome::Response(response) = metrics.api().invoke(&event).await? else { bail!("the scrape failed") };
        Exposition::parse(response["body"].as_str().context("it has a page")?)?.value(LAST_SUCCESS, &[]).context("none")
    };
    let started_at = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() as f64;
    run(&one).await?;
    let first = last_success().await?;
    ensure!(first >= started_at, "{first} is before the run, at {started_at}");
    run(&other).await?;
    // Two times of the same hour add up to twice the time since 1970.
    let both = last_success().await?;
    ensure!(both >= first && both < first + 3600.0, "{first} became {both}");
    one.terminate().await?;
    other.terminate().await?;
    ensure!(last_success().await? == both);
    Ok(())
}
