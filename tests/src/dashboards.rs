//! `make dashboards`: plays an incident against a bundle, observed by a real Prometheus. Compares what every panel and
//! every alert shows with what was sent, and draws the dashboards.
//!
//! ```text
//! traffic     the requests, an account of their answers, and the incident
//!   └ faulty_dynamodb
//! oracle      the expected values, computed from two scrapes and not by PromQL
//! panels      every query of every panel, against the oracle
//! alerts      every alert: fires, is pending, or stays silent
//! pictures    the pages in a browser, whose numbers are compared too
//! ```

mod alerts;
pub mod faulty_dynamodb;
mod oracle;
pub mod panels;
mod pictures;
mod traffic;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};

use crate::kit::bundle::{Bundle, Options};
use crate::kit::prometheus::{self, Prometheus};
use crate::kit::variables::DEFAULT_METRICS_TOKEN;
use crate::kit::wait::{self, not_yet};
use crate::kit::{port, workspace};

use faulty_dynamodb::FaultyDynamoDb;
use oracle::Oracle;
use traffic::{Sent, Traffic};

/// A busy environment publishes with a lag of at most a second, and a scrape adds another.
const PATIENCE: Duration = Duration::from_secs(30);
/// Number of scrapes before and after the traffic during which nothing is sent, so that no increase lies at the edge of
/// the window.
const QUIET_SCRAPES: f64 = 3.0;

/// A stretch of time, in seconds since the epoch.
#[derive(Debug, Clone, Copy)]
struct Window {
    from: f64,
    to: f64,
}

impl Window {
    fn seconds(self) -> f64 {
        self.to - self.from
    }

    /// Returns the window's length as a PromQL range. Scrapes have times in milliseconds. The range is one millisecond
    /// longer, so that it includes the sample at its start, which newer versions of Prometheus leave out, and older
    /// ones leave out when they round.
    fn as_range(self) -> String {
        format!("{}ms", (self.seconds() * 1000.0).round() + 1.0)
    }
}

/// Runs everything, and fails if anything is not as it must be.
pub async fn run() -> Result<()> {
    let pages = workspace::root().join("dashboards/draw/dist");
    ensure!(pages.join("index.html").exists(), "the pages are not built: run 'make dashboards'");
    let dynamodb_port = port::free()?;
    let dynamodb = FaultyDynamoDb::start(format!("http://127.0.0.1:{dynamodb_port}")).await?;
    let options = Options { dynamodb_port: Some(dynamodb_port), ..Options::for_test("dashboards") }
        .with("AWS_ENDPOINT_URL_DYNAMODB", dynamodb.url())
        // These settings are short, so that sigils expire and are collected, and environments fall silent and are folded, within
        // minutes.
        .with("SIGIL_RETENTION_SECONDS", "1")
        .with("STATS_WRITER_IDLE", "12s")
        .with("STATS_GRACE", "12s");
    let bundle = Bundle::start(&options).await?;
    let client = bundle.client();

    // Calls each function once, so that every series exists before the first scrape, and its first increment is seen
    // after it.
    let mut traffic = Traffic::new(client.clone());
    traffic.warm_up().await?;
    let prometheus = Prometheus::start_with(&prometheus::Options {
        target: client.url().strip_prefix("http://").context("it has a scheme")?.to_owned(),
        token: DEFAULT_METRICS_TOKEN.to_owned(),
        interval: "1s",
        port: None,
        pages: Some(pages),
        features: "",
        log: None,
    })
    .await?;
    let before = traffic.sent();
    seen(&prometheus, &before).await?;
    let from = quiet(&prometheus).await?;

    println!("an incident, as DynamoDB may have one:");
    traffic.incident(&dynamodb).await?;

    let after = traffic.sent();
    seen(&prometheus, &after).await?;
    let window = Window { from, to: quiet(&prometheus).await? };
    let sent = after.since(&before);
    println!("  {sent}");

    let oracle = Oracle::read(&prometheus, window).await?;
    sent.compare(&oracle)?;
    println!("  every one of them is counted, once");
    // An incident takes minutes, so all faults are reported at once.
    let checks = [
        panels::check(&prometheus, &oracle, &sent).await,
        alerts::check(&prometheus, window, traffic.healthy_until()).await,
        pictures::draw(&prometheus, &oracle, window).await,
    ];
    let faults: Vec<String> =
        checks.into_iter().filter_map(Result::err).map(|error: anyhow::Error| format!("{error:#}")).collect();
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}

/// Waits until Prometheus has scraped everything that was sent.
async fn seen(prometheus: &Prometheus, sent: &Sent) -> Result<()> {
    wait::until("Prometheus has seen all of it", PATIENCE, async || {
        for (expression, count) in sent.totals() {
            let seen = prometheus.query(&expression).await?.first().map_or(0.0, |series| series.value);
            if seen != count {
                return not_yet(format!("{expression} is {seen}, not {count}"));
            }
        }
        Ok(())
    })
    .await
}

/// Waits for some scrapes during which nothing is sent, and returns the time of the last one. A window between two such
/// times has samples at both ends, so that `rate` does not have to extrapolate.
async fn quiet(prometheus: &Prometheus) -> Result<f64> {
    let good_scrapes = async || {
        let result = prometheus.query("sum_over_time(up[10m]) and up == 1").await?;
        anyhow::Ok(result.first().map_or(0.0, |series| series.value))
    };
    let start = good_scrapes().await?;
    wait::until("Prometheus has scraped again", PATIENCE, async || {
        let scraped = good_scrapes().await?;
        // `timestamp` returns the time of the sample only for a plain selector; for anything else it returns the time
        // of the query.
        let last = prometheus.query("timestamp(up) and up == 1").await?;
        match last.first() {
            Some(last) if scraped >= start + QUIET_SCRAPES => Ok(last.value),
            _ => not_yet(format!("{scraped} scrapes have worked, after {start}")),
        }
    })
    .await
}

fn now() -> Result<f64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as f64 / 1000.0)
}
