//! Compacts environments that have ended, on the table in memory and on the one in DynamoDB.

mod support;

use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::AttributeValue;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};
use prometheus_dynamodb::internals::compact;
use prometheus_dynamodb::internals::families::Families;
use prometheus_dynamodb::internals::item::{MAX_ENCODED_BYTES, Snapshot, WriterId};
use prometheus_dynamodb::internals::protocol::condition::PutCondition;
use prometheus_dynamodb::internals::protocol::writer::PutOutcome;
use prometheus_dynamodb::internals::table::{CompactStats, PublishStats, ReadStats, ReadStructures};
use prometheus_dynamodb::internals::wire;
use prometheus_dynamodb::{
    CompactReport, Compactor, MemoryStatsTable, Publisher, Sources, TableSettings, WriterSettings,
};
use support::dynamodb_local::{DynamoDbLocal, TABLE};
use support::{Environment, end, page, settings, until_published, value};

/// Returns settings under which a silent writer is idle at once and a grace is over at once.
fn impatient() -> TableSettings {
    TableSettings::builder("stats").writer_idle(Duration::ZERO).grace(Duration::ZERO).build().unwrap()
}

async fn run<T: CompactStats>(table: &T, settings: &TableSettings) -> CompactReport {
    // The times of DynamoDB's answers have whole seconds, and a grace is over only once the table's time is past its
    // end.
    let since_ms = table.answered_at_ms();
    while table.answered_at_ms() == since_ms {
        tokio::time::sleep(Duration::from_millis(5)).await;
        table.shards().await.unwrap();
    }
    let (report, result) = compact(table, settings, Instant::now() + Duration::from_secs(60)).await;
    result.unwrap();
    report
}

async fn folds_what_is_gone<T: PublishStats + CompactStats + Clone>(table: T) {
    let total = async || value(&page(&table).await, "requests_total", &[]);
    let mut environments: Vec<_> = (0..5).map(|_| Environment::new(table.clone(), 1, 10)).collect();
    for environment in &mut environments {
        environment.requests(3).await;
    }
    until_published(&table, 15.0).await;
    end(&table, &environments[..2]).await;

    // Closed writers are sealed and folded at once, live ones are left alone.
    let patient = settings();
    let report = run(&table, &patient).await;
    assert_eq!((report.sealed, report.folded, report.buried, report.finished), (2, 2, 0, true), "{report:?}");
    assert_eq!(total().await, 15.0);
    assert_eq!(table.snapshots(0).await.unwrap().len(), 5);
    let again = run(&table, &patient).await;
    assert_eq!((again.sealed, again.folded, again.buried, again.finished), (0, 0, 0, true), "{again:?}");

    // Burial and forgetting wait for the grace.
    let hasty = TableSettings::builder("stats").grace(Duration::ZERO).build().unwrap();
    let report = run(&table, &hasty).await;
    assert_eq!((report.buried, report.forgotten), (2, 0), "{report:?}");
    assert_eq!(table.snapshots(0).await.unwrap().len(), 3, "as many as live environments");
    assert_eq!(total().await, 15.0);
    assert_eq!(run(&table, &patient).await.forgotten, 0, "noted as buried");
    assert_eq!(table.base(0).await.unwrap().unwrap().folded.len(), 2);
    assert_eq!(run(&table, &hasty).await.forgotten, 2);
    assert_eq!(table.base(0).await.unwrap().unwrap().folded.len(), 0);
    assert_eq!(total().await, 15.0);

    // The others freeze and are folded. They thaw at different times: after they were sealed, buried, and forgotten.
    assert_eq!(
        run(&table, &TableSettings::builder("stats").writer_idle(Duration::ZERO).build().unwrap()).await.folded,
        3
    );
    environments[2].requests(1).await;
    until_published(&table, 16.0).await;
    assert_eq!(run(&table, &hasty).await.buried, 3);
    environments[3].requests(1).await;
    until_published(&table, 17.0).await;
    for _ in 0..3 {
        run(&table, &hasty).await;
    }
    environments[4].requests(1).await;
    until_published(&table, 18.0).await;

    // This may repeat any number of times.
    for round in 1..=4 {
        run(&table, &impatient()).await;
        for environment in &mut environments[2..] {
            environment.requests(1).await;
        }
        until_published(&table, 18.0 + 3.0 * f64::from(round)).await;
    }
    end(&table, &environments[2..]).await;
    for _ in 0..5 {
        run(&table, &impatient()).await;
    }
    assert_eq!(table.snapshots(0).await.unwrap(), []);
    assert_eq!(total().await, 30.0);
    assert_eq!(value(&page(&table).await, "lambda_cold_starts_total", &[]), 5.0);
}

