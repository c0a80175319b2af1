//! From a registry in one environment to the page of a scrape.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use prometheus::{IntCounter, Registry};
use prometheus_dynamodb::item::{Base, Encoded, Snapshot, WriterId};
use prometheus_dynamodb::page::PageValue;
use prometheus_dynamodb::protocol::condition::PutCondition;
use prometheus_dynamodb::protocol::writer::PutOutcome;
use prometheus_dynamodb::table::{PublishStats, ReadStats, TableError};
use prometheus_dynamodb::{
    MemoryStatsTable, Pace, Page, PublishService, Publisher, ReaderSettings, Sources, WriterSettings, scrape,
};
use tower::{Layer, Service};

/// A table whose puts fail a given number of times.
#[derive(Debug, Clone, Default)]
struct FaultyTable {
    table: MemoryStatsTable,
    failures: Arc<AtomicU32>,
    /// Whether a put that fails is done all the same, and only its response is lost.
    done_all_the_same: bool,
}

impl PublishStats for FaultyTable {
    async fn put_snapshot(
        &self,
        snapshot: &Snapshot,
        condition: PutCondition,
    ) -> Result<PutOutcome<Encoded>, TableError> {
        let fails = self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        if fails && !self.done_all_the_same {
            return Err(TableError::Failed("the connection was closed".into()));
        }
        let outcome = self.table.put_snapshot(snapshot, condition).await?;
        if fails { Err(TableError::TimedOut("no response".into())) } else { Ok(outcome) }
    }

    async fn grave(&self, writer: WriterId) -> Result<Option<Encoded>, TableError> {
        self.table.grave(writer).await
    }

    async fn announce_shards(&self, shards: u32) -> Result<(), TableError> {
        self.table.announce_shards(shards).await
    }
}

/// An environment whose handler counts its requests.
struct Environment<T: PublishStats> {
    publisher: Publisher<T>,
    service: PublishService<T, Handler>,
}

#[derive(Clone)]
struct Handler(IntCounter);

impl Service<()> for Handler {
    type Response = ();
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<(), Self::Error>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        self.0.inc();
        std::future::ready(Ok(()))
    }
}

impl<T: PublishStats> Environment<T> {
    fn new(table: T, shards: u32, burst: u32) -> Self {
        let registry = Registry::new();
        let requests = IntCounter::new("requests_total", "Requests.").unwrap();
        registry.register(Box::new(requests.clone())).unwrap();
        let settings = WriterSettings {
            table: "stats".into(),
            shards,
            pace: Pace { interval: Duration::from_secs(1), burst },
            function: "encode".into(),
            version: "1".into(),
        };
        let publisher = Publisher::new(table, Sources::new(registry), settings, Instant::now()).unwrap();
        let service = publisher.layer().layer(Handler(requests));
        Self { publisher, service }
    }

    async fn requests(&mut self, number: u32) {
        for _ in 0..number {
            self.service.call(()).await.unwrap();
        }
    }
}

fn reader() -> ReaderSettings {
    ReaderSettings { table: "stats".into(), writer_idle: Duration::from_secs(900), grace: Duration::from_secs(1200) }
}

async fn page<T: ReadStats>(table: &T) -> Page {
    scrape(table, &reader()).await.unwrap()
}

/// The sum over the series of this name that have all of these labels.
fn value(page: &Page, name: &str, labels: &[(&str, &str)]) -> f64 {
    let family =
        page.families.iter().find(|family| family.name == name).unwrap_or_else(|| panic!("no {name}: {page:?}"));
    let has = |series: &&prometheus_dynamodb::page::PageSeries| {
        labels.iter().all(|(name, value)| series.labels.contains(&((*name).to_owned(), (*value).to_owned())))
    };
    let number = |series: &prometheus_dynamodb::page::PageSeries| match &series.value {
        PageValue::Number(value) => *value,
        PageValue::Histogram { count, .. } => *count as f64,
    };
    family.series.iter().filter(has).map(number).sum()
}

#[tokio::test(start_paused = true)]
async fn each_response_is_on_the_page_before_the_next_request() {
    let table = MemoryStatsTable::default();
    let mut environment = Environment::new(table.clone(), 1, 10);
    for expected in 1..=5 {
        environment.requests(1).await;
        assert_eq!(value(&page(&table).await, "requests_total", &[]), f64::from(expected));
    }
    let page = page(&table).await;
    assert_eq!(value(&page, "lambda_invocations_total", &[("function", "encode")]), 5.0);
    assert_eq!(value(&page, "lambda_cold_starts_total", &[("function", "encode")]), 1.0);
    assert_eq!(value(&page, "lambda_init_duration_seconds", &[("function", "encode")]), 1.0);
    assert_eq!(value(&page, "prometheus_dynamodb_writers", &[("state", "live")]), 1.0);
}

