//! Compares every query of every panel with its expected result.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::kit::prometheus::{Prometheus, Series};
use crate::kit::workspace;

use super::oracle::{Oracle, Values, labels_of};
use super::traffic::Sent;

/// The dashboards' files.
pub const FILES: [&str; 2] = ["service.json", "pipeline.json"];

/// Relative error from the millisecond by which the window is longer than the samples: for some series `rate`
/// extrapolates to it.
const ROUNDING: f64 = 2e-5;
/// Window, in seconds, of the two queries whose text users know, which is kept word for word.
const FIVE_MINUTES: f64 = 300.0;

/// The expected result of a query.
struct Expected {
    /// Labels that distinguish the series of the result.
    by: &'static [&'static str],
    /// Smallest and largest allowed value of each series.
    from: Values,
    to: Values,
}

/// Runs every query as Grafana would over the oracle's window, which is also the interval of the rates.
pub(super) async fn check(prometheus: &Prometheus, oracle: &Oracle, sent: &Sent) -> Result<()> {
    let mut expectations = expectations(oracle, sent);
    let (mut checked, mut faults) = (0, Vec::new());
    for (panel, reference, expression) in queries()? {
        let name = format!("{panel} {reference}");
        let expected = expectations.remove(name.as_str()).with_context(|| format!("nothing is expected of {name}"))?;
        let query = interpolated(&expression, oracle);
        let result = prometheus.query_at(&query, oracle.window.to).await?;
        checked += 1;
        if let Err(fault) = compare(&expected, &result, oracle) {
            faults.push(format!("{name}: {query}: {fault}"));
        }
    }
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    ensure!(expectations.is_empty(), "no panel asks for {:?}", expectations.keys());
    println!("  {checked} queries of the dashboards say what follows from that");
    Ok(())
}

/// Returns the panel, the reference and the expression of each query.
pub fn queries() -> Result<Vec<(String, String, String)>> {
    let mut queries = Vec::new();
    for file in FILES {
        let path = workspace::root().join("dashboards").join(file);
        let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(&path)?)?;
        for panel in dashboard["panels"].as_array().context("there are panels")? {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let text = |value: &Value| value.as_str().map(str::to_owned).context("a text");
                queries.push((text(&panel["title"])?, text(&target["refId"])?, text(&target["expr"])?));
            }
        }
    }
    Ok(queries)
}

fn interpolated(expression: &str, oracle: &Oracle) -> String {
    let range = oracle.window.as_range();
    let values = [("$__rate_interval", range.as_str()), ("$__range", &range), ("$job", "sigils")];
    let all = [("$stack", ".*"), ("$instance", ".+"), ("$function", ".+")];
    values.into_iter().chain(all).fold(expression.to_owned(), |text, (name, value)| text.replace(name, value))
}

fn compare(expected: &Expected, result: &[Series], oracle: &Oracle) -> Result<()> {
    let found: Values = result
        .iter()
        .filter(|series| !series.value.is_nan())
        .map(|series| (labels_of(&series.labels, expected.by), series.value))
        .collect();
    let labels = |values: &Values| values.keys().cloned().collect::<Vec<_>>();
    ensure!(labels(&found) == labels(&expected.from), "{found:?} instead of {:?}", expected.from);
    for (labels, value) in &found {
        let (from, to) = (expected.from[labels], expected.to[labels]);
        let slack = (value.abs() * ROUNDING).max(1e-9);
        let right = from - slack <= *value && *value <= to + slack;
        ensure!(right, "{labels:?} is {value}, not {from} to {to}, over {} s", oracle.window.seconds());
    }
    Ok(())
}