#[tokio::test]
async fn the_table_in_memory_folds_what_is_gone() {
    folds_what_is_gone(MemoryStatsTable::default()).await;
}

#[tokio::test]
async fn the_table_in_dynamodb_folds_what_is_gone() {
    let dynamodb = DynamoDbLocal::start().await;
    folds_what_is_gone(dynamodb.table()).await;
}

#[tokio::test]
async fn a_run_stops_before_its_deadline_and_the_next_goes_on() {
    let table = MemoryStatsTable::default();
    for _ in 0..3 {
        let mut environment = Environment::new(table.clone(), 1, 10);
        environment.requests(1).await;
        environment.publisher.close().await;
    }
    let (report, result) = compact(&table, &settings(), Instant::now()).await;
    result.unwrap();
    assert_eq!(report, CompactReport::default(), "not finished, and nothing begun");
    assert_eq!(run(&table, &settings()).await.folded, 3);
}

/// Puts as many snapshots of environments that have ended, each after two requests.
async fn put_ended(table: &MemoryStatsTable, number: usize) {
    let mut environment = Environment::new(table.clone(), 1, 10);
    environment.requests(2).await;
    environment.publisher.close().await;
    let snapshot = table.snapshots(0).await.unwrap().remove(0).unwrap();
    for _ in 1..number {
        let snapshot = Snapshot { writer: WriterId::random(), ..snapshot.clone() };
        assert_eq!(table.put_snapshot(&snapshot, PutCondition::Absent).await.unwrap(), PutOutcome::Stored);
    }
}

/// Shows that a run replaces the base as rarely as it can: a base in parts costs as many writes as it has parts.
#[tokio::test]
async fn a_run_replaces_the_base_once_for_16_000_writers_and_never_for_none() {
    for (number, version) in [(1000, 1), (16_500, 2)] {
        let table = MemoryStatsTable::default();
        put_ended(&table, number).await;
        let started = Instant::now();
        let report = run(&table, &settings()).await;
        assert_eq!((report.sealed, report.folded, report.finished), (number as u64, number as u64, true), "{report:?}");
        // A run that takes long commits every ten seconds.
        let most = version + started.elapsed().as_secs() / 10;
        let found = table.base(0).await.unwrap().unwrap().version;
        assert!((version..=most).contains(&found), "{found}");
        let version = found;
        assert_eq!(value(&page(&table).await, "requests_total", &[]), 2.0 * number as f64);
        let again = run(&table, &settings()).await;
        assert_eq!((again.folded, again.finished), (0, true), "{again:?}");
        assert_eq!(table.base(0).await.unwrap().unwrap().version, version);
    }
}

#[tokio::test]
async fn overlapping_runs_fold_each_writer_once() {
    let table = MemoryStatsTable::default();
    for _ in 0..50 {
        let mut environment = Environment::new(table.clone(), 4, 10);
        environment.requests(2).await;
        environment.publisher.close().await;
    }
    let patient = settings();
    let (a, b, c) = tokio::join!(run(&table, &patient), run(&table, &patient), run(&table, &patient));
    assert_eq!(a.folded + b.folded + c.folded, 50);
    assert_eq!(value(&page(&table).await, "requests_total", &[]), 100.0);
}

/// Number of writers whose series have nothing in common. Together they have far more than an item holds.
const WIDE: u32 = 24;
const SERIES_OF_EACH: usize = 500;

