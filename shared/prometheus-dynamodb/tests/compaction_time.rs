//! Checks that graces pass by the table's clock, and that nothing that is damaged or slow keeps other writers from
//! being compacted.

mod support;

use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::AttributeValue;
use prometheus_dynamodb::internals::item::{
    Base, Encoded, Part, PartId, Snapshot, StructureId, StructureItem, WriterId,
};
use prometheus_dynamodb::internals::protocol::condition::PutCondition;
use prometheus_dynamodb::internals::table::{
    CompactStats, Cursor, PublishStats, ReadStats, ReadStructures, SnapshotPage, TableError, TableTime,
};
use prometheus_dynamodb::internals::{ScrapeError, Structures, compact, scrape};
use prometheus_dynamodb::{CompactReport, DynamoDbStatsTable, MemoryStatsTable, TableSettings};
use support::dynamodb_local::{DynamoDbLocal, TABLE};
use support::troubled_table::{Trouble, TroubledTable};
use support::{Environment, end, page, settings, until_published, value};

const MINUTE_MS: u64 = 60_000;
/// Some time that is far from the time of any clock here, in milliseconds since the epoch.
const NOON_MS: u64 = 1_000_000_000_000;

async fn run<T: CompactStats>(table: &T, settings: &TableSettings) -> CompactReport {
    let (report, result) = compact(table, settings, Instant::now() + Duration::from_secs(60)).await;
    result.unwrap();
    report
}

#[tokio::test]
async fn graces_pass_by_the_tables_clock_alone() {
    let table = MemoryStatsTable::default();
    table.set_time(NOON_MS);
    let mut environment = Environment::new(table.clone(), 1, 10);
    environment.requests(1).await;
    let updated_at_ms = table.snapshots(0).await.unwrap()[0].as_ref().unwrap().updated_at_ms;
    assert_eq!(updated_at_ms, NOON_MS, "a writer whose clock is wrong is not taken for idle");
    assert_eq!(run(&table, &settings()).await.sealed, 0);

    environment.publisher.close().await;
    assert_eq!(run(&table, &settings()).await.folded, 1);
    assert_eq!(table.snapshots(0).await.unwrap()[0].as_ref().unwrap().sealed_at_ms, Some(NOON_MS));
    // A grace is 35 minutes. The clock jumps back before the grace is over.
    for (minutes, buried, forgotten) in [(35, 0, 0), (0, 0, 0), (36, 1, 0), (36, 0, 0), (71, 0, 0), (72, 0, 1)] {
        table.set_time(NOON_MS + minutes * MINUTE_MS);
        let report = run(&table, &settings()).await;
        assert_eq!((report.buried, report.forgotten), (buried, forgotten), "after {minutes} minutes");
        assert_eq!(value(&page(&table).await, "requests_total", &[]), 1.0);
    }
}

/// Returns a table in DynamoDB with the snapshot of one environment, which ended after one request.
async fn with_one_that_has_ended() -> (DynamoDbLocal, DynamoDbStatsTable) {
    let dynamodb = DynamoDbLocal::start().await;
    let table = dynamodb.table();
    let mut environment = Environment::new(table.clone(), 1, 10);
    environment.requests(1).await;
    until_published(&table, 1.0).await;
    end(&table, &[environment]).await;
    (dynamodb, table)
}

#[tokio::test]
async fn an_item_that_cannot_be_read_keeps_no_one_else_from_being_forgotten() {
    let (dynamodb, table) = with_one_that_has_ended().await;
    let client = dynamodb.client();
    client
        .put_item()
        .table_name(TABLE)
        .item("pk", AttributeValue::S("shard#0".into()))
        .item("sk", AttributeValue::S(format!("writer#{}", WriterId::from_bytes([9; 16]))))
        .send()
        .await
        .unwrap();
    let hasty = TableSettings::builder("stats").grace(Duration::ZERO).build().unwrap();
    let mut total = CompactReport::default();
    for _ in 0..4 {
        // The table's times have whole seconds, and a grace is over only once the table's time is past its end.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let report = run(&table, &hasty).await;
        assert_eq!(report.unreadable, 1);
        total.folded += report.folded;
        total.buried += report.buried;
        total.forgotten += report.forgotten;
    }
    assert_eq!((total.folded, total.buried, total.forgotten), (1, 1, 1));
    assert_eq!(value(&page(&table).await, "requests_total", &[]), 1.0);
}

