//! Shows that a client's mistakes are answered plainly, and counted under their operation and reason.

use std::time::Duration;

use anyhow::Result;
use harness::kit::bundle::{Bundle, Options};
use harness::kit::client::{Answer, Client};
use harness::kit::wait::{self, not_yet};
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn each_error_is_counted_under_its_reason() -> Result<()> {
    let bundle = Bundle::start(&Options::for_test("errors")).await?;
    let client = bundle.client();
    // The data are more than an item of the table may hold, and less than a request may.
    let too_large = json!({ "data": "x".repeat(500 * 1024) }).to_string();

    counted(client, "encode", "malformed", async || client.post_sigils("{\"data\":".into()).await?.expect(400)).await?;
    counted(client, "encode", "too_large", async || client.post_sigils(too_large.clone()).await?.expect(413)).await?;
    counted(client, "get", "unknown", async || client.get("00000000-0000-4000-8000-000000000000").await?.expect(404))
        .await?;
    counted(client, "revoke", "unknown", async || {
        client.revoke("00000000-0000-4000-8000-000000000000").await?.expect(404)
    })
    .await
}

/// Causes an error, and waits until it is counted under these labels, once and without another error.
async fn counted(
    client: &Client,
    operation: &str,
    reason: &str,
    cause: impl AsyncFnOnce() -> Result<Answer>,
) -> Result<()> {
    let labels = [("operation", operation), ("reason", reason)];
    let before = client.metrics().await?;
    let answer = cause().await?;
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{}", answer.text);
    assert!(answer.text_at("/error").is_ok(), "{}", answer.text);

    wait::until(&format!("sigil_error_total{labels:?} has risen"), PATIENCE, async || {
        let now = client.metrics().await?;
        let rise = now.sum("sigil_error_total", &labels) - before.sum("sigil_error_total", &labels);
        if rise < 1.0 {
            let all: Vec<_> = now.samples().iter().filter(|sample| sample.name == "sigil_error_total").collect();
            return not_yet(format!("{all:?}"));
        }
        assert_eq!(rise, 1.0, "{labels:?}");
        let overall = now.sum("sigil_error_total", &[]) - before.sum("sigil_error_total", &[]);
        assert_eq!(overall, 1.0, "all errors, after one of {labels:?}");
        Ok(())
    })
    .await
}
