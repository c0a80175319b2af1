//! Shows that a secret of which a part cannot be read takes nothing else away: the rest is used, and a mended part is picked
//! up.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::kit::deployed::{Deployed, ask};
use harness::kit::execution_environment::ExecutionEnvironment;
use harness::kit::lambda_event::http_request;
use harness::kit::secrets_manager::arn;
use harness::kit::wait::{self, not_yet};
use serde_json::{Value, json};

/// Longest time until a mended token is accepted. A request with an unknown token makes the function read the secret again, but
/// at most once in 5 s.
const PATIENCE: Duration = Duration::from_secs(30);

const SIGILS: &str = "/api/consciousness/sigils";

fn seed(letter: &str) -> String {
    letter.repeat(64)
}

async fn scrape(metrics: &ExecutionEnvironment, token: &str) -> Result<u64> {
    let event = http_request("GET", "/metrics", &[("authorization", &format!("Bearer {token}"))], None);
    Ok(ask(metrics, &event).await?.status)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_put_by_mistake_takes_no_other_away_and_is_mended_without_a_rotation() -> Result<()> {
    let signing = json!({ "seed": seed("s") }).to_string();
    let deployed = Deployed::start("secrets-token", &signing, "good-token").await?;
    let warm = deployed.function("metrics", "warm").await?;
    let token = arn("token");
    deployed.secrets.put(&token, "mistake\n");
    let cold = deployed.function("metrics", "cold").await?;
    for metrics in [&warm, &cold] {
        ensure!(scrape(metrics, "unknown").await? == 401);
        ensure!(scrape(metrics, "good-token").await? == 200, "the one before the mistake");
    }

    deployed.secrets.put(&token, "mended-token");
    let fresh = deployed.function("metrics", "fresh").await?;
    for metrics in [&warm, &cold, &fresh] {
        wait::until("the mended token is accepted", PATIENCE, async || match scrape(metrics, "mended-token").await? {
            200 => Ok(()),
            status => not_yet(format!("the answer is {status}")),
        })
        .await?;
    }
    let said = cold.process().output()?;
    ensure!(said.matches("the current version is left out").count() == 1, "once, and not with each reading: {said}");
    ensure!(said.contains(&token) && !said.contains("mistake"), "{said}");

    deployed.secrets.put(&token, "mistake\n");
    deployed.secrets.put(&token, "another mistake");
    ensure!(scrape(&fresh, "mended-token").await? == 200, "what is held stays");
    let said = format!("{:#}", deployed.function("metrics", "none").await.err().context("it has no token")?);
    ensure!(said.contains(&token) && !said.contains("mistake"), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_cannot_be_read_takes_no_other_away() -> Result<()> {
    let signing = json!({ "seed": seed("a"), "other_seeds": ["too short", seed("b")] });
    let deployed = Deployed::start("secrets-keys", &signing.to_string(), "token").await?;
    let encode = deployed.function("encode", "encode").await?;
    let verify = deployed.function("verify", "verify").await?;
    let sigil = ask(&encode, &http_request("POST", SIGILS, &[], Some(&json!({ "data": 1 })))).await?;
    ensure!(sigil.status == 201, "{sigil:?}");
    let token = sigil.body["sigil"]["token"].clone();
    ensure!(verdict(&verify, &token).await? == "valid");
    let said = encode.process().output()?;
    ensure!(said.contains("key 1") && said.contains(&arn("signing")) && !said.contains("too short"), "{said}");

    // The active key becomes unreadable: encode needs it to sign, while verify goes on with the other keys.
    deployed.secrets.put(&arn("signing"), &json!({ "seed": "too short", "other_seeds": [seed("a")] }).to_string());
    let said = format!("{:#}", deployed.function("encode", "none").await.err().context("it has no active key")?);
    ensure!(said.contains("key 0") && said.contains(&arn("signing")) && !said.contains("too short"), "{said}");
    let cold = deployed.function("verify", "verify-cold").await?;
    ensure!(verdict(&cold, &token).await? == "valid");
    Ok(())
}

async fn verdict(verify: &ExecutionEnvironment, token: &Value) -> Result<Value> {
    let body = json!({ "token": token });
    Ok(ask(verify, &http_request("POST", &format!("{SIGILS}/verify"), &[], Some(&body))).await?.body["verdict"].clone())
}
