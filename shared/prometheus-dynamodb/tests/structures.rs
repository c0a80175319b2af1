//! Follows snapshots that name a structure, and the structure, through whatever happens to them in any order.

mod support;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prometheus::{IntCounterVec, Opts, Registry};
use prometheus_dynamodb::internals::exposition::Format;
use prometheus_dynamodb::internals::item::{Encoded, Snapshot, StructureId, StructureItem, WriterId};
use prometheus_dynamodb::internals::protocol::condition::PutCondition;
use prometheus_dynamodb::internals::protocol::structure::STRUCTURE_LIFE;
use prometheus_dynamodb::internals::protocol::writer::PutOutcome;
use prometheus_dynamodb::internals::table::{
    CompactStats, PublishStats, ReadStats, ReadStructures, TableError, TableTime,
};
use prometheus_dynamodb::internals::{ScrapeError, Structures, compact, scrape, wire};
use prometheus_dynamodb::{MemoryStatsTable, TableSettings};
use support::{Environment, deadline, page, settings, value};

const NOON_MS: u64 = 1_763_985_600_000;
const MINUTE_MS: u64 = 60_000;

/// Number of publishes after which a structure counts as stable.
const STABLE: u32 = 10;

fn table() -> MemoryStatsTable {
    let table = MemoryStatsTable::default();
    table.set_time(NOON_MS);
    table
}

async fn snapshots(table: &MemoryStatsTable) -> Vec<Snapshot> {
    table.snapshots(0).await.unwrap().into_iter().map(Result::unwrap).collect()
}

async fn formats(table: &MemoryStatsTable) -> Vec<u64> {
    snapshots(table).await.iter().map(|snapshot| snapshot.families.format).collect()
}

