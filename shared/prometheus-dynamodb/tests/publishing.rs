//! Follows counts from a registry in one environment to the page of a scrape.

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use prometheus_dynamodb::internals::item::{Base, Encoded, Snapshot, WriterId};
use prometheus_dynamodb::internals::protocol::condition::PutCondition;
use prometheus_dynamodb::internals::table::{CompactStats, PublishStats, ReadStats};
use prometheus_dynamodb::internals::{Structures, compact, scrape};
use prometheus_dynamodb::{MemoryStatsTable, TableSettings};
use support::faulty_table::FaultyTable;
use support::{Environment, page, settings, value};

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
        // The second attempt comes within a second after the first, and the third within two seconds after the second.
        tokio::time::sleep(Duration::from_millis(3100)).await;
        let page = page(&table.table).await;
        assert_eq!(value(&page, "requests_total", &[]), 3.0, "{done_all_the_same}");
        let failures = value(&page, "prometheus_dynamodb_publish_failures_total", &[]);
        assert_eq!(failures, 2.0, "{done_all_the_same}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_put_before_readers_are_told_of_its_shard() {
    const SHARDS: u32 = 8;
    let table = FaultyTable::default();
    table.failed_announcements.store(1, Ordering::SeqCst);
    let mut environment = Environment::new(table.clone(), SHARDS, 10);
    environment.requests(1).await;
    for shard in 0..SHARDS {
        assert_eq!(table.table.snapshots(shard).await.unwrap(), [], "{shard}");
    }
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(table.table.shards().await.unwrap(), SHARDS);
    assert_eq!(value(&page(&table.table).await, "requests_total", &[]), 1.0);
}

