//! What becomes of environments that are gone, shown on the table in memory and on the one in DynamoDB.

mod support;

use std::time::{Duration, Instant};

use local_bundle::dynamodb_local::DynamoDbLocal;
use local_bundle::tables;
use prometheus_dynamodb::table::{CompactStats, PublishStats};
use prometheus_dynamodb::{CompactReport, DynamoDbStatsTable, MemoryStatsTable, TableSettings, compact};
use support::{Environment, page, settings, value};

/// Settings under which a silent writer is idle at once and a grace is over at once.
fn impatient() -> TableSettings {
    TableSettings { writer_idle: Duration::ZERO, grace: Duration::ZERO, ..settings() }
}

async fn run<T: CompactStats>(table: &T, settings: &TableSettings) -> CompactReport {
    // The clock has milliseconds, and a time is over only when it is past.
    tokio::time::sleep(Duration::from_millis(3)).await;
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
    for environment in &environments[..2] {
        environment.publisher.close().await;
    }

    // The closed are sealed and folded at once, the live are left alone.
    let patient = settings();
    let report = run(&table, &patient).await;
    assert_eq!((report.sealed, report.folded, report.buried, report.finished), (2, 2, 0, true), "{report:?}");
    assert_eq!(total().await, 15.0);
    assert_eq!(table.snapshots(0).await.unwrap().len(), 5);
    assert_eq!(run(&table, &patient).await, CompactReport { finished: true, ..Default::default() });

    // Burial and forgetting wait for the grace.
    let hasty = TableSettings { grace: Duration::ZERO, ..settings() };
    let report = run(&table, &hasty).await;
    assert_eq!((report.buried, report.forgotten), (2, 0), "{report:?}");
    assert_eq!(table.snapshots(0).await.unwrap().len(), 3, "as many as live environments");
    assert_eq!(total().await, 15.0);
    assert_eq!(run(&table, &patient).await.forgotten, 0, "noted as buried");
    assert_eq!(table.base(0).await.unwrap().unwrap().folded.len(), 2);
    assert_eq!(run(&table, &hasty).await.forgotten, 2);
    assert_eq!(table.base(0).await.unwrap().unwrap().folded.len(), 0);
    assert_eq!(total().await, 15.0);

    // The others freeze, are folded, and thaw at different times: sealed, buried, forgotten.
    assert_eq!(run(&table, &TableSettings { writer_idle: Duration::ZERO, ..settings() }).await.folded, 3);
    environments[2].requests(1).await;
    assert_eq!(total().await, 16.0);
    assert_eq!(run(&table, &hasty).await.buried, 3);
    environments[3].requests(1).await;
    assert_eq!(total().await, 17.0);
    for _ in 0..3 {
        run(&table, &hasty).await;
    }
    environments[4].requests(1).await;
    assert_eq!(total().await, 18.0);

    // And so on, any number of times.
    for round in 1..=4 {
        run(&table, &impatient()).await;
        for environment in &mut environments[2..] {
            environment.requests(1).await;
        }
        assert_eq!(total().await, 18.0 + 3.0 * f64::from(round));
    }
    for environment in &environments[2..] {
        environment.publisher.close().await;
    }
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
    let folder = tempfile::tempdir().unwrap();
    let dynamodb = DynamoDbLocal::start_in_memory(&folder.path().join("dynamodb.log")).await.unwrap();
    tables::create(&dynamodb.client()).await.unwrap();
    folds_what_is_gone(DynamoDbStatsTable::new(dynamodb.client(), tables::STATS)).await;
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