/// If the writer were forgotten, its snapshot would be folded a second time once the item can be read again.
#[tokio::test]
async fn a_folded_writer_whose_item_cannot_be_read_for_a_while_is_not_forgotten() {
    let (dynamodb, table) = with_one_that_has_ended().await;
    let client = dynamodb.client();
    assert_eq!(run(&table, &settings()).await.folded, 1);

    let put = async |item| client.put_item().table_name(TABLE).set_item(Some(item)).send().await.unwrap();
    let items = client.scan().table_name(TABLE).send().await.unwrap().items.unwrap();
    let good = items.into_iter().find(|item| item["sk"].as_s().unwrap().starts_with("writer#")).unwrap();
    let mut bad = good.clone();
    bad.remove("seq");
    put(bad).await;
    let hasty = TableSettings::builder("stats").grace(Duration::ZERO).build().unwrap();
    for _ in 0..3 {
        // The table's times have whole seconds, and a grace is over only once the table's time is past its end.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let report = run(&table, &hasty).await;
        assert_eq!((report.unreadable, report.buried, report.forgotten), (1, 0, 0));
    }
    put(good).await;
    assert_eq!(value(&page(&table).await, "requests_total", &[]), 1.0);
    assert_eq!(run(&table, &settings()).await.folded, 0);
}

#[tokio::test]
async fn what_a_run_left_behind_that_crashed_is_overtaken_and_deleted() {
    let table = MemoryStatsTable::default();
    table.set_time(NOON_MS);
    let mut environment = Environment::new(table.clone(), 1, 10);
    environment.requests(1).await;
    let families = table.snapshots(0).await.unwrap()[0].as_ref().unwrap().families.clone();
    let left = Part { version: 1, folded: Default::default(), families: families.clone() };
    table.put_part(0, &left).await.unwrap();

    run(&table, &settings()).await;
    let root = Base { version: 1, folded: Default::default(), families, parts: vec![left.id()] };
    assert!(!table.put_base(0, &root).await.unwrap(), "the delayed root comes too late");
    assert_eq!(table.parts(0).await.unwrap()[0].as_ref().unwrap().unnamed_at_ms, Some(NOON_MS));
    table.set_time(NOON_MS + 35 * MINUTE_MS);
    run(&table, &settings()).await;
    assert_eq!(table.parts(0).await.unwrap().len(), 1, "the grace is not over");
    table.set_time(NOON_MS + 36 * MINUTE_MS);
    run(&table, &settings()).await;
    assert_eq!(table.parts(0).await.unwrap(), []);
}

/// A table on whose clock each page of snapshots takes `page_takes_ms`, or whose pages never come.
#[derive(Clone)]
struct Slow {
    table: MemoryStatsTable,
    page_takes_ms: Option<u64>,
}

impl TableTime for Slow {
    fn answered_at_ms(&self) -> u64 {
        self.table.answered_at_ms()
    }
}

impl ReadStructures for Slow {
    async fn structure(&self, shard: u32, id: StructureId) -> Result<Option<StructureItem>, TableError> {
        self.table.structure(shard, id).await
    }
}

impl ReadStats for Slow {
    async fn shards(&self) -> Result<u32, TableError> {
        self.table.shards().await
    }

    async fn snapshot_page(&self, shard: u32, after: Option<&Cursor>) -> Result<SnapshotPage, TableError> {
        match self.page_takes_ms {
            Some(takes_ms) => self.table.set_time(self.table.answered_at_ms() + takes_ms),
            None => std::future::pending().await,
        }
        self.table.snapshot_page(shard, after).await
    }

    async fn base(&self, shard: u32) -> Result<Option<Base>, TableError> {
        self.table.base(shard).await
    }

