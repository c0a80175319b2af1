//! Shows that every query of every panel gives the same on Prometheus and on VictoriaMetrics, which scrape one bundle.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use harness::dashboards::panels;
use harness::kit::bundle::{Bundle, Options};
use harness::kit::client::Client;
use harness::kit::prometheus::{self, Prometheus, Series};
use harness::kit::variables::DEFAULT_METRICS_TOKEN;
use serde_json::json;

/// Largest relative difference of rates and increases over the test's window: Prometheus extrapolates to the ends of the
/// window, and VictoriaMetrics starts with the sample before it.
const TOLERANCE: f64 = 0.1;
/// Counters, with their values after everything has been used twice.
const SENT: [(&str, f64); 4] =
    [("sigil_encode_total", 10.0), ("sigil_verify_total", 20.0), ("sigil_revoke_total", 10.0), ("sigil_gc_total", 2.0)];
/// Queries whose results differ, as docs/scrapers.md says: each scraper measures its own scrapes, and only Prometheus
/// extrapolates a window that begins before the first sample.
const DIFFERENT: [&str; 5] = [
    "Sigils encoded per second B",
    "Encode latency p95 B",
    "Scrape duration A",
    "What a scrape takes A",
    "What a scrape takes B",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_panel_shows_the_same_on_prometheus_and_on_victoria_metrics() -> Result<()> {
    let bundle = Bundle::start(&Options::for_test("scrapers")).await?;
    let client = bundle.client();
    use_everything(client).await?;
    let options = prometheus::Options::over(
        client.url().strip_prefix("http://").context("it has a scheme")?,
        DEFAULT_METRICS_TOKEN,
    );
    let prometheus = Prometheus::start_with(&options).await?;
    let victoria_metrics = Prometheus::start_victoria_metrics(&options).await?;
    for scraper in [&prometheus, &victoria_metrics] {
        scraped(scraper, 3.0).await?;
    }
    let start = Instant::now();
    // Prometheus counts from the first sample in the window, VictoriaMetrics from the last sample before it.
    for scraper in [&prometheus, &victoria_metrics] {
        scraped(scraper, 2.0).await?;
    }
    use_everything(client).await?;
    for scraper in [&prometheus, &victoria_metrics] {
        for (name, count) in SENT {
            let sum = format!("sum({name})");
            scraper.query_until(&sum, |found| found.len() == 1 && found[0].value == count).await?;
        }
        scraped(scraper, 20.0).await?;
    }

    // No request falls on the ends of the window, and there are samples before it.
    let window = format!("{}s", start.elapsed().as_secs() + 1);
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
    let mut differences = Vec::new();
    let mut different = BTreeSet::from(DIFFERENT);
    for (panel, reference, expression) in panels::queries()? {
        let name = format!("{panel} {reference}");
        if DIFFERENT.contains(&name.as_str()) {
            different.remove(name.as_str());
            continue;
        }
        let query = interpolated(&expression, &window);
        let (here, there) = tokio::try_join!(prometheus.query_at(&query, now), victoria_metrics.query_at(&query, now))?;
        if let Err(difference) = same(&here, &there) {
            differences.push(format!("{panel} {reference}: {query}: {difference}"));
        }
    }
    ensure!(differences.is_empty(), "{}", differences.join("\n"));
    ensure!(different.is_empty(), "no panel has these queries: {different:?}");
    Ok(())
}

/// Waits for `count` more scrapes that succeed.
async fn scraped(scraper: &Prometheus, count: f64) -> Result<()> {
    let good = "sum(sum_over_time(up[10m]))";
    let before = scraper.query(good).await?.first().map_or(0.0, |series| series.value);
    scraper.query_until(good, |found| found.len() == 1 && found[0].value >= before + count).await?;
    Ok(())
}

/// Uses every function, with answers of several kinds.
async fn use_everything(client: &Client) -> Result<()> {
    for number in 0..5 {
        let sigil = client.encode(&json!({ "number": number })).await?;
        client.verdict(&sigil.token, Some(&json!("something else"))).await?;
        client.verdict(&sigil.token, None).await?;
        client.post_sigils("{".to_owned()).await?;
        client.revoke(&sigil.id).await?.expect(200)?;
    }
    client.gc().await?;
    Ok(())
}

fn interpolated(expression: &str, window: &str) -> String {
    let values = [("$__rate_interval", window), ("$__range", window), ("$job", "sigils")];
    let all = [("$stack", ".*"), ("$instance", ".+"), ("$function", ".+")];
    values.into_iter().chain(all).fold(expression.to_owned(), |text, (name, value)| text.replace(name, value))
}

fn same(here: &[Series], there: &[Series]) -> Result<()> {
    let (here, there) = (by_labels(here), by_labels(there));
    ensure!(here.keys().eq(there.keys()), "{here:?} and {there:?}");
    for (labels, value) in &here {
        let other = there[labels];
        ensure!((value - other).abs() <= TOLERANCE * value.abs().max(other.abs()), "{labels} is {value} and {other}");
    }
    Ok(())
}

/// Returns the values that a panel shows. NaN is drawn as a gap, and VictoriaMetrics leaves it out.
fn by_labels(series: &[Series]) -> BTreeMap<String, f64> {
    let shown = series.iter().filter(|series| !series.value.is_nan());
    shown.map(|series| (without_spelling(&series.labels.to_string()), series.value)).collect()
}

/// Returns the labels with whole bounds spelled alike: OpenMetrics, which Prometheus 3 asks for, spells them `1.0`, and the
/// text format, which VictoriaMetrics asks for, `1`.
fn without_spelling(labels: &str) -> String {
    labels.replace(".0\"", "\"")
}
