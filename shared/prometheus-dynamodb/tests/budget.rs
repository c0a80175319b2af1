//! Checks that publishing does not hold up the service: how much time of requests a stats table in trouble takes, and
//! what a long request holds back.

mod support;

use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lambda_runtime::LambdaInvocation;
use prometheus::Registry;
use prometheus_dynamodb::MemoryStatsTable;
use prometheus_dynamodb::internals::item::{Encoded, Snapshot, StructureId, StructureItem, WriterId};
use prometheus_dynamodb::internals::protocol::condition::PutCondition;
use prometheus_dynamodb::internals::protocol::writer::PutOutcome;
use prometheus_dynamodb::internals::table::{PublishStats, ReadStructures, TableError, TableTime};
use support::{Environment, invocation, page, value, writer_settings};
use tokio::time::{Instant, sleep};
use tower::{Layer, Service, service_fn};

const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Trouble {
    #[default]
    None,
    Hangs,
    /// Every put succeeds, just before its time-out.
    Slow,
    Throttles,
    Fails,
}

#[derive(Debug, Clone, Default)]
struct TroubledTable {
    table: MemoryStatsTable,
    trouble: Arc<Mutex<Trouble>>,
}

impl TableTime for TroubledTable {}

impl ReadStructures for TroubledTable {
    async fn structure(&self, shard: u32, id: StructureId) -> Result<Option<StructureItem>, TableError> {
        self.table.structure(shard, id).await
    }
}

impl PublishStats for TroubledTable {
    async fn put_structure(&self, shard: u32, id: StructureId, structure: &StructureItem) -> Result<(), TableError> {
        self.table.put_structure(shard, id, structure).await
    }

    async fn put_snapshot(
        &self,
        snapshot: &Snapshot,
        condition: PutCondition,
    ) -> Result<PutOutcome<Encoded>, TableError> {
        let trouble = *self.trouble.lock().unwrap();
        match trouble {
            Trouble::None => {}
            Trouble::Hangs => pending().await,
            Trouble::Slow => sleep(SECOND * 99 / 100).await,
            Trouble::Throttles => {
                sleep(SECOND / 10).await;
                return Err(TableError::Throttled("slow down".into()));
            }
            Trouble::Fails => return Err(TableError::Failed("no such table".into())),
        }
        self.table.put_snapshot(snapshot, condition).await
    }

    async fn grave(&self, writer: WriterId) -> Result<Option<Encoded>, TableError> {
        self.table.grave(writer).await
    }

