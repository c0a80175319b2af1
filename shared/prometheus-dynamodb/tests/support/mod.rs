//! Holds the code that the integration tests share: an environment that counts its requests, and reading a page. Each
//! test uses only a part of it.
#![allow(dead_code)]

pub(crate) mod dynamodb_local;
pub(crate) mod faulty_table;
pub(crate) mod troubled_table;

use std::time::{Duration, Instant};

use lambda_runtime::{Context, LambdaInvocation};
use prometheus::{IntCounter, Registry};
use prometheus_dynamodb::internals::item::WriterId;
use prometheus_dynamodb::internals::page::PageValue;
use prometheus_dynamodb::internals::table::{PublishStats, ReadStats};
use prometheus_dynamodb::internals::{Structures, page::Page, scrape};
use prometheus_dynamodb::{PublishService, Publisher, Sources, TableSettings, WriterSettings, WriterSettingsBuilder};
use tower::{Layer, Service};

/// An environment whose handler counts its requests.
pub(crate) struct Environment<T: PublishStats> {
    pub publisher: Publisher<T>,
    pub service: PublishService<T, Handler>,
}

#[derive(Clone)]
pub(crate) struct Handler(IntCounter);

impl Service<LambdaInvocation> for Handler {
    type Response = ();
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<(), Self::Error>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: LambdaInvocation) -> Self::Future {
        self.0.inc();
        std::future::ready(Ok(()))
    }
}

impl<T: PublishStats> Environment<T> {
    pub(crate) fn new(table: T, shards: u32, burst: u32) -> Self {
        Self::with(Registry::new(), table, shards, burst)
    }

    /// Creates an environment with further metrics.
    pub(crate) fn with(registry: Registry, table: T, shards: u32, burst: u32) -> Self {
        Self::with_settings(
            registry,
            table,
            writer_settings(&WriterId::random().to_string(), shards, burst).build().unwrap(),
        )
    }

    /// Creates an environment with further metrics that publishes in this format.
    pub(crate) fn with_format(format: u64, registry: Registry, table: T) -> Self {
        Self::with_settings(
            registry,
            table,
            writer_settings(&WriterId::random().to_string(), 1, 10).format(format).build().unwrap(),
        )
    }

    /// Creates an environment with further metrics and these settings.
    pub(crate) fn with_settings(registry: Registry, table: T, settings: WriterSettings) -> Self {
        let requests = IntCounter::new("requests_total", "Requests.").unwrap();
        registry.register(Box::new(requests.clone())).unwrap();
        let publisher = Publisher::new(table, Sources::new(registry), settings, Instant::now()).unwrap();
        let service = publisher.layer().layer(Handler(requests));
        Self { publisher, service }
    }

    pub(crate) async fn requests(&mut self, number: u32) {
        for _ in 0..number {
            self.service.call(invocation(0)).await.unwrap();
        }
    }
}

/// Returns an event as the runtime passes it to the layers around a handler. The deadline is in milliseconds since the
/// epoch.
pub(crate) fn invocation(deadline_ms: u64) -> LambdaInvocation {
    let (parts, ()) = hyper::Response::new(()).into_parts();
    let mut context = Context::default();
    context.deadline = deadline_ms;
    LambdaInvocation { parts, body: bytes::Bytes::new(), context }
}

/// Returns settings under which a busy machine, where publishing takes long, publishes after the same responses as an
/// idle one.
pub(crate) fn writer_settings(table: &str, shards: u32, burst: u32) -> WriterSettingsBuilder {
    let settings = WriterSettings::builder(table, "encode", "1").shards(shards).max_series(20_000);
    settings.pace(Duration::from_secs(1), burst).budget_percent(100)
}

pub(crate) fn settings() -> TableSettings {
    TableSettings::builder("stats").build().unwrap()
}

/// Returns the time a minute from now: longer than anything here takes.
pub(crate) fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

pub(crate) async fn page<T: ReadStats>(table: &T) -> Page {
    scrape(table, &Structures::default(), &settings(), deadline()).await.unwrap()
}

/// Returns the sum over the series of this name that have all of these labels.
pub(crate) fn value(page: &Page, name: &str, labels: &[(&str, &str)]) -> f64 {
    let family =
        page.families.iter().find(|family| family.name == name).unwrap_or_else(|| panic!("no {name}: {page:?}"));
    let has = |series: &&prometheus_dynamodb::internals::page::PageSeries| {
        labels.iter().all(|(name, value)| series.labels.contains(&((*name).to_owned(), (*value).to_owned())))
    };
    let number = |series: &prometheus_dynamodb::internals::page::PageSeries| match &series.value {
        PageValue::Number(value) => *value,
        PageValue::Histogram { count, .. } => *count as f64,
    };
    family.series.iter().filter(has).map(number).sum()
}

/// Waits until `requests` requests are on the page. On a busy machine a publish may not finish within its second, and
/// the timer then makes up for it.
pub(crate) async fn until_published<T: ReadStats>(table: &T, requests: f64) {
    let deadline = deadline();
    loop {
        let published = value(&page(table).await, "requests_total", &[]);
        assert!(published <= requests && Instant::now() < deadline, "{published} published, not {requests}");
        if published == requests {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Ends these environments. A last publish that does not finish within the time that Lambda leaves is given up, so on a
/// busy machine an environment is told to end more than once.
pub(crate) async fn end<T: PublishStats + ReadStats>(table: &T, environments: &[Environment<T>]) {
    let closed = async || {
        let snapshots = table.snapshots(0).await.unwrap();
        snapshots.iter().filter(|snapshot| snapshot.as_ref().unwrap().closed).count()
    };
    let before = closed().await;
    for (number, environment) in environments.iter().enumerate() {
        let deadline = deadline();
        while closed().await <= before + number {
            assert!(Instant::now() < deadline, "an environment cannot be closed");
            environment.publisher.close().await;
        }
    }
}