#[tokio::test(start_paused = true)]
async fn what_a_hot_environment_held_back_is_published_by_the_timer() {
    let table = MemoryStatsTable::default();
    let mut environment = Environment::new(table.clone(), 1, 1);
    environment.requests(20).await;
    assert_eq!(value(&page(&table).await, "requests_total", &[]), 1.0);
    tokio::time::sleep(Duration::from_millis(1001)).await;
    assert_eq!(value(&page(&table).await, "requests_total", &[]), 20.0);
}

#[tokio::test(start_paused = true)]
async fn environments_add_up_over_all_shards_even_after_the_number_was_lowered() {
    let table = MemoryStatsTable::default();
    for shards in [8, 8, 8, 8, 8, 8, 1, 1] {
        Environment::new(table.clone(), shards, 10).requests(3).await;
    }
    assert_eq!(value(&page(&table).await, "requests_total", &[]), 24.0);
}

#[tokio::test(start_paused = true)]
async fn a_failed_publish_is_carried_by_the_next_one() {
    for done_all_the_same in [false, true] {
        let table = FaultyTable { done_all_the_same, ..Default::default() };
        table.failures.store(2, Ordering::SeqCst);
        let mut environment = Environment::new(table.clone(), 1, 10);
        environment.requests(3).await;
        let page = page(&table.table).await;
        assert_eq!(value(&page, "requests_total", &[]), 3.0, "{done_all_the_same}");
        let failures = value(&page, "prometheus_dynamodb_publish_failures_total", &[]);
        assert_eq!(failures, 2.0, "{done_all_the_same}");
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_failure_the_timer_publishes_without_a_further_request() {
    let table = FaultyTable::default();
    table.failures.store(3, Ordering::SeqCst);
    let mut environment = Environment::new(table.clone(), 1, 10);
    environment.requests(1).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(value(&page(&table.table).await, "requests_total", &[]), 1.0);
}

#[tokio::test(start_paused = true)]
async fn an_environment_that_ends_publishes_a_last_time_and_is_closed() {
    let table = MemoryStatsTable::default();
    let mut environment = Environment::new(table.clone(), 1, 1);
    environment.requests(20).await;
    environment.publisher.close().await;
    let page = page(&table).await;
    assert_eq!(value(&page, "requests_total", &[]), 20.0);
    assert_eq!(value(&page, "prometheus_dynamodb_writers", &[("state", "closed")]), 1.0);
    assert_eq!(value(&page, "process_resident_memory_bytes", &[]), 0.0, "it holds no memory any more");
}

#[tokio::test(start_paused = true)]
async fn an_environment_without_a_request_leaves_nothing_behind() {
    let table = MemoryStatsTable::default();
    Environment::new(table.clone(), 1, 1).publisher.close().await;
    assert_eq!(table.snapshots(0).await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn a_writer_in_the_base_is_counted_once_whether_its_snapshot_is_still_there_or_not() {
    let table = MemoryStatsTable::default();
    Environment::new(table.clone(), 1, 10).requests(3).await;
    Environment::new(table.clone(), 1, 10).requests(4).await;
    let snapshots: Vec<_> = table.snapshots(0).await.unwrap().into_iter().map(Result::unwrap).collect();
    let folded = &snapshots[0];
    let base = |folded_writers: &[&WriterId]| Base {
        version: 1,
        folded: folded_writers.iter().map(|id| (**id, None)).collect(),
        families: folded.families.clone(),
    };
    table.set_base(0, base(&[&folded.writer]));
    assert_eq!(value(&page(&table).await, "requests_total", &[]), 7.0);
    table.set_base(0, base(&[]));
    let twice = value(&page(&table).await, "requests_total", &[]);
    assert!(twice > 7.0, "without the list of the folded, a writer is counted twice: {twice}");
}

#[tokio::test(start_paused = true)]
async fn a_damaged_snapshot_is_left_out_and_a_damaged_base_fails_the_scrape() {
    let table = MemoryStatsTable::default();
    Environment::new(table.clone(), 1, 10).requests(3).await;
    let good = table.snapshots(0).await.unwrap().remove(0).unwrap();
    let garbage = Encoded { format: 1, bytes: vec![1, 2, 3] };
    let damaged = Snapshot { writer: WriterId::random(), families: garbage.clone(), ..good.clone() };
    let of_the_future = Encoded { format: 2, ..good.families.clone() };
    let newer = Snapshot { writer: WriterId::random(), families: of_the_future, ..good };
    for snapshot in [damaged, newer] {
        table.put_snapshot(&snapshot, PutCondition::Absent).await.unwrap();
    }
    let page = page(&table).await;
    assert_eq!(value(&page, "requests_total", &[]), 3.0);
    assert_eq!(value(&page, "prometheus_dynamodb_unreadable_items", &[]), 2.0);

    table.set_base(0, Base { version: 1, folded: Default::default(), families: garbage });
    assert_eq!(scrape(&table, &reader()).await.unwrap_err().to_string(), "the base of shard 0 cannot be decoded");
}
