//! Shows that clients are told at once while DynamoDB is away, and that no count is lost when it comes back.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use harness::kit::bundle::{Bundle, Options};
use harness::kit::client::{Answer, Client};
use harness::kit::exposition::Exposition;
use harness::kit::fault_proxy::{Fault, FaultProxy};
use harness::kit::wait::{self, not_yet};
use harness::kit::{port, tables};
use serde_json::json;
use tempfile::TempDir;

/// Longer than the longest pause between two attempts to publish, which is a minute.
const PATIENCE: Duration = Duration::from_secs(90);
/// Longest time that a client may wait for a 503.
const BUDGET: Duration = Duration::from_secs(3);
/// Number of failures in a row that surely opens the breaker.
const ENOUGH_FAILURES: u32 = 12;

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_answered_at_once_and_loses_nothing() -> Result<()> {
    // The data are on disk, since the published counts must outlive the database's process as they do in the cloud.
    let data = TempDir::new()?;
    let dynamodb_port = port::free()?;
    let proxy = FaultProxy::before(&format!("http://127.0.0.1:{dynamodb_port}")).await?;
    let options = Options {
        data: Some(data.path().to_owned()),
        dynamodb_port: Some(dynamodb_port),
        ..Options::for_test("outage")
    }
    .with("AWS_ENDPOINT_URL_DYNAMODB", proxy.url());
    let mut bundle = Bundle::start(&options).await?;
    let client = bundle.client().clone();
    let mut acknowledged = Vec::new();
    for number in 0..3 {
        acknowledged.push(client.encode(&json!({ "before": number })).await?);
    }
    let before = wait::until("the encodes are counted", PATIENCE, async || {
        let page = client.metrics().await?;
        if page.sum("sigil_encode_total", &[]) < 3.0 { not_yet("they are not") } else { Ok(page) }
    })
    .await?;
    assert_eq!(environments(&before, "open") + environments(&before, "half_open"), 0.0, "no breaker starts open");

    bundle.dynamodb().stop();
    for _ in 0..ENOUGH_FAILURES {
        refused_in_time(&client).await?;
    }
    let mut refused = ENOUGH_FAILURES;

    // The table of metrics is back first. So the page can show the breaker, which no success closes yet.
    proxy.set_outage(tables::SIGILS, Some(Fault::Drop));
    bundle.dynamodb().restart().await?;
    wait::until("the page shows the breaker open", PATIENCE, async || {
        refused_in_time(&client).await.map_err(wait::Setback::Final)?;
        refused += 1;
        match environments(&client.metrics().await?, "open") {
            1.0 => Ok(()),
            _ => not_yet("it does not"),
        }
    })
    .await?;

    // A request that never reaches the database leaves the breaker as it is, but makes the environment publish its current
    // state.
    wait::until("the page shows the breaker half open", PATIENCE, async || {
        client.post_sigils("{".into()).await?.expect(400)?;
        match environments(&client.metrics().await?, "half_open") {
            1.0 => Ok(()),
            _ => not_yet("it does not"),
        }
    })
    .await?;
    proxy.set_outage(tables::SIGILS, None);
    let recovered = wait::until("encode works again", PATIENCE, async || {
        let answer = encode(&client).await?;
        refused += u32::from(answer.status == 503);
        Ok(answer.expect(201)?)
    })
    .await?;
    assert_eq!(client.verdict(recovered.text_at("/sigil/token")?, None).await?, "valid");
    for (number, sigil) in acknowledged.iter().enumerate() {
        assert_eq!(client.verdict(&sigil.token, Some(&json!({ "before": number }))).await?, "valid");
    }
    wait::until("the page shows every breaker closed", PATIENCE, async || {
        let page = client.metrics().await?;
        match environments(&page, "open") + environments(&page, "half_open") {
            0.0 => Ok(()),
            _ => not_yet("it does not"),
        }
    })
    .await?;

    // The environment lived through the outage, and a later snapshot brought what it could not publish meanwhile.
    wait::until("everything is counted", PATIENCE, async || {
        let page = client.metrics().await?;
        let created = page.sum("sigil_encode_total", &[]);
        let errors: f64 = ["unavailable", "circuit_open"]
            .iter()
            .map(|reason| page.sum("sigil_error_total", &[("operation", "encode"), ("reason", reason)]))
            .sum();
        if errors < f64::from(refused) {
            return not_yet(format!("{created} encodes and {errors} refusals of {refused} are counted"));
        }
        ensure_eq(created, 4.0, "encodes")?;
        ensure_eq(errors, f64::from(refused), "refusals")?;
        Ok(())
    })
    .await
}

fn ensure_eq(found: f64, expected: f64, what: &str) -> Result<()> {
    ensure!(found == expected, "{found} {what}, not {expected}");
    Ok(())
}

async fn encode(client: &Client) -> Result<Answer> {
    client.post_sigils(json!({ "data": "during" }).to_string()).await
}

async fn refused_in_time(client: &Client) -> Result<()> {
    let start = Instant::now();
    let answer = encode(client).await?.expect(503)?;
    let took = start.elapsed();
    ensure!(took < BUDGET, "it took {took:?}");
    let retry_after = answer.header("retry-after").unwrap_or_default();
    ensure!(retry_after.parse::<u32>().is_ok(), "Retry-After is {retry_after:?}");
    Ok(())
}

/// Returns the number of environments whose breaker is in this state. Only the breaker of encode is ever not closed in this
/// test.
fn environments(page: &Exposition, state: &str) -> f64 {
    page.sum("sigil_circuit_breaker_state", &[("state", state)])
}