    async fn part(&self, shard: u32, id: PartId) -> Result<Option<Part>, TableError> {
        self.table.part(shard, id).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_scrape_gives_up_after_half_a_grace_by_either_clock() {
    let far = Instant::now() + Duration::from_secs(24 * 60 * 60);
    let half = Duration::from_secs(35 * 60) / 2;
    // The table's clock has whole seconds, so it may seem to be a second further.
    let half_ms = half.as_millis() as u64 + 1000;
    for (page_takes_ms, limit) in [(Some(half_ms), None), (Some(half_ms + 1), Some(half)), (None, Some(half))] {
        let table = Slow { table: MemoryStatsTable::default(), page_takes_ms };
        table.table.set_time(NOON_MS);
        let gave_up = match scrape(&table, &Structures::default(), &settings(), far).await {
            Ok(_) => None,
            Err(ScrapeError::TooSlow { limit }) => Some(limit),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(gave_up, limit, "{page_takes_ms:?}");
    }
}

/// Shows that a base that cannot be used, such as one of a later version, keeps no other shard from being compacted,
/// wherever the run begins.
#[tokio::test]
async fn a_shard_whose_base_cannot_be_used_keeps_no_other_from_being_compacted() {
    const SHARDS: u32 = 4;
    for _ in 0..20 {
        let table = MemoryStatsTable::default();
        let mut environment = Environment::new(table.clone(), 1, 10);
        environment.requests(1).await;
        environment.publisher.close().await;
        let snapshot = table.snapshots(0).await.unwrap().remove(0).unwrap();
        table.announce_shards(SHARDS).await.unwrap();
        for shard in 1..SHARDS {
            let snapshot = Snapshot { writer: WriterId::random(), shard, ..snapshot.clone() };
            table.put_snapshot(&snapshot, PutCondition::Absent).await.unwrap();
        }
        let families = Encoded { format: 9, ..snapshot.families };
        let base = Base { version: 1, folded: Default::default(), families, parts: Vec::new() };
        table.put_base(2, &base).await.unwrap();
        let (report, result) = compact(&table, &settings(), support::deadline()).await;
        assert_eq!((report.folded, report.finished), (u64::from(SHARDS) - 1, false), "{report:?}");
        assert_eq!(result.unwrap_err().to_string(), "the base of shard 2 cannot be decoded");
    }
}

/// Shows that a run that waits for a table that never answers still reports in time what it has done.
#[tokio::test(start_paused = true)]
async fn a_run_ends_before_its_deadline_although_the_table_hangs() {
    // A listener that accepts nothing: connections are made, and nothing is answered.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let table = DynamoDbStatsTable::new(DynamoDbLocal::client_of(&url), TABLE);
    let deadline = Instant::now() + Duration::from_secs(2);
    let (report, result) = compact(&table, &settings(), deadline).await;
    assert!(tokio::time::Instant::now() < deadline.into());
    result.unwrap();
    assert_eq!(report, CompactReport::default(), "not finished");
}

/// Number of environments that die at once: more than a run can seal in time if the table is in trouble.
const DEAD: u32 = 2000;

/// Shows that each run does some of the work for good, and that runs need not be many.
#[tokio::test(start_paused = true)]
async fn a_table_in_trouble_is_compacted_a_piece_in_each_run() {
    let (soon, second) = (Duration::from_millis(5), Duration::from_secs(1));
    for (call_takes, trouble, most) in [
        (soon, Some((3, Trouble::Throttled)), 10),
        (soon, Some((3, Trouble::TimedOut)), 20),
        (soon, Some((300, Trouble::Failed)), 40),
        (soon, Some((300, Trouble::Lost)), 40),
        (second, None, 20),
        (second, Some((3, Trouble::Throttled)), 30),
        (4 * second, None, 80),
        (4 * second, Some((5, Trouble::TimedOut)), 200),
    ] {
        let table = MemoryStatsTable::default();
        let mut environment = Environment::new(table.clone(), 1, 10);
        environment.requests(1).await;
        environment.publisher.close().await;
        let snapshot = table.snapshots(0).await.unwrap().remove(0).unwrap();
        for _ in 1..DEAD {
            let snapshot = Snapshot { writer: WriterId::random(), ..snapshot.clone() };
            table.put_snapshot(&snapshot, PutCondition::Absent).await.unwrap();
        }
        let table = TroubledTable { table, call_takes, trouble, writes: Default::default() };
        let hasty = TableSettings::builder("stats").grace(Duration::ZERO).build().unwrap();
        let case = format!("{call_takes:?} {trouble:?}");
        // The writers that are not folded, and those that are not buried.
        let (mut left, mut runs) = ((DEAD as usize, DEAD as usize), 0);
        loop {
            runs += 1;
            table.table.set_time(NOON_MS + runs * MINUTE_MS);
            let deadline = tokio::time::Instant::now() + Duration::from_secs(55);
            let (report, result) = compact(&table, &hasty, deadline.into_std()).await;
            let snapshots = table.table.snapshots(0).await.unwrap();
            let base = table.table.base(0).await.unwrap().expect("the first run folds something");
            let named = |snapshot: &Snapshot| base.folded.contains_key(&snapshot.writer);
            let unfolded = snapshots.iter().filter(|snapshot| !named(snapshot.as_ref().unwrap())).count();
            assert_eq!(value(&page(&table.table).await, "requests_total", &[]), f64::from(DEAD), "{case}");
            if base.folded.is_empty() && snapshots.is_empty() {
                break;
            }
            let before = std::mem::replace(&mut left, (unfolded, snapshots.len()));
            assert!(left < before || left == (0, 0), "{case}: run {runs} was in vain: {report:?} {result:?}");
            assert!(runs < most, "{case}: {left:?} are left");
        }
    }
}

#[tokio::test]
async fn a_scrape_and_a_run_refuse_a_base_whose_part_is_missing() {
    let table = MemoryStatsTable::default();
    Environment::new(table.clone(), 1, 10).requests(1).await;
    let Snapshot { families, .. } = table.snapshots(0).await.unwrap().remove(0).unwrap();
    let part = Part { version: 1, folded: Default::default(), families: families.clone() };
    let root = Base { version: 1, folded: Default::default(), families, parts: vec![part.id()] };
    table.put_base(0, &root).await.unwrap();
    let error = scrape(&table, &Structures::default(), &settings(), support::deadline()).await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(source, format!("part {} of the base is missing", part.id()));
    let (report, result) = compact(&table, &settings(), support::deadline()).await;
    assert_eq!((result.is_err(), report.finished), (true, false));
}