#[tokio::test(start_paused = true)]
async fn after_a_failure_the_timer_publishes_without_a_further_request() {
    let table = FaultyTable::default();
    table.failures.store(3, Ordering::SeqCst);
    let mut environment = Environment::new(table.clone(), 1, 10);
    environment.requests(1).await;
    tokio::time::sleep(Duration::from_secs(8)).await;
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

/// If the environment published again after its snapshot was sealed, it would get a second item.
#[tokio::test(start_paused = true)]
async fn the_timer_does_not_publish_again_what_an_environment_that_ends_has_published() {
    let table = MemoryStatsTable::default();
    let mut environment = Environment::new(table.clone(), 1, 1);
    environment.requests(2).await;
    environment.publisher.close().await;
    let (report, result) = compact(&table, &settings(), support::deadline()).await;
    result.unwrap();
    assert_eq!(report.folded, 1);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(table.snapshots(0).await.unwrap().len(), 1);
}

/// A last publish whose response was lost may be stored nevertheless.
#[tokio::test(start_paused = true)]
async fn the_timer_does_not_make_up_for_a_last_publish_that_was_not_heard_of() {
    let table = FaultyTable { done_all_the_same: true, ..Default::default() };
    let mut environment = Environment::new(table.clone(), 1, 10);
    environment.requests(1).await;
    table.failures.store(1, Ordering::SeqCst);
    environment.publisher.close().await;
    let (report, result) = compact(&table.table, &settings(), support::deadline()).await;
    result.unwrap();
    assert_eq!(report.folded, 1);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(table.table.snapshots(0).await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_publish_on_request_that_fails_is_made_up_for_by_the_timer() {
    let table = FaultyTable::default();
    let environment = Environment::new(table.clone(), 1, 1);
    table.failures.store(1, Ordering::SeqCst);
    environment.publisher.publish().await.unwrap_err();
    assert_eq!(table.table.snapshots(0).await.unwrap(), []);
    tokio::time::sleep(Duration::from_millis(1001)).await;
    assert_eq!(value(&page(&table.table).await, "prometheus_dynamodb_publish_failures_total", &[]), 1.0);
}

/// Shows that nothing is published once an environment has published a last time: an image of it may have been taken, and
/// whatever a copy then publishes, every copy does.
#[tokio::test(start_paused = true)]
async fn a_publish_that_is_asked_for_after_the_last_one_is_refused() {
    let table = MemoryStatsTable::default();
    let mut environment = Environment::new(table.clone(), 1, 10);
    environment.requests(1).await;
    environment.publisher.close().await;
    let last = table.snapshots(0).await.unwrap();
    let error = environment.publisher.publish().await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(source, "the environment ends, and from now on only close() publishes");
    assert_eq!(table.snapshots(0).await.unwrap(), last);
}

/// Shows that a first put of which nothing was heard is taken for stored once its grave can have expired: it may have been
/// stored, folded and buried since, and no count may be there twice.
#[tokio::test(start_paused = true)]
async fn what_was_put_weeks_ago_and_never_heard_of_is_not_published_again() {
    const DAY_MS: u64 = 24 * 60 * 60 * 1000;
    let now_ms = 1_763_985_600_000;
    for (days, expected) in [(14, 2.0), (20, 1.0)] {
        let table = FaultyTable::default();
        table.table.set_time(now_ms);
        let mut environment = Environment::new(table.clone(), 1, 10);
        table.failures.store(1, Ordering::SeqCst);
        environment.requests(1).await;
        table.table.set_time(now_ms + days * DAY_MS);
        tokio::time::sleep(Duration::from_secs(10)).await;
        environment.requests(1).await;
        assert_eq!(value(&page(&table.table).await, "requests_total", &[]), expected, "after {days} days");
    }
}

/// Shows that one shard needs no announcement, which would be a write for each cold start.
#[tokio::test(start_paused = true)]
async fn one_shard_is_not_announced() {
    let table = FaultyTable::default();
    table.failed_announcements.store(1, Ordering::SeqCst);
    Environment::new(table.clone(), 1, 10).requests(1).await;
    assert_eq!(value(&page(&table.table).await, "requests_total", &[]), 1.0);
    assert_eq!(table.failed_announcements.load(Ordering::SeqCst), 1);
}

/// Shows that the grave tells what was counted, where the environment cannot know whether its last put landed.
#[tokio::test(start_paused = true)]
async fn an_environment_goes_on_from_its_grave() {
    for done_all_the_same in [false, true] {
        let table = FaultyTable { done_all_the_same, ..Default::default() };
        let mut environment = Environment::new(table.clone(), 1, 10);
        environment.requests(1).await;
        table.failures.store(1, Ordering::SeqCst);
        environment.requests(1).await;
        // It freezes, and is sealed, folded, and buried.
        let hasty = TableSettings::builder("stats").writer_idle(Duration::ZERO).grace(Duration::ZERO).build().unwrap();
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while !table.table.snapshots(0).await.unwrap().is_empty() {
            assert!(std::time::Instant::now() < deadline, "it is not buried");
            std::thread::sleep(Duration::from_millis(2));
            let (_, result) = compact(&table.table, &hasty, support::deadline()).await;
            result.unwrap();
        }
        let folded = if done_all_the_same { 2.0 } else { 1.0 };
        assert_eq!(value(&page(&table.table).await, "requests_total", &[]), folded);
        tokio::time::sleep(Duration::from_secs(10)).await;
        environment.requests(1).await;
        assert_eq!(value(&page(&table.table).await, "requests_total", &[]), 3.0, "{done_all_the_same}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_environment_without_a_request_leaves_nothing_behind() {
    let table = MemoryStatsTable::default();
    Environment::new(table.clone(), 1, 1).publisher.close().await;
    assert_eq!(table.snapshots(0).await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn a_damaged_snapshot_is_left_out_and_a_damaged_base_fails_the_scrape() {
    let table = MemoryStatsTable::default();
    Environment::new(table.clone(), 1, 10).requests(3).await;
    let good = table.snapshots(0).await.unwrap().remove(0).unwrap();
    let garbage = Encoded { format: 1, bytes: vec![1, 2, 3] };
    let damaged = Snapshot { writer: WriterId::random(), families: garbage.clone(), ..good.clone() };
    let of_the_future = Encoded { format: 3, ..good.families.clone() };
    let newer = Snapshot { writer: WriterId::random(), families: of_the_future, ..good };
    for snapshot in [damaged, newer] {
        table.put_snapshot(&snapshot, PutCondition::Absent).await.unwrap();
    }
    let page = page(&table).await;
    assert_eq!(value(&page, "requests_total", &[]), 3.0);
    assert_eq!(value(&page, "prometheus_dynamodb_unreadable_items", &[]), 2.0);

    assert!(
        table
            .put_base(0, &Base { version: 1, folded: Default::default(), families: garbage, parts: Vec::new() })
            .await
            .unwrap()
    );
    assert_eq!(
        scrape(&table, &Structures::default(), &settings(), support::deadline()).await.unwrap_err().to_string(),
        "the base of shard 0 cannot be decoded"
    );
}
