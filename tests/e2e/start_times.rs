//! Shows what start times are worth to a real Prometheus 3: `increase()` includes the first increment of a label set.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use harness::kit::http_server::HttpServer;
use harness::kit::prometheus::{Options, Prometheus};
use hyper::{Request, Response};
use prometheus::{IntCounterVec, Opts, Registry};
use prometheus_dynamodb::{
    MemoryStatsTable, PageBody, PageRequest, Publisher, Scraper, Sources, TableSettings, WriterSettings,
};

const LABEL_SETS: usize = 1000;

/// The protocol and the feature with which Prometheus scrapes, and the least number of increments that it must show.
const SCRAPERS: [(&str, &str, f64); 4] = [
    ("OpenMetricsText1.0.0", "created-timestamp-zero-ingestion", 990.0),
    ("PrometheusProto", "created-timestamp-zero-ingestion", 990.0),
    ("OpenMetricsText1.0.0", "", 0.0),
    ("PrometheusText0.0.4", "created-timestamp-zero-ingestion", 0.0),
];

fn config(address: &str, protocol: &str) -> String {
    format!(
        "global: {{ scrape_interval: 1s }}\n\
         scrape_configs:\n\
         - job_name: start-times\n  \
           scrape_protocols: [{protocol}]\n  \
           static_configs: [{{ targets: [\"{address}\"] }}]\n  \
           authorization:\n    \
             credentials_file: token\n"
    )
}

/// Serves the page of this table over HTTP.
async fn serve(table: MemoryStatsTable) -> Result<HttpServer> {
    let scraper = Arc::new(Scraper::new(table, TableSettings::builder("stats").created_series(true).build()?));
    HttpServer::answering(move |request: Request<Bytes>| {
        let scraper = Arc::clone(&scraper);
        async move {
            let header = |name: &str| request.headers().get(name)?.to_str().ok().map(str::to_owned);
            let page = PageRequest {
                method: request.method().as_str(),
                query: request.uri().query().unwrap_or_default(),
                header: &header,
                received_at: Instant::now(),
                deadline: None,
            };
            let page = scraper.respond(page).await?;
            let mut response = Response::builder();
            for (name, value) in page.headers {
                response = response.header(name, value);
            }
            Ok(response.body(match page.body {
                PageBody::Empty => Bytes::new(),
                PageBody::Text(text) => text.into(),
                PageBody::Binary(bytes) => bytes.into(),
            })?)
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn first_increments_show_in_increase() -> Result<()> {
    let table = MemoryStatsTable::default();
    let registry = Registry::new();
    let counter = IntCounterVec::new(Opts::new("x_total", "By label."), &["label"])?;
    registry.register(Box::new(counter.clone()))?;
    let settings = WriterSettings::builder("start times", "encode", "1").build()?;
    let publisher = Publisher::new(table.clone(), Sources::new(registry), settings, Instant::now())?;
    publisher.publish().await?;

    let server = serve(table).await?;
    let address = server.address().to_string();
    let mut scrapers = Vec::new();
    for (protocol, features, at_least) in SCRAPERS {
        let options = Options { features, ..Options::over(&address, "token") };
        let prometheus = Prometheus::start_configured(&config(&address, protocol), &options).await?;
        prometheus.query_until("prometheus_dynamodb_publishes_total", |series| !series.is_empty()).await?;
        scrapers.push((protocol, features, at_least, prometheus));
    }
    // All label sets appear between two scrapes, each with one increment.
    (0..LABEL_SETS).for_each(|label| counter.with_label_values(&[label.to_string()]).inc());
    publisher.publish().await?;
    tokio::time::sleep(Duration::from_millis(1)).await;
    let mut shown = Vec::new();
    for (protocol, features, at_least, prometheus) in &scrapers {
        let all = |series: &[harness::kit::prometheus::Series]| {
            series.first().is_some_and(|counted| counted.value >= 3.0 * LABEL_SETS as f64)
        };
        // Waits for three samples of each series, so that an increment that does not show is not merely late.
        prometheus.query_until("sum(count_over_time(x_total[5m]))", all).await?;
        let increase = prometheus.query("sum(increase(x_total[5m]))").await?;
        let increase = increase.first().context("there is a sum")?.value;
        println!("{protocol}, features {features:?}: {increase}");
        shown.push((protocol, features, at_least, increase));
    }
    for (protocol, features, at_least, increase) in shown {
        ensure!(increase >= *at_least, "{protocol} {features}: {increase} of {LABEL_SETS}");
    }
    Ok(())
}