/// Returns the expected results, by panel and reference.
fn expectations(oracle: &Oracle, sent: &Sent) -> BTreeMap<&'static str, Expected> {
    let seconds = oracle.window.seconds();
    let single = |value: f64| Values::from([(vec![], value)]);
    let exactly = |by, values: Values| Expected { by, from: values.clone(), to: values };
    let one = |value| exactly(&[], single(value));
    let each = |values: Values, divisor: f64| -> Values {
        values.into_iter().map(|(labels, value)| (labels, value / divisor)).collect()
    };
    let some = |values: Values| -> Values { values.into_iter().filter(|(_, value)| *value > 0.0).collect() };
    let rise = |name| oracle.rise(name, &[]);
    let rate = |name| one(rise(name) / seconds);
    let rates = |name, by| exactly(by, each(oracle.rises(name, by), seconds));
    let gauge = |name, by| exactly(by, oracle.gauges(name, by));
    let largest = |name, by| exactly(by, oracle.largest(name, by));
    // Buckets that are extrapolated differently move the rank, and with it the quantile, by an amount that depends on
    // the width of the bucket.
    let quantile_within = |share: f64, q: f64, name, by| Expected {
        by,
        from: oracle.quantiles(q * (1.0 - share), name, by),
        to: oracle.quantiles((q * (1.0 + share)).min(1.0), name, by),
    };
    let quantile = |q, name, by| quantile_within(ROUNDING, q, name, by);

    let open = |name, labels: &[(&str, &str)]| {
        let groups = oracle.gauges(name, &[labels[0].0]);
        one(groups.get(&vec![labels[0].1.to_owned()]).copied().unwrap_or_default())
    };
    let age = || one(oracle.window.to - oracle.largest("sigil_gc_last_success_timestamp_seconds", &[])[&vec![]]);
    // `rate` extrapolates if the samples do not reach back to the start of the window.
    let over_five_minutes = |value: f64| Expected {
        by: &[],
        from: single(value / FIVE_MINUTES),
        to: single(value / FIVE_MINUTES * (1.0 + oracle.extrapolation)),
    };
    let errors = {
        let mut errors = oracle.rises("sigil_error_total", &["operation", "reason"]);
        errors.retain(|labels, _| labels[0] != "gc");
        some(each(errors, sent.requests()))
    };
    let failures_by = &["function", "reason"];
    let failures = oracle.rises("prometheus_dynamodb_publish_failures_total", &["function"]);
    let publishes = oracle.rises("prometheus_dynamodb_publishes_total", &["function"]);
    let failure_ratios: Values = failures
        .iter()
        .map(|(function, failed)| (function.clone(), failed / (failed + publishes[function])))
        .filter(|(_, ratio)| !ratio.is_nan())
        .collect();
    let buckets = |name: &str| exactly(&["le"], oracle.rises(name, &["le"]));
    let burn_rate = sent.failed() / sent.requests() / 0.001;

    const ENCODE: &str = "sigil_encode_duration_seconds";
    const VERIFY: &str = "sigil_verify_duration_seconds";
    const STORAGE: &str = "sigil_storage_operation_duration_seconds";
    BTreeMap::from([
        // service.json
        ("Sigils encoded A", one(rise("sigil_encode_total"))),
        ("Tokens verified A", one(rise("sigil_verify_total"))),
        ("Failed requests A", one(sent.failed() / sent.requests())),
        ("Open circuit breakers A", open("sigil_circuit_breaker_state", &[("state", "open")])),
        ("Since last gc success A", age()),
        ("Live environments A", open("prometheus_dynamodb_writers", &[("state", "live")])),
        ("Sigils encoded per second A", rate("sigil_encode_total")),
        ("Sigils encoded per second B", over_five_minutes(rise("sigil_encode_total"))),
        ("Encode latency p95 A", quantile(0.95, ENCODE, &[])),
        ("Encode latency p95 B", quantile_within(oracle.extrapolation, 0.95, ENCODE, &[])),
        ("Verifications by verdict A", rates("sigil_verify_total", &["verdict"])),
        ("Errors A", exactly(&["reason"], some(each(oracle.rises("sigil_error_total", &["reason"]), seconds)))),
        ("GC cycles A", one(rise("sigil_gc_total"))),
        ("Revocations A", rate("sigil_revoke_total")),
        ("Error ratio by operation and reason A", exactly(&["operation", "reason"], errors)),
        ("Error budget burn rate A", one(burn_rate)),
        ("Encode latency A", quantile(0.5, ENCODE, &[])),
        ("Encode latency B", quantile(0.95, ENCODE, &[])),
        ("Encode latency C", quantile(0.99, ENCODE, &[])),
        ("Verify latency A", quantile(0.5, VERIFY, &[])),
        ("Verify latency B", quantile(0.95, VERIFY, &[])),
        ("Verify latency C", quantile(0.99, VERIFY, &[])),
        ("Encode latency heatmap A", buckets("sigil_encode_duration_seconds_bucket")),
        ("Verify latency heatmap A", buckets("sigil_verify_duration_seconds_bucket")),
        ("Records deleted A", exactly(&["reason"], oracle.rises("sigil_gc_deleted_total", &["reason"]))),
        ("GC duration A", quantile(0.95, "sigil_gc_duration_seconds", &[])),
        ("Age of the last successful gc run A", age()),
        ("Storage latency p95 A", quantile(0.95, STORAGE, &["operation"])),
        ("Storage calls by outcome A", rates("sigil_storage_operation_duration_seconds_count", &["outcome"])),
        (
            "Retries and throttles A",
            exactly(&["operation"], some(each(oracle.rises("sigil_storage_retries_total", &["operation"]), seconds))),
        ),
        (
            "Retries and throttles B",
            exactly(&["operation"], some(each(oracle.rises("sigil_storage_throttles_total", &["operation"]), seconds))),
        ),
        ("Circuit breakers A", gauge("sigil_circuit_breaker_state", &["state"])),
        ("Invocations A", rates("lambda_invocations_total", &["function"])),
        ("Cold starts A", rates("lambda_cold_starts_total", &["function"])),
        ("Initialization p95 A", quantile(0.95, "lambda_init_duration_seconds", &["function"])),
        ("Environments A", gauge("prometheus_dynamodb_writers", &["state"])),
        ("Memory A", gauge("process_resident_memory_bytes", &["function"])),
        ("CPU A", rates("process_cpu_seconds_total", &["function"])),
        ("Failed secret renewals A", rate("secret_renewal_failures_total")),
        // pipeline.json
        ("Scrapes that work A", one(1.0)),
        ("Scrape duration A", largest("prometheus_dynamodb_scrape_duration_seconds", &[])),
        ("Series A", gauge("prometheus_dynamodb_series", &[])),
        ("Conflicts A", one(0.0)),
        ("Unreadable items A", one(0.0)),
        ("Not folded: too large A", one(0.0)),
        ("Publishes A", rates("prometheus_dynamodb_publishes_total", &["function"])),
        (
            "Publish failures A",
            exactly(
                failures_by,
                some(each(oracle.rises("prometheus_dynamodb_publish_failures_total", failures_by), seconds)),
            ),
        ),
        ("Publish failure ratio A", exactly(&["function"], failure_ratios)),
        ("Series left out A", rates("prometheus_dynamodb_dropped_series_total", &["function"])),
        ("Series left out B", rates("prometheus_dynamodb_refused_series_total", &[])),
        ("Largest snapshot A", largest("prometheus_dynamodb_snapshot_bytes", &["function"])),
        ("Snapshot size A", largest("prometheus_dynamodb_snapshot_bytes", &["function"])),
        ("Environments by state A", gauge("prometheus_dynamodb_writers", &["state"])),
        ("Age of the oldest unfolded snapshot A", largest("prometheus_dynamodb_oldest_unfolded_age_seconds", &[])),
        ("Folds and burials A", one(rise("prometheus_dynamodb_folds_total"))),
        ("Folds and burials B", one(rise("prometheus_dynamodb_burials_total"))),
        ("Conflicts by kind A", gauge("prometheus_dynamodb_conflicts", &["kind"])),
        ("Left out or not folded A", one(0.0)),
        ("Left out or not folded B", one(0.0)),
        ("What a scrape takes A", largest("prometheus_dynamodb_scrape_duration_seconds", &[])),
        ("What a scrape takes B", largest("scrape_duration_seconds", &[])),
        ("What a scrape brings A", gauge("prometheus_dynamodb_series", &[])),
        ("What a scrape brings B", gauge("scrape_samples_scraped", &[])),
        ("Scrapes A", one(1.0)),
    ])
}