/// Returns a registry with many series, each at 1. Their names are random, so that they cannot be compressed.
fn wide_registry() -> Registry {
    let registry = Registry::new();
    let wide = IntCounterVec::new(Opts::new("wide_total", "One of each."), &["id"]).unwrap();
    registry.register(Box::new(wide.clone())).unwrap();
    for _ in 0..SERIES_OF_EACH {
        wide.with_label_values(&[format!("{}{}", WriterId::random(), WriterId::random())]).inc();
    }
    registry
}

/// Checks that a base that outgrows an item is stored in parts, and that scrapes stay exact.
async fn a_base_that_outgrows_an_item_stands_in_parts<T: PublishStats + CompactStats + Clone>(table: T) {
    let mut environments: Vec<_> =
        (0..WIDE).map(|_| Environment::with(wide_registry(), table.clone(), 1, 10)).collect();
    for environment in &mut environments {
        environment.requests(1).await;
    }
    until_published(&table, f64::from(WIDE)).await;
    end(&table, &environments).await;
    let exact = f64::from(WIDE) * SERIES_OF_EACH as f64;
    assert_eq!(value(&page(&table).await, "wide_total", &[]), exact);

    let report = run(&table, &settings()).await;
    assert_eq!((report.folded, report.base_full), (u64::from(WIDE), 0), "{report:?}");
    assert!(table.base(0).await.unwrap().unwrap().parts.len() > 1);
    assert_eq!(value(&page(&table).await, "wide_total", &[]), exact);

    // Each change replaces all parts. The previous parts stay for a grace, for readers of the previous base.
    for _ in 0..4 {
        run(&table, &impatient()).await;
        assert_eq!(value(&page(&table).await, "wide_total", &[]), exact);
    }
    assert_eq!(table.snapshots(0).await.unwrap(), []);
    let base = table.base(0).await.unwrap().unwrap();
    run(&table, &impatient()).await;
    assert_eq!(table.base(0).await.unwrap().unwrap().version, base.version, "nothing was to be done");
    let named = base.parts;
    let mut stored: Vec<_> = table.parts(0).await.unwrap().into_iter().map(|part| part.unwrap().id).collect();
    assert_eq!(stored.len(), named.len());
    stored.retain(|id| !named.contains(id));
    assert_eq!(stored, []);
}

/// Mostly empty buckets compress so well that a base of them might fit into an item and yet be too large to be read.
#[tokio::test]
async fn a_base_never_becomes_too_large_to_be_read() {
    const WRITERS: u32 = 80;
    let table = MemoryStatsTable::default();
    for writer in 0..WRITERS {
        let registry = Registry::new();
        let bounds = (1..=100).map(f64::from).collect();
        let empty = HistogramVec::new(HistogramOpts::new("empty_seconds", "Empty.").buckets(bounds), &["id"]).unwrap();
        registry.register(Box::new(empty.clone())).unwrap();
        (0..700).for_each(|series| drop(empty.with_label_values(&[format!("{writer} {series}")])));
        let mut environment = Environment::with(registry, table.clone(), 1, 10);
        environment.requests(1).await;
        environment.publisher.close().await;
    }
    let report = run(&table, &settings()).await;
    assert_eq!((report.folded, report.base_full), (u64::from(WRITERS), 0), "{report:?}");
    assert!(table.base(0).await.unwrap().unwrap().parts.len() > 1);
    assert_eq!(value(&page(&table).await, "requests_total", &[]), f64::from(WRITERS));
}

