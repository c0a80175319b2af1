//! Shows that Prometheus scrapes the bundle like any other target.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use harness::kit::bundle::{Bundle, Options};
use harness::kit::client::Client;
use harness::kit::prometheus::{self, Prometheus};
use harness::kit::variables::DEFAULT_METRICS_TOKEN;
use harness::kit::workspace;
use prometheus_dynamodb::internals::exposition::Format;
use prometheus_dynamodb::internals::page::Page;
use prometheus_dynamodb::internals::page::{PageFamily, PageKind, PageSeries, PageValue};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_what_tools_expect() -> Result<()> {
    let bundle = Bundle::start(&Options::for_test("scraping-page")).await?;
    use_everything(bundle.client()).await?;

    let answer = bundle.client().get_metrics(Some(DEFAULT_METRICS_TOKEN)).await?.expect(200)?;
    let content_type = answer.header("content-type").unwrap_or_default();
    assert!(content_type.starts_with("text/plain; version=0.0.4"), "{content_type}");
    prometheus::check_metrics(&answer.text)?;
    independent_parser_reads("prometheus_client.parser", &answer.text)?;

    let answer = bundle.client().get_metrics_as("application/openmetrics-text; version=1.0.0").await?.expect(200)?;
    let content_type = answer.header("content-type").unwrap_or_default();
    assert!(content_type.starts_with("application/openmetrics-text; version=1.0.0"), "{content_type}");
    independent_parser_reads("prometheus_client.openmetrics.parser", &answer.text)
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_sees_the_same_numbers() -> Result<()> {
    let bundle = Bundle::start(&Options::for_test("scraping-numbers")).await?;
    let client = bundle.client();
    // By default Prometheus asks for OpenMetrics; for native histograms it asks for protocol buffers.
    let by_default = prometheus::Options::over(target(client)?, DEFAULT_METRICS_TOKEN);
    let protobuf = prometheus::Options { features: "native-histograms", ..by_default.clone() };
    let (prometheus, by_protobuf) =
        (Prometheus::start_with(&by_default).await?, Prometheus::start_with(&protobuf).await?);
    prometheus.query_until("up", |result| result.len() == 1 && result[0].value == 1.0).await?;

    use_everything(client).await?;
    for name in ["sigil_encode_total", "sigil_verify_total", "sigil_revoke_total", "sigil_gc_total"] {
        let sum = format!("sum({name})");
        prometheus.query_until(&sum, |result| result.len() == 1 && result[0].value >= 1.0).await?;
        let page = client.metrics().await?.sum(name, &[]);
        prometheus.query_until(&sum, |result| result.len() == 1 && result[0].value == page).await?;
        by_protobuf.query_until(&sum, |result| result.len() == 1 && result[0].value == page).await?;
    }
    let page = client.metrics().await?;
    for le in ["0.001", "5"] {
        let below = page.sum("sigil_encode_duration_seconds_bucket", &[("le", le)]);
        // OpenMetrics and protocol buffers spell a whole bound with a decimal point.
        let bucket = format!("sum(sigil_encode_duration_seconds_bucket{{le=~\"{le}([.]0)?\"}})");
        prometheus.query_until(&bucket, |result| result.len() == 1 && result[0].value == below).await?;
        by_protobuf.query_until(&bucket, |result| result.len() == 1 && result[0].value == below).await?;
    }

    // The queries have the form in which dashboards ask them.
    let rate = "rate(sigil_encode_total[5m])";
    prometheus.query_until(rate, |result| !result.is_empty() && result.iter().any(|series| series.value > 0.0)).await?;
    let quantile = "histogram_quantile(0.95, sum(rate(sigil_encode_duration_seconds_bucket[5m])) by (le))";
    prometheus.query_until(quantile, |result| result.len() == 1 && result[0].value.is_finite()).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_gets_nothing() -> Result<()> {
    let bundle = Bundle::start(&Options::for_test("scraping-token")).await?;
    let client = bundle.client();
    for token in [None, Some(""), Some("wrong"), Some("local-metrics-token-and-more")] {
        let answer = client.get_metrics(token).await?.expect(401)?;
        let challenge = answer.header("www-authenticate").unwrap_or_default();
        assert!(challenge.starts_with("Bearer"), "{challenge}");
        assert!(!answer.text.contains("sigil_"), "{}", answer.text);
    }

    let prometheus = Prometheus::start(target(client)?, "wrong").await?;
    prometheus.query_until("up", |result| result.len() == 1 && result[0].value == 0.0).await?;
    let target = prometheus.target().await?;
    let error = target["lastError"].as_str().unwrap_or_default();
    assert!(error.contains("401"), "{target}");
    Ok(())
}

/// Shows that both tokens of a rotation are accepted.
#[tokio::test(flavor = "multi_thread")]
async fn the_previous_token_is_still_accepted() -> Result<()> {
    let options = Options::for_test("scraping-rotation").with("METRICS_TOKEN_PREVIOUS", "the-token-before");
    let bundle = Bundle::start(&options).await?;
    for token in [DEFAULT_METRICS_TOKEN, "the-token-before"] {
        bundle.client().get_metrics(Some(token)).await?.expect(200)?;
    }
    bundle.client().get_metrics(Some("another")).await?.expect(401)?;
    Ok(())
}

/// Shows that only listed networks may scrape. Under `cargo lambda watch` every request comes from 127.0.0.1.
#[tokio::test(flavor = "multi_thread")]
async fn only_the_listed_networks_may_scrape() -> Result<()> {
    for (networks, status) in [("10.0.0.0/8,127.0.0.0/8", 200), ("10.0.0.0/8", 403)] {
        let options = Options::for_test("scraping-networks").with("METRICS_ALLOWED_CIDRS", networks);
        let bundle = Bundle::start(&options).await?;
        let answer = bundle.client().get_metrics(Some(DEFAULT_METRICS_TOKEN)).await?.expect(status)?;
        assert_eq!(answer.text.contains("sigil_"), status == 200, "{}", answer.text);
    }
    Ok(())
}

/// Shows that a strict parser takes a page with names and values that OpenMetrics does not allow as they are, or not beside
/// each other, and that no family of it is lost.
#[test]
fn a_strict_parser_reads_whatever_names_and_values_there_are() -> Result<()> {
    let family = |name: &str, kind, value| PageFamily {
        name: name.into(),
        help: "Help.".into(),
        kind,
        series: vec![PageSeries { labels: vec![], value, created_at_ms: Some(1_700_000_000_000) }],
    };
    let counter = |name, value| family(name, PageKind::Counter, PageValue::Number(value));
    let gauge = |name| family(name, PageKind::Gauge, PageValue::Number(f64::NAN));
    let histogram = |name, bound, sum| {
        family(name, PageKind::Histogram, PageValue::Histogram { buckets: vec![(bound, 1)], count: 2, sum })
    };
    let families = vec![
        counter("_created_total", 1.0),
        counter("_total", 1.0),
        gauge("bar_created"),
        histogram("bar", 0.5, 1.0),
        counter("below_total", -1.0),
        counter("foo", 1.0),
        counter("foo_created", 1.0),
        counter("foo_created_total", 1.0),
        counter("foo_total", 1.0),
        histogram("negative_bounds", -0.5, 1.0),
        histogram("negative_sum", 0.5, -1.0),
        counter("total", 1.0),
    ];
    let page = Page { families, conflicts: vec![] };
    let text = String::from_utf8(Format::OpenMetrics.render(&page))?;
    for name in ["_total", "bar_bucket", "bar_sum", "foo_total", "negative_bounds_count", "negative_sum_sum"] {
        ensure!(text.lines().any(|line| line.starts_with(name)), "there is no {name}:\n{text}");
    }
    independent_parser_reads("prometheus_client.openmetrics.parser", &text)
}

/// Returns the client's host and port, as a scrape configuration names them.
fn target(client: &Client) -> Result<&str> {
    client.url().strip_prefix("http://").context("it has a scheme")
}

async fn use_everything(client: &Client) -> Result<()> {
    for number in 0..5 {
        let sigil = client.encode(&json!({ "number": number })).await?;
        ensure!(client.verdict(&sigil.token, None).await? == "valid");
        client.revoke(&sigil.id).await?.expect(200)?;
    }
    client.gc().await?;
    Ok(())
}

/// Checks that a parser of Prometheus's own Python library reads the page and finds samples in it.
fn independent_parser_reads(parser: &str, page: &str) -> Result<()> {
    let program = format!(
        "import sys\n\
        from {parser} import text_string_to_metric_families as parse\n\
        sys.exit(0 if any(family.samples for family in parse(sys.stdin.read())) else 'no samples')"
    );
    let mut python = Command::new("python3")
        .args(["-c", &program])
        .env("PYTHONPATH", workspace::tool("checks")?)
        .stdin(Stdio::piped())
        .spawn()?;
    python.stdin.take().context("it has an input")?.write_all(page.as_bytes())?;
    let status = python.wait()?;
    ensure!(status.success(), "the parser refuses the page");
    Ok(())
}
