//! Shows that secrets rotate without a deployment: no scrape fails, old sigils still verify, and new sigils are signed by the
//! new key.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use harness::kit::bundle::{Bundle, Options};
use harness::kit::client::{Client, Sigil};
use harness::kit::prometheus::Prometheus;
use harness::kit::secrets_manager::{Answering, SecretsManager, arn};
use harness::kit::wait::{self, not_yet};
use harness::kit::{credentials, workspace};
use harness::template::cloudformation;
use serde_json::{Value, json};

/// Longest time until a new value is used. A function keeps a value for a minute.
const PATIENCE: Duration = Duration::from_secs(90);

const FIRST_TOKEN: &str = "the-first-metrics-token";

/// Starts a bundle whose secrets are in Secrets Manager, as the template sets it up.
async fn bundle(test: &str, secrets: &SecretsManager) -> Result<Bundle> {
    // The secret has the form that GenerateSecretString gives it.
    secrets.put(&arn("signing"), &json!({ "seed": "s".repeat(64) }).to_string());
    secrets.put(&arn("token"), FIRST_TOKEN);
    let mut options = Options::for_test(test)
        .without("SIGNING_KEYS")
        .with("SIGNING_KEYS_SECRET_ARN", arn("signing"))
        .without("METRICS_TOKEN")
        .with("METRICS_TOKEN_SECRET_ARN", arn("token"))
        .with("AWS_ENDPOINT_URL_SECRETS_MANAGER", secrets.url());
    options.metrics_token = FIRST_TOKEN.to_owned();
    Bundle::start(&options).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_token_rotates_without_a_failed_scrape() -> Result<()> {
    let secrets = SecretsManager::start().await?;
    let bundle = bundle("rotation-token", &secrets).await?;
    let client = bundle.client();
    let target = client.url().strip_prefix("http://").context("it has a scheme")?;
    let prometheus = Prometheus::start(target, FIRST_TOKEN).await?;
    scrapes(&prometheus, 3).await?;

    secrets.put(&arn("token"), "the-second-metrics-token");
    client.get_metrics(Some(FIRST_TOKEN)).await?.expect(200)?;
    prometheus.rotate_token("the-second-metrics-token").await?;
    let before = count(&prometheus).await?;
    scrapes(&prometheus, before + 3).await?;
    client.get_metrics(Some(FIRST_TOKEN)).await?.expect(200)?;

    // The second rotation ends the first token. Prometheus has the new token at once, so no scrape is refused.
    wait_out_a_miss().await;
    secrets.put(&arn("token"), "the-third-metrics-token");
    prometheus.rotate_token("the-third-metrics-token").await?;
    let before = count(&prometheus).await?;
    scrapes(&prometheus, before + 3).await?;
    client.get_metrics(Some("the-second-metrics-token")).await?.expect(200)?;
    client.get_metrics(Some(FIRST_TOKEN)).await?.expect(401)?;

    // The tokens in memory stay in use while Secrets Manager is out of reach.
    secrets.set_answering(Answering::OutOfOrder);
    wait_out_a_miss().await;
    client.get_metrics(Some("unknown")).await?.expect(401)?;
    let before = count(&prometheus).await?;
    scrapes(&prometheus, before + 3).await?;

    let failed = prometheus.query("sum(count_over_time(up[10m]) - sum_over_time(up[10m]))").await?;
    ensure!(failed.len() == 1 && failed[0].value == 0.0, "scrapes have failed: {failed:?}");
    Ok(())
}

/// Waits until an unknown token can make the function read the secret again, which happens at most once in 5 s.
async fn wait_out_a_miss() {
    tokio::time::sleep(Duration::from_secs(5)).await;
}

async fn count(prometheus: &Prometheus) -> Result<u32> {
    let result = prometheus.query("sum(count_over_time(up[10m]))").await?;
    Ok(result.first().map_or(0, |series| series.value as u32))
}

async fn scrapes(prometheus: &Prometheus, least: u32) -> Result<()> {
    let enough = |value: f64| value >= f64::from(least);
    prometheus.query_until("sum(count_over_time(up[10m]))", |found| found.len() == 1 && enough(found[0].value)).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_signing_key_rotates_and_every_token_stays_valid() -> Result<()> {
    let secrets = SecretsManager::start().await?;
    let bundle = bundle("rotation-key", &secrets).await?;
    let client = bundle.client();
    let old = client.encode(&json!("before")).await?;
    rotate("stage", &secrets)?;
    rotate("activate", &secrets)?;

    let new = wait::until("encode signs with the new key", PATIENCE, async || {
        let sigil = client.encode(&json!("during")).await?;
        let verdict = client.verdict(&sigil.token, None).await?;
        if verdict != "valid" {
            return Err(wait::Setback::Final(anyhow::anyhow!("a fresh token is {verdict}")));
        }
        if kid(&sigil)? == kid(&old)? { not_yet("it uses the old one") } else { Ok(sigil) }
    })
    .await?;
    ensure!(client.verdict(&old.token, None).await? == "valid", "the old sigil still verifies");
    let published = client.jwks().await?.expect(200)?.body;
    let kids: Vec<_> = published["keys"].as_array().into_iter().flatten().map(|key| key["kid"].clone()).collect();
    ensure!(kids == [kid(&new)?, kid(&old)?], "{published}");

    // A second activation undoes the first, so two in a row change nothing. Then the old key can be retired.
    let before = secrets.current(&arn("signing"));
    rotate("activate", &secrets)?;
    rotate("activate", &secrets)?;
    ensure!(secrets.current(&arn("signing")) == before, "two activations change nothing");
    rotate("retire", &secrets)?;
    let stored =
        || -> Result<Value> { Ok(serde_json::from_str(&secrets.current(&arn("signing")).context("no value")?)?) };
    ensure!(stored()?["other_seeds"] == json!([]), "the oldest key is gone");
    ensure!(
        rotate("retire", &secrets).is_err() && rotate("activate", &secrets).is_err(),
        "there is nothing left to do"
    );

    // A leaked key is gone in one step, and all others stay.
    rotate("stage", &secrets)?;
    let leaked = stored()?;
    rotate("replace", &secrets)?;
    let replaced = stored()?;
    ensure!(
        replaced["seed"] != leaked["seed"]
            && !replaced["other_seeds"].to_string().contains(&leaked["seed"].to_string())
    );
    ensure!(replaced["other_seeds"] == leaked["other_seeds"] && replaced["other_seeds"][0].is_string());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_keys_do_not_hammer_secrets_manager_and_an_outage_is_counted() -> Result<()> {
    let secrets = SecretsManager::start().await?;
    let bundle = bundle("rotation-outage", &secrets).await?;
    let client = bundle.client();
    let sigil = client.encode(&json!("signed")).await?;
    let forged = of_another_key(&sigil)?;
    secrets.set_answering(Answering::OutOfOrder);

    let (start, before) = (Instant::now(), secrets.reads());
    for _ in 0..50 {
        ensure!(client.verdict(&forged, None).await? == "bad_signature");
    }
    // Each renewal is tried twice, and one more may be due by age in each of three functions.
    let most = 2 * (start.elapsed().as_secs() / 5 + 1) + 6;
    let reads = secrets.reads() - before;
    ensure!(reads <= most, "50 forged tokens made {reads} calls in {:?}", start.elapsed());

    ensure!(client.verdict(&sigil.token, None).await? == "valid");
    client.encode(&json!("meanwhile")).await?;
    failures_are_counted(client).await
}

async fn failures_are_counted(client: &Client) -> Result<()> {
    wait::until("the failed renewal is counted", PATIENCE, async || {
        match client.metrics().await?.sum("secret_renewal_failures_total", &[]) {
            0.0 => not_yet("it is not"),
            _ => Ok(()),
        }
    })
    .await
}

/// Runs one step of the script that an operator runs.
fn rotate(step: &str, secrets: &SecretsManager) -> Result<()> {
    let stand_ins = workspace::root().join("tests/stand-ins");
    let path = std::env::var("PATH").unwrap_or_default();
    let output = cloudformation::python()?
        .arg(workspace::root().join("scripts/rotate-signing-key"))
        .args([step, &arn("signing")])
        .env("PATH", format!("{}:{path}", stand_ins.display()))
        .env("AWS_ENDPOINT_URL_SECRETS_MANAGER", secrets.url())
        .env("AWS_ACCESS_KEY_ID", credentials::ACCESS_KEY_ID)
        .env("AWS_SECRET_ACCESS_KEY", credentials::SECRET_ACCESS_KEY)
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn header(token: &str) -> Result<Value> {
    let header = token.split('.').next().context("a token has a header")?;
    Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header)?)?)
}

fn kid(sigil: &Sigil) -> Result<Value> {
    Ok(header(&sigil.token)?["kid"].clone())
}

/// Returns the token with the name of a key that does not exist.
fn of_another_key(sigil: &Sigil) -> Result<String> {
    let mut header = header(&sigil.token)?;
    header["kid"] = json!("nobody");
    let (_, rest) = sigil.token.split_once('.').context("a token has parts")?;
    Ok(format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header.to_string())))
}