/// Shows that such a series does not keep the other writers of its shard from being folded.
#[tokio::test]
async fn a_series_that_no_base_could_hold_leaves_only_its_own_writer_unfolded() {
    const WRITERS: u32 = 3;
    let table = MemoryStatsTable::default();
    let mut closed = Vec::new();
    for _ in 0..WRITERS {
        let mut environment = Environment::new(table.clone(), 1, 10);
        environment.requests(2).await;
        environment.publisher.close().await;
        closed.push(environment);
    }
    // A program other than this crate has written the snapshot: this crate refuses such a series.
    let snapshot = table.snapshots(0).await.unwrap().remove(0).unwrap();
    let families = wire::decode(&snapshot.families).unwrap();
    let (mut key, mut family) = families.into_iter().find(|(key, _)| key.name == "requests_total").unwrap();
    let mut long: String = std::iter::repeat_with(|| WriterId::random().to_string()).take(20_000).collect();
    long.truncate(MAX_ENCODED_BYTES - 500);
    key.label_names.push("long".into());
    let (mut label_values, series) = family.series.pop_first().unwrap();
    label_values.push(long);
    family.series.insert(label_values, series);
    let families = Families::from([(key, family)]);
    let families = wire::encode(&families, 0).unwrap();
    let huge = Snapshot { writer: WriterId::random(), families, ..snapshot };
    assert_eq!(table.put_snapshot(&huge, PutCondition::Absent).await.unwrap(), PutOutcome::Stored);

    let report = run(&table, &settings()).await;
    assert_eq!((report.folded, report.base_full), (u64::from(WRITERS), 1), "{report:?}");
    for _ in 0..3 {
        assert_eq!(run(&table, &impatient()).await.base_full, 1);
    }
    assert_eq!(table.snapshots(0).await.unwrap().len(), 1);
    assert_eq!(
        value(&page(&table).await, "requests_total", &[]),
        2.0 * f64::from(WRITERS + 1),
        "it counts all the same"
    );

    // How many are left unfolded stays on the page although the environment that found it has ended.
    let registry = Registry::new();
    let compactor = Compactor::new(table.clone(), impatient(), &registry).unwrap();
    let writer = WriterSettings::builder("stats", "gc", "1").build().unwrap();
    let publisher = Publisher::new(table.clone(), Sources::new(registry), writer, Instant::now()).unwrap();
    compactor.run(support::deadline()).await.1.unwrap();
    publisher.publish().await.unwrap();
    publisher.close().await;
    assert_eq!(value(&page(&table).await, "prometheus_dynamodb_writers", &[("state", "closed")]), 1.0);
    assert_eq!(value(&page(&table).await, "prometheus_dynamodb_base_full_writers", &[]), 1.0);
}

/// Shows that a listed item that cannot be read, such as one that was restored in part, keeps nothing else from being folded,
/// and that a structure without its time is mended by the environment that uses it.
#[tokio::test]
async fn in_dynamodb_an_unreadable_item_is_left_alone_and_a_structure_is_mended() {
    let dynamodb = DynamoDbLocal::start().await;
    let (table, client) = (dynamodb.table(), dynamodb.client());
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let mut environment = Environment::new(table.clone(), 1, 10);
    environment.requests(1).await;
    until_published(&table, 1.0).await;
    // The structure is what the environment publishes, so it is known only now.
    let families = wire::decode(&table.snapshots(0).await.unwrap().remove(0).unwrap().families).unwrap();
    let (structure, _) = wire::NamedStructure::of(&families).unwrap();
    let unreadable = [format!("structure#{}", structure.id()), format!("part#{}", WriterId::random())];
    for sort_key in &unreadable {
        let put = client.put_item().table_name(TABLE).item("pk", text("shard#0")).item("sk", text(sort_key));
        put.send().await.unwrap();
    }
    let mut gone = Environment::new(table.clone(), 1, 10);
    gone.requests(2).await;
    until_published(&table, 3.0).await;
    end(&table, &[gone]).await;
    let report = run(&table, &settings()).await;
    assert_eq!((report.folded, report.unreadable), (1, 2), "{report:?}");

    let deadline = support::deadline();
    let mut requests = 1;
    while table.structure(0, structure.id()).await.is_err() {
        assert!(Instant::now() < deadline, "the structure is not mended");
        environment.requests(1).await;
        requests += 1;
    }
    until_published(&table, f64::from(requests + 2)).await;
}

#[tokio::test]
async fn in_memory_a_base_that_outgrows_an_item_stands_in_parts() {
    a_base_that_outgrows_an_item_stands_in_parts(MemoryStatsTable::default()).await;
}

#[tokio::test]
async fn in_dynamodb_a_base_that_outgrows_an_item_stands_in_parts() {
    let dynamodb = DynamoDbLocal::start().await;
    a_base_that_outgrows_an_item_stands_in_parts(dynamodb.table()).await;
}
