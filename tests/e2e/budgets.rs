//! Shows that clients are answered in time whatever hangs, and that Lambda never has to end an invocation.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::kit::deployed::{Deployed, HttpAnswer, ask};
use harness::kit::execution_environment::ExecutionEnvironment;
use harness::kit::lambda_event::{http_request, scheduled};
use harness::kit::runtime_api::{Deadline, Outcome};
use harness::kit::wait::{self, not_yet};
use secrets::secret::MAX_AGE;
use serde_json::{Value, json};

const TOKEN: &str = "the-metrics-token";
const SIGILS: &str = "/api/consciousness/sigils";

const PATIENCE: Duration = Duration::from_secs(60);

/// Longest time that a client may wait for a 503.
const REQUEST: Duration = Duration::from_secs(3);
/// Time after which Prometheus gives up a scrape by default.
const SCRAPE: Duration = Duration::from_secs(10);
/// Time after which Lambda gives up a cold start and begins it anew, in the time of the next request.
const INIT: Duration = Duration::from_secs(10);
/// Time that a gc run has left before its deadline.
const LITTLE: Duration = Duration::from_secs(3);

fn encode() -> Value {
    http_request("POST", SIGILS, &[], Some(&json!({ "data": "due" })))
}

fn scrape() -> Value {
    http_request("GET", "/metrics", &[("authorization", &format!("Bearer {TOKEN}"))], None)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_takes_longer_than_its_deadline_while_both_stores_are_silent() -> Result<()> {
    let deployed = Deployed::start("budgets", &json!({ "seed": "s".repeat(64) }).to_string(), TOKEN).await?;
    let (encoder, verifier) =
        (deployed.function("encode", "encode").await?, deployed.function("verify", "verify").await?);
    let (metrics, gc) = (deployed.function("metrics", "metrics").await?, deployed.function("gc", "gc").await?);
    let sigil = answered(&encoder, &encode(), 201).await?;
    let verify =
        http_request("POST", &format!("{SIGILS}/verify"), &[], Some(&json!({ "token": sigil.body["sigil"]["token"] })));
    answered(&verifier, &verify, 200).await?;
    answered(&metrics, &scrape(), 200).await?;
    // A deadline in the past makes no sense, and is treated as no deadline.
    gc.api().set_deadline(Deadline::LongPast);
    let run = gc.api().invoke(&scheduled()).await?;
    ensure!(matches!(&run, Outcome::Response(summary) if summary["sigils"]["finished"] == true), "{run:?}");
    for environment in [&encoder, &verifier, &metrics, &gc] {
        environment.api().asks_for_event().await;
    }

    // After this wait, every key and token is due for renewal.
    tokio::time::sleep(MAX_AGE + Duration::from_secs(1)).await;
    deployed.dynamodb_valve.set_shut(true);
    deployed.secrets_valve.set_shut(true);
    gc.api().set_deadline(Deadline::After(LITTLE));
    let (encoded, verified, scraped, collected) = tokio::join!(
        unavailable(&encoder, encode(), REQUEST),
        unavailable(&verifier, verify, REQUEST),
        unavailable(&metrics, scrape(), SCRAPE),
        async {
            let started = Instant::now();
            let run = gc.api().invoke(&scheduled()).await?;
            ensure!(matches!(&run, Outcome::Error(_)), "{run:?}");
            // By the next request for an event, gc has also published, or given up publishing.
            gc.api().asks_for_event().await;
            let took = started.elapsed();
            ensure!(took < LITTLE, "Lambda would have ended gc, which took {took:?}");
            Ok(())
        },
    );
    encoded.context("encode")?;
    verified.context("verify")?;
    scraped.context("metrics")?;
    collected.context("gc")?;
    for (environment, said) in
        [(&encoder, "a request failed"), (&verifier, "a request failed"), (&metrics, "a scrape failed")]
    {
        let log = environment.process().output()?;
        ensure!(log.lines().any(|line| line.contains("ERROR") && line.contains(said)), "{log}");
    }

    // While the secret cannot be read, the value in memory stays in use, and no further request waits for a renewal.
    deployed.dynamodb_valve.set_shut(false);
    let started = Instant::now();
    let sigil = ask(&encoder, &encode()).await?;
    ensure!(sigil.status == 201 && started.elapsed() < REQUEST, "{sigil:?} after {:?}", started.elapsed());
    Ok(())
}

/// Asks until the answer has this status. On a busy machine the first call of a new environment can run out of time.
async fn answered(environment: &ExecutionEnvironment, event: &Value, status: u64) -> Result<HttpAnswer> {
    wait::until("the function answers", PATIENCE, async || match ask(environment, event).await? {
        answer if answer.status == status => Ok(answer),
        answer => not_yet(format!("{answer:?}")),
    })
    .await
}

async fn unavailable(environment: &ExecutionEnvironment, event: Value, bound: Duration) -> Result<()> {
    let started = Instant::now();
    let answer = ask(environment, &event).await?;
    let took = started.elapsed();
    ensure!(answer.status == 503, "{answer:?}");
    ensure!(took < bound, "it took {took:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_start_ends_in_time_and_names_the_secret_that_is_silent() -> Result<()> {
    let deployed = Deployed::start("budgets-cold", "{}", TOKEN).await?;
    deployed.secrets_valve.set_shut(true);
    for (function, secret) in [("encode", "secret:signing"), ("verify", "secret:signing"), ("metrics", "secret:token")]
    {
        let started = Instant::now();
        let said = format!("{:#}", deployed.function(function, function).await.err().context("it has no secret")?);
        ensure!(started.elapsed() < INIT, "{function} took {:?}", started.elapsed());
        ensure!(said.contains(secret) && said.contains("did not answer in time"), "{function}: {said}");
    }
    Ok(())
}