    async fn announce_shards(&self, shards: u32) -> Result<(), TableError> {
        self.table.announce_shards(shards).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_closed_loop_keeps_95_percent_of_its_requests_and_catches_up() {
    for trouble in [Trouble::None, Trouble::Hangs, Trouble::Slow, Trouble::Throttles, Trouble::Fails] {
        let table = TroubledTable { trouble: Arc::new(Mutex::new(trouble)), ..Default::default() };
        let settings = writer_settings(&format!("{trouble:?}"), 1, 10).budget_percent(2).build().unwrap();
        let mut environment = Environment::with_settings(Registry::new(), table.clone(), settings);
        let (started, mut requests) = (Instant::now(), 0);
        while started.elapsed() < SECOND * 60 {
            sleep(SECOND / 100).await;
            environment.requests(1).await;
            requests += 1;
        }
        assert!(requests >= 5700, "{requests} of 6000 with {trouble:?}");
        *table.trouble.lock().unwrap() = Trouble::None;
        sleep(SECOND * 62).await;
        assert_eq!(value(&page(&table.table).await, "requests_total", &[]), f64::from(requests), "{trouble:?}");
    }
}

/// Lambda thaws an environment for SIGTERM, and what it was publishing when it was frozen hangs.
#[tokio::test(start_paused = true)]
async fn the_last_publish_does_not_wait_for_one_that_hangs() {
    let table = TroubledTable { trouble: Arc::new(Mutex::new(Trouble::Hangs)), ..Default::default() };
    let mut environment = Environment::new(table.clone(), 1, 10);
    let publisher = environment.publisher.clone();
    let request = tokio::spawn(async move { environment.requests(1).await });
    sleep(SECOND / 10).await;
    *table.trouble.lock().unwrap() = Trouble::None;
    publisher.close().await;
    assert_eq!(value(&page(&table.table).await, "requests_total", &[]), 1.0);
    request.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn of_64_requests_at_once_one_publishes_and_the_others_do_not_wait() {
    let table = TroubledTable { trouble: Arc::new(Mutex::new(Trouble::Hangs)), ..Default::default() };
    let environment = Environment::new(table.clone(), 1, 10);
    let started = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let mut service = environment.service.clone();
        tasks.spawn(async move {
            service.call(invocation(0)).await.unwrap();
            started.elapsed()
        });
    }
    let held: Vec<_> = tasks.join_all().await.into_iter().filter(|held| !held.is_zero()).collect();
    assert_eq!(held.len(), 1, "{held:?}");
    assert!(held[0] <= SECOND * 11 / 10, "{held:?}");
}

/// Returns a service whose handler takes this long.
fn long<T: PublishStats>(
    environment: &Environment<T>,
    takes: Duration,
) -> impl Service<LambdaInvocation, Response = (), Error = (), Future: Send> + use<T> {
    environment.publisher.layer().layer(service_fn(move |_: LambdaInvocation| async move {
        sleep(takes).await;
        Ok(())
    }))
}

#[tokio::test(start_paused = true)]
async fn a_long_request_holds_back_nothing_that_others_counted() {
    let table = MemoryStatsTable::default();
    let mut environment = Environment::new(table.clone(), 1, 10);
    let long = long(&environment, SECOND * 60).call(invocation(0));
    let long = tokio::spawn(long);
    let mut counted = 0.0;
    for _ in 0..30 {
        environment.requests(20).await;
        counted += 20.0;
        sleep(SECOND * 2).await;
        assert_eq!(value(&page(&table).await, "requests_total", &[]), counted, "it is at most 2 s behind");
    }
    sleep(SECOND).await;
    assert!(long.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_long_request_that_counts_nothing_puts_nothing() {
    let table = MemoryStatsTable::default();
    let environment = Environment::new(table.clone(), 1, 10);
    let mut long = long(&environment, SECOND * 600);
    let long = tokio::spawn(long.call(invocation(0)));
    sleep(SECOND * 500).await;
    // Only the request itself is counted.
    assert_eq!(value(&page(&table).await, "lambda_invocations_total", &[]), 1.0);
    assert_eq!(value(&page(&table).await, "prometheus_dynamodb_publishes_total", &[]), 0.0, "before the first");
    long.abort();
}

#[tokio::test(start_paused = true)]
async fn what_was_counted_is_published_before_the_deadline() {
    let table = MemoryStatsTable::default();
    let mut environment = Environment::new(table.clone(), 1, 1);
    environment.requests(20).await;
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    let killed = long(&environment, SECOND * 60).call(invocation(now_ms + 800));
    let killed = tokio::spawn(killed);
    sleep(SECOND * 4 / 10).await;
    environment.requests(1).await;
    sleep(SECOND * 4 / 10).await;
    killed.abort();
    assert_eq!(value(&page(&table).await, "requests_total", &[]), 21.0);
    assert_eq!(value(&page(&table).await, "lambda_invocations_total", &[]), 22.0);
}

/// A client of a runtime that serves several requests at once can go away.
#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_is_published_and_leaves_no_timer_behind() {
    let table = MemoryStatsTable::default();
    let environment = Environment::new(table.clone(), 1, 10);
    let dropped = tokio::spawn(long(&environment, SECOND * 60).call(invocation(0)));
    sleep(SECOND / 10).await;
    dropped.abort();
    sleep(SECOND * 3).await;
    assert_eq!(value(&page(&table).await, "lambda_invocations_total", &[]), 1.0);
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
}