/// Handles `number` requests and publishes after each, since they are two seconds apart.
async fn requests<T: PublishStats>(environment: &mut Environment<T>, number: u32) {
    for _ in 0..number {
        environment.requests(1).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

async fn gc(table: &MemoryStatsTable) -> prometheus_dynamodb::CompactReport {
    // By the runtime's clock, which tests move.
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    let (report, result) = compact(table, &settings(), deadline.into_std()).await;
    result.unwrap();
    report
}

async fn refusal(table: &MemoryStatsTable) -> String {
    let error = scrape(table, &Structures::default(), &settings(), deadline()).await.unwrap_err();
    assert!(matches!(error, ScrapeError::Structure { .. }), "{error}");
    format!("{error}: {}", std::error::Error::source(&error).unwrap())
}

#[tokio::test(start_paused = true)]
async fn one_environment_stores_the_structure_and_all_others_name_it() {
    let table = table();
    let mut first = Environment::new(table.clone(), 1, 10);
    requests(&mut first, STABLE - 1).await;
    assert_eq!((formats(&table).await, table.structures(0).await.unwrap().len()), (vec![1], 0));
    requests(&mut first, 1).await;
    assert_eq!((formats(&table).await, table.structures(0).await.unwrap().len()), (vec![2], 1));
    let mut second = Environment::new(table.clone(), 1, 10);
    requests(&mut second, 1).await;
    assert_eq!((formats(&table).await, table.structures(0).await.unwrap().len()), (vec![2, 2], 1));
    assert_eq!(value(&page(&table).await, "requests_total", &[]), f64::from(STABLE + 1));
}

#[tokio::test(start_paused = true)]
async fn the_page_is_the_same_in_both_formats() {
    let table = table();
    for _ in 0..3 {
        requests(&mut Environment::new(table.clone(), 1, 10), STABLE).await;
    }
    let inline = MemoryStatsTable::default();
    inline.set_time(NOON_MS);
    let structures: Vec<_> = table.structures(0).await.unwrap().into_iter().map(Result::unwrap).collect();
    for snapshot in snapshots(&table).await {
        assert_eq!(snapshot.families.format, 2);
        let id = wire::structure_of(&snapshot.families).unwrap().unwrap();
        assert!(structures.iter().any(|stored| stored.id == id));
        let item = table.structure(0, id).await.unwrap().unwrap();
        let structure = wire::NamedStructure::decode(id, &item.families).unwrap();
        let families = wire::decode_with(&snapshot.families, &structure).unwrap();
        let alone = Snapshot { families: wire::encode(&families, 0).unwrap(), ..snapshot };
        inline.put_snapshot(&alone, PutCondition::Absent).await.unwrap();
    }
    for format in [Format::Text, Format::OpenMetrics, Format::Protobuf] {
        let rendered = async |table| {
            let mut page = page(table).await;
            page.families.retain(|family| family.name != "prometheus_dynamodb_scrape_duration_seconds");
            format.render(&page)
        };
        assert_eq!(rendered(&table).await, rendered(&inline).await);
    }
}

#[tokio::test(start_paused = true)]
async fn labels_that_come_up_later_ride_along_without_a_structure_of_their_own() {
    let table = table();
    let registry = Registry::new();
    let paths = IntCounterVec::new(Opts::new("paths_total", "By path."), &["path"]).unwrap();
    registry.register(Box::new(paths.clone())).unwrap();
    let mut environment = Environment::with(registry, table.clone(), 1, 10);
    requests(&mut environment, STABLE).await;
    for number in 0..3 * STABLE {
        paths.with_label_values(&[format!("/{}", number % 5)]).inc();
        requests(&mut environment, 1).await;
        assert_eq!(formats(&table).await, [2]);
    }
    assert_eq!(value(&page(&table).await, "paths_total", &[]), f64::from(3 * STABLE));
    assert_eq!(table.structures(0).await.unwrap().len(), 1, "they fit into the same unit");
}

#[tokio::test(start_paused = true)]
async fn what_is_folded_and_buried_stands_alone_and_the_structure_goes_when_no_one_names_it() {
    let table = table();
    let mut environment = Environment::new(table.clone(), 1, 10);
    requests(&mut environment, STABLE).await;
    let writer = snapshots(&table).await[0].writer;
    // The environment is silent for long, so its snapshot is sealed and folded, then buried.
    for minutes in [20, 60, 61] {
        table.set_time(NOON_MS + minutes * MINUTE_MS);
        gc(&table).await;
    }
    assert_eq!((snapshots(&table).await, table.structures(0).await.unwrap().len()), (vec![], 1));
    assert_eq!(table.base(0).await.unwrap().unwrap().families.format, 1);
    assert_eq!(table.grave(writer).await.unwrap().unwrap().format, 1);
    // The environment goes on from the buried snapshot, and names the structure that still exists.
    requests(&mut environment, 1).await;
    assert_eq!(formats(&table).await, [2]);
    assert_eq!(value(&page(&table).await, "requests_total", &[]), f64::from(STABLE + 1));

    let life_ms = u64::try_from(STRUCTURE_LIFE.as_millis()).unwrap();
    for minutes in [100, 160, 161] {
        table.set_time(NOON_MS + life_ms + minutes * MINUTE_MS);
        gc(&table).await;
    }
    assert_eq!((snapshots(&table).await, table.structures(0).await.unwrap()), (vec![], vec![]));
    // The environment stores the structure again.
    requests(&mut environment, 1).await;
    assert_eq!((formats(&table).await, table.structures(0).await.unwrap().len()), (vec![2], 1));
    assert_eq!(value(&page(&table).await, "requests_total", &[]), f64::from(STABLE + 2));
}

#[tokio::test(start_paused = true)]
async fn a_structure_that_is_missing_or_damaged_fails_the_scrape_until_a_writer_has_mended_it() {
    let table = table();
    let mut environment = Environment::new(table.clone(), 1, 10);
    requests(&mut environment, STABLE).await;
    let stored = table.structures(0).await.unwrap().remove(0).unwrap();
    let good = table.structure(0, stored.id).await.unwrap().unwrap();

    assert!(table.delete_structure(0, stored.id, stored.renewed_at_ms).await.unwrap());
    let told = format!("the structure {}, which snapshots of shard 0 name, cannot be used", stored.id);
    assert_eq!(refusal(&table).await, format!("{told}: the structure is missing"));
    let damaged = Encoded { format: 2, bytes: good.families.bytes[1..].to_vec() };
    let damaged = StructureItem { families: damaged, ..good.clone() };
    table.put_structure(0, stored.id, &damaged).await.unwrap();
    assert_eq!(refusal(&table).await, format!("{told}: the structure cannot be decoded"));

    // A gc run does not fold a snapshot that names the structure, and does not treat a snapshot that it cannot read as
    // empty.
    table.set_time(NOON_MS + 20 * MINUTE_MS);
    let report = gc(&table).await;
    assert_eq!((report.sealed, report.folded, report.unreadable), (1, 0, 1));

    // The environment goes on under a fresh id. To do so it must read its sealed snapshot, which works only once the
    // structure is mended.
    table.set_time(NOON_MS + 12 * 60 * MINUTE_MS);
    let mut other = Environment::new(table.clone(), 1, 10);
    requests(&mut other, STABLE).await;
    assert_eq!(table.structure(0, stored.id).await.unwrap().unwrap().families, good.families);
    requests(&mut environment, 1).await;
    assert_eq!(value(&page(&table).await, "requests_total", &[]), f64::from(2 * STABLE + 1));
}

/// Shows that no structure is stored for an environment that has new series with each publish: it would be another one each
/// time.
#[tokio::test(start_paused = true)]
async fn a_structure_that_keeps_growing_is_not_stored() {
    let table = table();
    let registry = Registry::new();
    let paths = IntCounterVec::new(Opts::new("paths_total", "By path."), &["path"]).unwrap();
    registry.register(Box::new(paths.clone())).unwrap();
    let mut environment = Environment::with(registry, table.clone(), 1, 10);
    for path in 0..3 * STABLE {
        paths.with_label_values(&[path.to_string()]).inc();
        requests(&mut environment, 1).await;
        assert_eq!((formats(&table).await, table.structures(0).await.unwrap().len()), (vec![1], 0), "path {path}");
    }
}

/// Shows that a structure is renewed as long as an environment names it, so that others may name it without a write.
#[tokio::test(start_paused = true)]
async fn an_environment_renews_its_structure_every_six_hours() {
    let table = table();
    let mut environment = Environment::new(table.clone(), 1, 10);
    requests(&mut environment, STABLE).await;
    let renewed_after = async |table: &MemoryStatsTable| {
        let structures = table.structures(0).await.unwrap();
        assert_eq!(structures.len(), 1);
        (structures[0].as_ref().unwrap().renewed_at_ms - NOON_MS) / MINUTE_MS
    };
    for (minutes, expected) in [(6 * 60, 0), (6 * 60 + 1, 361), (12 * 60, 361), (13 * 60, 780)] {
        table.set_time(NOON_MS + minutes * MINUTE_MS);
        requests(&mut environment, 1).await;
        assert_eq!(renewed_after(&table).await, expected, "after {minutes} minutes");
    }
}

/// Shows that a snapshot that cannot be read, such as one of a later version, keeps every structure of its shard, since it
/// may name any of them.
#[tokio::test(start_paused = true)]
async fn while_a_snapshot_cannot_be_read_no_structure_goes() {
    let table = table();
    let mut environment = Environment::new(table.clone(), 1, 10);
    requests(&mut environment, STABLE).await;
    let snapshot = snapshots(&table).await.remove(0);
    let families = Encoded { format: 3, ..snapshot.families.clone() };
    let unreadable = Snapshot { writer: WriterId::random(), families, ..snapshot };
    table.put_snapshot(&unreadable, PutCondition::Absent).await.unwrap();
    // The environment itself is sealed, folded, buried and forgotten meanwhile.
    let life_ms = u64::try_from(STRUCTURE_LIFE.as_millis()).unwrap();
    let late = [20, 60, 61, 100, 160].map(|minutes| NOON_MS + life_ms + minutes * MINUTE_MS);
    for now_ms in late {
        table.set_time(now_ms);
        gc(&table).await;
    }
    assert_eq!((snapshots(&table).await.len(), table.structures(0).await.unwrap().len()), (1, 1));

    assert!(table.delete_snapshot(&unreadable).await.unwrap());
    gc(&table).await;
    assert_eq!(table.structures(0).await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn formats_side_by_side_add_up_and_after_going_back_to_the_first_only_that_is_left() {
    let table = table();
    let mut new = Environment::new(table.clone(), 1, 10);
    requests(&mut new, STABLE).await;
    let mut old = Environment::with_format(1, Registry::new(), table.clone());
    requests(&mut old, STABLE).await;
    let mut found = formats(&table).await;
    found.sort_unstable();
    assert_eq!(found, [1, 2]);
    assert_eq!(value(&page(&table).await, "requests_total", &[]), f64::from(2 * STABLE));
    new.publisher.close().await;
    gc(&table).await;
    // Everything that is counted can be read by a version that knows only format 1: the base, and the snapshots that
    // are not folded.
    let base = table.base(0).await.unwrap().unwrap();
    let unfolded: Vec<_> =
        snapshots(&table).await.into_iter().filter(|one| !base.folded.contains_key(&one.writer)).collect();
    assert_eq!((base.families.format, unfolded.len(), unfolded[0].families.format), (1, 1, 1));
    assert_eq!(value(&page(&table).await, "requests_total", &[]), f64::from(2 * STABLE));
}

/// Returns the time since which each series of this metric counts, with the value of the series' only label.
async fn created(table: &MemoryStatsTable, name: &str) -> Vec<(String, u64)> {
    let page = page(table).await;
    let family = page.families.iter().find(|family| family.name == name).unwrap();
    let series = family.series.iter().map(|one| (one.labels[0].1.clone(), one.created_at_ms.unwrap()));
    series.collect()
}

#[tokio::test(start_paused = true)]
async fn a_series_counts_since_the_publish_before_the_one_that_first_had_it_also_after_it_was_folded() {
    for format in [1, 2] {
        let table = table();
        let registry = Registry::new();
        let paths = IntCounterVec::new(Opts::new("paths_total", "By path."), &["path"]).unwrap();
        registry.register(Box::new(paths.clone())).unwrap();
        paths.with_label_values(&["/first"]).inc();
        let mut environment = Environment::with_format(format, registry, table.clone());
        let mut at = async |minutes: u64, path: &str| {
            table.set_time(NOON_MS + minutes * MINUTE_MS);
            paths.with_label_values(&[path]).inc();
            environment.requests(1).await;
            tokio::time::sleep(Duration::from_secs(60)).await;
        };
        at(0, "/first").await;
        for minutes in 1..=u64::from(STABLE) {
            at(minutes, "/first").await;
        }
        at(11, "/second").await;
        at(12, "/second").await;
        at(13, "/third").await;
        let since = |minutes: u64| NOON_MS + minutes * MINUTE_MS;
        let expected = [("/second".to_owned(), since(10)), ("/third".to_owned(), since(12))];
        let found = created(&table, "paths_total").await;
        assert_eq!(found[1..], expected, "format {format}");
        let born = found[0].1;

        // The environment is folded and buried, and goes on under a fresh id.
        for minutes in [40, 90, 91] {
            table.set_time(since(minutes));
            gc(&table).await;
        }
        assert_eq!(snapshots(&table).await, []);
        at(120, "/third").await;
        let found = created(&table, "paths_total").await;
        assert_eq!(found[1..], expected, "format {format}");
        assert_eq!(found[0].1, born);
    }
}

#[tokio::test]
async fn lines_of_when_series_were_created_are_there_when_they_are_asked_for() {
    use prometheus_dynamodb::{PageBody, PageRequest, Scraper};
    let table = MemoryStatsTable::default();
    Environment::new(table.clone(), 1, 10).requests(1).await;
    let lines = async |settings: TableSettings| {
        let request = PageRequest {
            method: "GET",
            query: "",
            header: &|name| (name == "accept").then(|| "application/openmetrics-text".to_owned()),
            received_at: std::time::Instant::now(),
            deadline: None,
        };
        let response = Scraper::new(table.clone(), settings).respond(request).await.unwrap();
        let PageBody::Text(text) = response.body else { panic!("it is text") };
        text.lines().filter(|line| line.contains("_created")).count()
    };
    assert_eq!(lines(settings()).await, 0);
    assert!(lines(TableSettings::builder("stats").created_series(true).build().unwrap()).await > 3);
}

/// A table that answers as it is told when a structure is looked for. What it refuses to read, it does not write either.
#[derive(Debug, Clone)]
struct Moody {
    table: MemoryStatsTable,
    mood: Arc<Mutex<Mood>>,
    looks: Arc<AtomicU32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Works,
    /// As for a writer that may only write snapshots.
    Refuses,
    Hangs,
}

impl Moody {
    fn new(mood: Mood) -> Self {
        Self { table: table(), mood: Arc::new(Mutex::new(mood)), looks: Arc::default() }
    }

    fn mood(&self) -> Mood {
        *self.mood.lock().unwrap()
    }

    fn becomes(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// Returns how often a structure was looked for since the last call.
    fn looks(&self) -> u32 {
        self.looks.swap(0, Ordering::SeqCst)
    }
}

impl TableTime for Moody {
    fn answered_at_ms(&self) -> u64 {
        self.table.answered_at_ms()
    }

    fn now_ms(&self) -> u64 {
        self.table.now_ms()
    }
}

impl ReadStructures for Moody {
    async fn structure(&self, shard: u32, id: StructureId) -> Result<Option<StructureItem>, TableError> {
        self.looks.fetch_add(1, Ordering::SeqCst);
        match self.mood() {
            Mood::Works => self.table.structure(shard, id).await,
            Mood::Refuses => Err(TableError::Failed("not authorized".into())),
            Mood::Hangs => std::future::pending().await,
        }
    }
}

impl PublishStats for Moody {
    async fn put_structure(&self, shard: u32, id: StructureId, structure: &StructureItem) -> Result<(), TableError> {
        match self.mood() {
            Mood::Refuses => Err(TableError::Failed("not authorized".into())),
            Mood::Works | Mood::Hangs => self.table.put_structure(shard, id, structure).await,
        }
    }

    async fn put_snapshot(
        &self,
        snapshot: &Snapshot,
        condition: PutCondition,
    ) -> Result<PutOutcome<Encoded>, TableError> {
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
async fn without_structures_snapshots_have_all_in_them() {
    let moody = Moody::new(Mood::Refuses);
    let table = moody.table.clone();
    let mut environment = Environment::new(moody, 1, 10);
    for expected in 1..=3 * STABLE {
        requests(&mut environment, 1).await;
        assert_eq!(formats(&table).await, [1]);
        assert_eq!(value(&page(&table).await, "requests_total", &[]), f64::from(expected));
    }
    assert_eq!(value(&page(&table).await, "prometheus_dynamodb_publish_failures_total", &[]), 0.0);
}

/// Each look is a request, and each failure may be a line of the log, in each environment of a hot function.
#[tokio::test(start_paused = true)]
async fn while_structures_cannot_be_read_an_environment_looks_ever_more_rarely() {
    let moody = Moody::new(Mood::Refuses);
    let mut environment = Environment::new(moody.clone(), 1, 10);
    requests(&mut environment, 1000).await;
    let looks = moody.looks();
    assert!((5..10).contains(&looks), "{looks} looks");
    moody.becomes(Mood::Works);
    requests(&mut environment, 1000).await;
    assert_eq!((moody.looks(), formats(&moody.table).await), (1, vec![2]), "in the end it names the structure");
    // After a success the pauses begin anew.
    moody.becomes(Mood::Refuses);
    moody.table.set_time(NOON_MS + 7 * 60 * MINUTE_MS);
    requests(&mut environment, 1).await;
    assert_eq!((moody.looks(), formats(&moody.table).await), (1, vec![1]));
    moody.becomes(Mood::Works);
    requests(&mut environment, 11).await;
    assert_eq!((moody.looks(), formats(&moody.table).await), (1, vec![2]));
}

/// Reads can hang while puts work, and a publish has a second in all.
#[tokio::test(start_paused = true)]
async fn while_a_look_hangs_snapshots_are_put_all_the_same() {
    for is_last in [false, true] {
        let moody = Moody::new(Mood::Works);
        let mut environment = Environment::new(moody.clone(), 1, 10);
        requests(&mut environment, STABLE).await;
        assert_eq!(formats(&moody.table).await, [2]);
        moody.becomes(Mood::Hangs);
        moody.table.set_time(NOON_MS + 7 * 60 * MINUTE_MS);
        if is_last {
            environment.publisher.close().await;
            assert!(snapshots(&moody.table).await[0].closed);
        } else {
            requests(&mut environment, 1).await;
            assert_eq!(value(&page(&moody.table).await, "requests_total", &[]), f64::from(STABLE + 1));
        }
        assert_eq!(
            (
                formats(&moody.table).await,
                value(&page(&moody.table).await, "prometheus_dynamodb_publish_failures_total", &[])
            ),
            (vec![1], 0.0)
        );
    }
}
