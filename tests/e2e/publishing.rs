//! Measures what publishing costs the service while the stats table is in trouble, and tests that a time-out loses no count and
//! that a missing table is logged once.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::kit::execution_environment::Function;
use harness::kit::fault_proxy::Fault;
use harness::kit::runtime_api::Deadline;
use harness::kit::wait::{self, not_yet};
use serde_json::json;

use crate::desk::{Desk, Running};

/// Longest time until what was held back is published: longer than the longest pause between two attempts.
const PATIENCE: Duration = Duration::from_secs(90);

/// Returns the time for which the table is in trouble: 15 s, or `TROUBLE_SECONDS`, which `make soak` sets to 60.
fn trouble() -> Result<Duration> {
    let seconds = std::env::var("TROUBLE_SECONDS").map_or(Ok(15), |text| text.parse());
    Ok(Duration::from_secs(seconds.context("TROUBLE_SECONDS must be a whole number")?))
}

/// Returns the share of the time that trouble may take, in percent. In a short time the budget's initial content weighs more,
/// and so does whatever else the machine does. Without a budget, a table that hangs would take nearly all of the time.
fn bound(trouble: Duration) -> f64 {
    if trouble < Duration::from_secs(60) { 20.0 } else { 5.0 }
}

const HANGS: Fault = Fault::Delay(Duration::from_secs(600));

/// Shows that a table in trouble costs the service little. The cost is the time after responses in which the environment asks
/// for no event, beyond that of an environment whose table is well. So the speed of the requests themselves on this machine
/// does not matter.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_in_trouble_takes_little_of_the_time_and_loses_nothing() -> Result<()> {
    let trouble = trouble()?;
    let desk = Desk::new("publishing-trouble").await?;
    let well = desk.encode("well", &[], true).await?;
    let troubled = async |name: &'static str, fault: Fault| -> Result<_> {
        let encode = desk.encode(name, &[], true).await?;
        encode.proxy.set_outage(encode.stats.name(), Some(fault));
        let (requests, share) = encode.closed_loop(trouble).await?;
        Ok((name, encode, requests, share))
    };
    let ((_, usual_share), hanging, slow, throttling, failing) = tokio::try_join!(
        well.closed_loop(trouble),
        troubled("hanging", HANGS),
        // An attempt may take 500 ms, so each one still succeeds.
        troubled("slow", Fault::Delay(Duration::from_millis(400))),
        troubled("throttling", Fault::Throttle),
        troubled("failing", Fault::Drop),
    )?;
    for (name, encode, requests, share) in [hanging, slow, throttling, failing] {
        let percent = (share - usual_share) * 100.0;
        println!("{name}: {requests} requests, {percent:.1} % of the time held");
        ensure!(percent <= bound(trouble), "{name}: {percent:.1} % of the time held in {requests} requests");
        ensure!(encode.proxy.traffic().faulty() > 0, "{name}: no call met the fault");
        encode.proxy.set_outage(encode.stats.name(), None);
        wait::until("what was held back is published", PATIENCE, async || {
            let found = encode.stats.counted("sigil_encode_total").await?;
            if found == f64::from(requests) { Ok(()) } else { not_yet(format!("{found} of {requests} are")) }
        })
        .await?;
    }
    Ok(())
}

/// Shows that an environment publishes before its deadline. Publishes are otherwise an hour apart, so no other publish can have
/// stored the counts.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_counted_before_a_time_out_is_published() -> Result<()> {
    const TIMEOUT: Duration = Duration::from_millis(1500);
    let desk = Desk::new("publishing-time-out").await?;
    let rarely = [("STATS_PUBLISH_INTERVAL", "1h"), ("STATS_PUBLISH_BURST", "1"), ("JOB_METRICS", "before")];
    let program = env!("CARGO_BIN_EXE_jobs").into();
    let function = Function { name: "jobs", program };
    let Running { environment, api, proxy, stats } = desk.start(&function, "time-out", &rarely, true).await?;
    let job = |hold_seconds: f64| json!({ "seconds": 0.1, "hold_seconds": hold_seconds });
    for _ in 0..20 {
        api.invoke(&job(0.0)).await?;
        api.asks_for_event().await;
    }
    assert_eq!(stats.counted("jobs_total").await?, 1.0, "the others are held back");

    // The handler takes longer than Lambda waits for it.
    api.set_deadline(Deadline::After(TIMEOUT));
    let invocation = tokio::spawn(async move { api.invoke(&job(60.0)).await });
    tokio::time::sleep(TIMEOUT).await;
    environment.kill().await?;
    proxy.quiet().await;
    ensure!(invocation.await?.is_err(), "the request ended too early");
    assert_eq!(stats.counted("jobs_total").await?, 21.0, "also the one that ran into its time-out");
    assert_eq!(stats.counted("lambda_invocations_total").await?, 21.0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_does_not_exist_is_named_in_the_log_and_does_not_flood_it() -> Result<()> {
    let desk = Desk::new("publishing-no-table").await?;
    let encode = desk.encode("missing", &[], false).await?;
    encode.closed_loop(Duration::from_secs(6)).await?;
    let log = encode.environment.process().output()?;
    let lines: Vec<_> = log.lines().filter(|line| line.contains("could not be published")).collect();
    assert_eq!(lines.len(), 1, "{log}");
    assert!(lines[0].contains("ResourceNotFoundException"), "{log}");
    Ok(())
}
