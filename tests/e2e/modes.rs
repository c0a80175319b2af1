//! Tests modes of Lambda other than one request after the other: several requests at once, and environments that are restored
//! from an image.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use harness::kit::execution_environment::Function;
use harness::kit::process::Process;
use harness::kit::runtime_api::{Deadline, Outcome};
use harness::kit::stats::Stats;
use harness::kit::variables::DEFAULT_METRICS_TOKEN;
use harness::kit::{functions, lambda_event};
use serde_json::{Value, json};

use crate::desk::{self, Desk, Running};

const PATIENCE: Duration = Duration::from_secs(60);

/// Number of requests that an environment is sent at once.
const AT_ONCE: u32 = 16;

const CONCURRENT: (&str, &str) = ("AWS_LAMBDA_MAX_CONCURRENCY", "16");

/// Checks that no two environments shared an id, since they would then share an item. There may be more items than
/// environments: an environment that did not hear of its first put in time, as on a busy machine, has fenced its id, and the
/// fence is an item too.
async fn at_least_as_many_items(stats: &Stats, environments: f64) -> Result<()> {
    let items = stats.counted("prometheus_dynamodb_writers").await?;
    ensure!(items >= environments, "{items} items of {environments} environments");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_function_handles_as_many_requests_at_once_as_lambda_says() -> Result<()> {
    const REQUESTS: u32 = 64;
    let desk = Desk::new("modes-functions").await?;
    let keys = sigil::keys::generate("modes");
    let settings = [CONCURRENT, ("SIGNING_KEYS", keys.as_str())];
    let authorization = format!("Bearer {DEFAULT_METRICS_TOKEN}");
    let mut token = Value::Null;
    for name in functions::ALL {
        let running = desk.start(&desk.function(name)?, name, &settings, true).await?;
        tokio::time::timeout(PATIENCE, running.api.asks_for_events(AT_ONCE))
            .await
            .with_context(|| format!("{name} does not ask for {AT_ONCE} events at once"))?;
        let (event, status) = match name {
            "encode" => (desk::event(), Some(201)),
            "verify" => {
                let body = json!({ "token": token });
                let path = "/api/consciousness/sigils/verify";
                (lambda_event::http_request("POST", path, &[], Some(&body)), Some(200))
            }
            "metrics" => {
                let headers = [("authorization", authorization.as_str())];
                (lambda_event::http_request("GET", "/metrics", &headers, None), Some(200))
            }
            _ => (lambda_event::scheduled(), None),
        };
        running.api.invoke_all(&event, REQUESTS - 1, AT_ONCE).await?;
        let Outcome::Response(last) = running.api.invoke(&event).await? else { bail!("{name} has failed") };
        let statuses: Vec<_> = running.api.tally().statuses.into_iter().collect();
        assert_eq!(
            statuses,
            status.map(|status| (status, u64::from(REQUESTS))).into_iter().collect::<Vec<_>>(),
            "{name}"
        );
        if name == "encode" {
            let body: Value = serde_json::from_str(last["body"].as_str().context("a response has a body")?)?;
            token = body["sigil"]["token"].clone();
        }
        if name == "verify" {
            running.stats.until_counted("sigil_verify_total", REQUESTS.into(), PATIENCE).await?;
            let valid = last["body"].as_str().is_some_and(|body| body.contains("\"verdict\":\"valid\""));
            assert!(valid, "{last}");
        }
        if name != "metrics" {
            running.stats.until_counted("lambda_invocations_total", REQUESTS.into(), PATIENCE).await?;
            running.environment.terminate().await?;
            assert_eq!(running.stats.counted("lambda_invocations_total").await?, f64::from(REQUESTS), "{name}");
        }
    }
    let Err(refused) = desk.encode("refused", &[("AWS_LAMBDA_MAX_CONCURRENCY", "many")], true).await else {
        bail!("'many' is no number");
    };
    let refused = format!("{refused:#}");
    assert!(refused.contains("AWS_LAMBDA_MAX_CONCURRENCY") && refused.contains("from 1 to 10000"), "{refused}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn several_requests_at_once_are_counted_exactly_and_a_long_one_holds_back_nothing() -> Result<()> {
    /// `harness concurrency` sends 20,000, and compares the totals too.
    const REQUESTS: u32 = 1000;
    let desk = Desk::new("modes-at-once").await?;
    let function = Function { name: "jobs", program: env!("CARGO_BIN_EXE_jobs").into() };
    let settings = [CONCURRENT, ("JOB_METRICS", "before")];
    let Running { environment, api, stats, proxy: _proxy } = desk.start(&function, "at-once", &settings, true).await?;
    api.set_deadline(Deadline::After(Duration::from_secs(900)));
    let long = {
        let api = Arc::clone(&api);
        tokio::spawn(async move { api.invoke(&json!({ "seconds": 0.1, "hold_seconds": 600.0 })).await })
    };
    let all = f64::from(REQUESTS) + 1.0;
    api.invoke_all(&json!({ "seconds": 0.1 }), REQUESTS, AT_ONCE - 1).await?;
    for counter in ["jobs_total", "job_duration_seconds", "lambda_invocations_total"] {
        stats.until_counted(counter, all, PATIENCE).await?;
    }
    assert!(!long.is_finished(), "the long one goes on");
    environment.terminate().await?;
    ensure!(long.await?.is_err(), "the request ended too early");
    for counter in ["jobs_total", "job_duration_seconds", "lambda_invocations_total"] {
        assert_eq!(stats.counted(counter).await?, all, "{counter}");
    }
    Ok(())
}

/// Shows that restored environments count nothing of the image again. The program restores by `fork`, which gives each
/// environment the memory as it was when the image was taken.
#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_restored_a_hundred_times_multiplies_nothing() -> Result<()> {
    const RESTORES: u32 = 100;
    const REQUESTS: u32 = 3;
    let desk = Desk::new("modes-image").await?;
    let stats = desk.stats("image");
    stats.create().await?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_restored"));
    stats.variables(&desk.url(), &[("AWS_LAMBDA_FUNCTION_NAME", "restored")]).apply(&mut command);
    command.env("AWS_LAMBDA_FUNCTION_VERSION", "1");
    command.env("RESTORES", RESTORES.to_string()).env("REQUESTS", REQUESTS.to_string());
    let mut image = Process::spawn("restored", command, &desk.logs.join("restored.log"))?;

    let handled = f64::from(RESTORES * REQUESTS);
    for counter in ["handled_total", "lambda_invocations_total"] {
        stats.until_counted(counter, handled, PATIENCE).await.with_context(|| image.log_tail(20))?;
    }
    image.ensure_running()?;
    assert_eq!(stats.counted("warmed_up_total").await?, 1000.0, "by the one of which the image was taken");
    // The environment of which the image was taken has started as well.
    let started = f64::from(1 + RESTORES);
    assert_eq!(stats.counted("lambda_cold_starts_total").await?, started);
    assert_eq!(
        stats.counted("lambda_init_duration_seconds").await?,
        1.0,
        "the duration of a restore cannot be measured"
    );
    at_least_as_many_items(&stats, started).await
}

/// Shows the Runtime API's part of SnapStart: the function asks for the image to be taken, and goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_function_under_snapstart_counts_its_init_and_its_requests_once() -> Result<()> {
    const REQUESTS: u32 = 3;
    let desk = Desk::new("modes-snapstart").await?;
    let settings = [("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start")];
    let encode = desk.encode("snapstart", &settings, true).await?;
    for _ in 0..REQUESTS {
        encode.request().await?;
    }
    encode.stats.until_counted("sigil_encode_total", f64::from(REQUESTS), PATIENCE).await?;
    // The environment of which the image was taken, and the restored one.
    let started = 2.0;
    assert_eq!(encode.stats.counted("lambda_cold_starts_total").await?, started);
    assert_eq!(encode.stats.counted("lambda_init_duration_seconds").await?, 1.0, "the first one alone has an init");
    at_least_as_many_items(&encode.stats, started).await
}
