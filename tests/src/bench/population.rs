//! Simulates execution environments by the thousand in this process: each has a registry, and a publisher that
//! publishes once.
//!
//! The peers in `tests/bench/` count the same by the same formulas, so that pages can be compared.

use std::time::{Duration, Instant};

use anyhow::Result;
use lambda_runtime::LambdaInvocation;
use prometheus::{GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};
use prometheus_dynamodb::internals::exposition::Format;
use prometheus_dynamodb::internals::item::WriterId;
use prometheus_dynamodb::internals::table::{PublishStats, ReadStats};
use prometheus_dynamodb::internals::{Structures, scrape};
use prometheus_dynamodb::{PublishService, Publisher, Sources, TableSettings, WriterSettings};
use tower::{Layer, Service};

use crate::kit::lambda_event;

/// Bounds of the histograms, in seconds: ten, like those of the bundle's own histograms.
const BOUNDS: [f64; 10] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0];

/// Number of series of one histogram, as Prometheus counts them: its buckets with the one up to +Inf, its sum and its
/// count.
const SERIES_OF_A_HISTOGRAM: usize = BOUNDS.len() + 3;

/// Number of series of an environment in most parts.
pub(super) const SERIES: usize = 150;

/// Deadline of an invocation that is long past, as emulators without time-outs state it. Nothing is published because
/// of such a deadline.
const NO_DEADLINE: u64 = 0;

/// Number of publishes that is more than enough for an environment to regard its structure as lasting.
const PUBLISHES_UNTIL_SETTLED: u32 = 12;

/// Longer than any part takes.
const HOUR: Duration = Duration::from_secs(3600);

/// The numbers of label sets that an environment has of a counter, a gauge and a histogram.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    counters: usize,
    gauges: usize,
    histograms: usize,
}

impl Shape {
    /// Returns a shape with this number of series, as Prometheus counts them: half of them in histograms, a third counters, the
    /// others gauges.
    pub(super) fn of(series: usize) -> Self {
        let histograms = series / (2 * SERIES_OF_A_HISTOGRAM);
        let rest = series - histograms * SERIES_OF_A_HISTOGRAM;
        let counters = rest * 7 / 10;
        Self { counters, gauges: rest - counters, histograms }
    }

    /// Returns the arguments that describe the shape to the peers.
    pub(super) fn arguments(self) -> [String; 3] {
        [self.counters, self.gauges, self.histograms].map(|number| number.to_string())
    }

    /// Returns the registry of the environment with this number.
    pub(super) fn registry(self, environment: usize) -> Result<Registry> {
        let registry = Registry::new();
        let counter = IntCounterVec::new(Opts::new("bench_requests_total", "Requests by route."), &["route", "code"])?;
        let gauge = GaugeVec::new(Opts::new("bench_in_flight", "Requests that are worked on, by route."), &["route"])?;
        let options = HistogramOpts::new("bench_duration_seconds", "Time that requests took, by route.");
        let histogram = HistogramVec::new(options.buckets(BOUNDS.to_vec()), &["route"])?;
        registry.register(Box::new(counter.clone()))?;
        registry.register(Box::new(gauge.clone()))?;
        registry.register(Box::new(histogram.clone()))?;
        for label in 0..self.counters {
            let value = 1 + (environment * 31 + label * 7) % 1000;
            counter.with_label_values(&[&format!("/route/{label}"), "200"]).inc_by(value as u64);
        }
        for label in 0..self.gauges {
            gauge.with_label_values(&[&format!("/route/{label}")]).set(((environment + label) % 50) as f64);
        }
        for label in 0..self.histograms {
            let histogram = histogram.with_label_values(&[&format!("/route/{label}")]);
            for (bucket, value) in BOUNDS.iter().chain(&[10.0]).enumerate() {
                (0..(environment + 3 * label + bucket) % 3).for_each(|_| histogram.observe(*value));
            }
        }
        Ok(registry)
    }
}

/// A handler that does nothing, so that only publishing is measured.
#[derive(Debug, Clone)]
pub(super) struct Nothing;

impl Service<LambdaInvocation> for Nothing {
    type Response = ();
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<(), Self::Error>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: LambdaInvocation) -> Self::Future {
        std::future::ready(Ok(()))
    }
}

/// An environment that publishes after each response.
pub(super) struct Environment<T: PublishStats> {
    /// The environment's publisher.
    pub publisher: Publisher<T>,
    service: PublishService<T, Nothing>,
}

impl<T: PublishStats> Environment<T> {
    /// Creates an environment that publishes this registry.
    pub(super) fn new(table: T, registry: Registry, shards: u32) -> Result<Self> {
        // Each environment gets a random table name: to one table, only the first environment of a process publishes
        // the metrics that every environment has.
        let settings =
            WriterSettings::builder(WriterId::random().to_string(), "bench", "1").shards(shards).max_series(20_000);
        let settings = settings.pace(Duration::ZERO, 1).budget_percent(100).build()?;
        let publisher = Publisher::new(table, Sources::new(registry), settings, Instant::now())?;
        let service = publisher.layer().layer(Nothing);
        Ok(Self { publisher, service })
    }

    /// Handles a request, and publishes.
    pub(super) async fn request(&mut self) {
        self.service.call(lambda_event::invocation(NO_DEADLINE)).await.expect("the handler does nothing");
    }

    /// Publishes until the structure is stored. From then on the environment's snapshots name it, and so do those of
    /// environments that begin later.
    pub(super) async fn settle(&mut self) {
        for _ in 0..PUBLISHES_UNTIL_SETTLED {
            self.request().await;
        }
    }
}

/// Publishes once for each of these environments, which stay live. The first environment settles before the others
/// begin.
pub(super) async fn populate<T: PublishStats + Clone>(
    table: &T,
    environments: std::ops::Range<usize>,
    shape: Shape,
    shards: u32,
) -> Result<()> {
    let first = environments.start;
    for number in environments {
        let mut environment = Environment::new(table.clone(), shape.registry(number)?, shards)?;
        if number == first {
            environment.settle().await;
        }
        environment.request().await;
    }
    Ok(())
}

/// Returns the settings of a scrape or a compaction, with which environments stay live until they end.
pub(super) fn settings(grace: Duration) -> Result<TableSettings> {
    Ok(TableSettings::builder("stats").writer_idle(HOUR).grace(grace).build()?)
}

/// Reads, merges and renders the page, as text.
pub(super) async fn page<T: ReadStats>(table: &T) -> Result<String> {
    // No structures are known yet, as at a cold start.
    let structures = Structures::default();
    let page = scrape(table, &structures, &settings(HOUR)?, Instant::now() + Duration::from_secs(60)).await?;
    Ok(String::from_utf8(Format::Text.render(&page))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn environments_name_the_structure_that_they_share() {
        let stats = prometheus_dynamodb::MemoryStatsTable::default();
        populate(&stats, 0..3, Shape::of(SERIES), 1).await.unwrap();
        let formats = stats.snapshots(0).await.unwrap().into_iter().map(|snapshot| snapshot.unwrap().families.format);
        assert_eq!(formats.collect::<Vec<_>>(), [2; 3]);
    }

    #[tokio::test]
    async fn a_shape_has_as_many_series_as_it_says() {
        for series in [10, 150, 20_000] {
            let stats = prometheus_dynamodb::MemoryStatsTable::default();
            populate(&stats, 0..2, Shape::of(series), 1).await.unwrap();
            let page = page(&stats).await.unwrap();
            assert_eq!(page.lines().filter(|line| line.starts_with("bench_")).count(), series);
        }
    }
}
