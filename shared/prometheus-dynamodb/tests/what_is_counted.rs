//! Checks which of a program's metrics are on the page: valid metrics are there whatever else the program registers,
//! and no number falls whatever the program resets.

mod support;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use prometheus_dynamodb::internals::item::WriterId;
use prometheus_dynamodb::internals::page::PageValue;
use prometheus_dynamodb::internals::table::{CompactStats, ReadStats};
use prometheus_dynamodb::internals::{compact, page::Page};
use prometheus_dynamodb::{MemoryStatsTable, Publisher, Sources, TableSettings};
use proptest::prelude::*;
use support::faulty_table::FaultyTable;
use support::{Environment, invocation, page, value, writer_settings};
use tower::{Layer, Service, service_fn};

/// Handles one request in an environment with these sources. The name of its table is its own: of the publishers of a
/// process to one table, only the first has the metrics of the environment.
async fn publish(table: &MemoryStatsTable, sources: Sources) {
    let settings = writer_settings(&WriterId::random().to_string(), 1, 10).build().unwrap();
    let publisher = Publisher::new(table.clone(), sources, settings, Instant::now()).unwrap();
    let mut service = publisher.layer().layer(service_fn(async |_| Ok::<_, ()>(())));
    service.call(invocation(0)).await.unwrap();
}

fn counter(registry: &Registry, name: &str, value: u64) {
    let counter = IntCounter::new(name, "Counts.").unwrap();
    registry.register(Box::new(counter.clone())).unwrap();
    counter.inc_by(value);
}

fn labelled(label: &str) -> Registry {
    Registry::new_custom(None, Some([(label.to_owned(), "x".to_owned())].into())).unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_a_reader_would_refuse_is_left_out_and_counted_and_the_rest_is_there() {
    let good = Registry::new();
    counter(&good, "good_total", 5);
    let mut sources = Sources::new(good);
    let prefixed = Registry::new_custom(Some("my-app".to_owned()), None).unwrap();
    for (registry, name) in [
        (labelled("__tenant"), "tenant_total"),
        (labelled("team-name"), "team_total"),
        (prefixed, "prefixed_total"),
        (Registry::new(), "good_total"),
        (Registry::new(), "prometheus_dynamodb_series"),
    ] {
        counter(&registry, name, 7);
        sources = sources.and(registry);
    }
    let buckets = labelled("le");
    let histogram = Histogram::with_opts(HistogramOpts::new("bucketed", "B.")).unwrap();
    buckets.register(Box::new(histogram)).unwrap();
    let twice = labelled("function");
    let vec = IntCounterVec::new(Opts::new("function_total", "F."), &["function"]).unwrap();
    twice.register(Box::new(vec.clone())).unwrap();
    vec.with_label_values(&["y"]).inc();
    let table = MemoryStatsTable::default();
    publish(&table, sources.and(buckets).and(twice)).await;

    let page = page(&table).await;
    assert_eq!(value(&page, "good_total", &[]), 5.0, "the first registry's");
    assert_eq!(value(&page, "lambda_invocations_total", &[]), 1.0);
    assert_eq!(value(&page, "prometheus_dynamodb_unreadable_items", &[]), 0.0);
    for (reason, series) in [
        ("label_names", 4.0),
        ("metric_name", 1.0),
        ("duplicate", 1.0),
        ("name_conflict", 1.0),
        ("type_conflict", 0.0),
        ("too_large", 0.0),
    ] {
        let found = value(&page, "prometheus_dynamodb_refused_series_total", &[("reason", reason)]);
        assert_eq!(found, series, "{reason}");
    }
}

#[tokio::test]
async fn metrics_on_which_environments_disagree_are_counted_by_what_they_disagree_in() {
    let table = MemoryStatsTable::default();
    let one = Registry::new();
    counter(&one, "type", 1);
    counter(&one, "labels_total", 1);
    publish(&table, Sources::new(one)).await;
    let other = Registry::new();
    other.register(Box::new(IntGauge::new("type", "Counts.").unwrap())).unwrap();
    let labels = IntCounterVec::new(Opts::new("labels_total", "Counts."), &["a"]).unwrap();
    labels.with_label_values(&["x"]).inc();
    other.register(Box::new(labels)).unwrap();
    publish(&table, Sources::new(other)).await;

    let page = page(&table).await;
    for (kind, metrics) in [("type", 1.0), ("labels", 1.0), ("bounds", 0.0), ("name", 0.0)] {
        assert_eq!(value(&page, "prometheus_dynamodb_conflicts", &[("kind", kind)]), metrics, "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn two_publishers_of_one_process_count_it_once() {
    let table = MemoryStatsTable::default();
    let publishers = ["one", "two"].map(|name| {
        let registry = Registry::new();
        counter(&registry, &format!("{name}_total"), 1);
        let settings = writer_settings("two publishers", 1, 10).build().unwrap();
        Publisher::new(table.clone(), Sources::new(registry), settings, Instant::now()).unwrap()
    });
    for publisher in &publishers {
        let mut service = publisher.layer().layer(service_fn(async |_| Ok::<_, ()>(())));
        service.call(invocation(0)).await.unwrap();
    }
    let page = page(&table).await;
    assert_eq!(value(&page, "one_total", &[]) + value(&page, "two_total", &[]), 2.0);
    assert!(value(&page, "process_threads", &[]) > 0.0);
    // The sum over both publishers would be twice as large.
    let bytes = value(&page, "process_virtual_memory_bytes", &[]);
    let own = prometheus::process_collector::ProcessCollector::for_self();
    let own = prometheus::core::Collector::collect(&own);
    let own = own.iter().find(|family| family.name() == "process_virtual_memory_bytes").unwrap();
    let own = own.get_metric()[0].get_gauge().get_value();
    assert!(bytes < own * 1.5, "{bytes}");
    assert_eq!(value(&page, "lambda_invocations_total", &[]), 1.0, "each of them was told of one");
}

/// What the first one has counted stays on the page when it is dropped.
#[tokio::test(start_paused = true)]
async fn two_publishers_of_one_process_one_after_the_other_count_it_once() {
    let table = MemoryStatsTable::default();
    let mut process = Vec::new();
    for jobs in [1.0, 2.0] {
        let registry = Registry::new();
        counter(&registry, "jobs_total", 1);
        let settings = writer_settings("one after the other", 1, 10).build().unwrap();
        let publisher = Publisher::new(table.clone(), Sources::new(registry), settings, Instant::now()).unwrap();
        drop(publisher.layer());
        publisher.publish().await.unwrap();
        let page = page(&table).await;
        assert_eq!(value(&page, "jobs_total", &[]), jobs);
        let counters = ["lambda_cold_starts_total", "lambda_init_duration_seconds", "process_cpu_seconds_total"];
        process.push(counters.map(|name| value(&page, name, &[])));
    }
    assert!(process[0].iter().all(|counted| *counted > 0.0), "{process:?}");
    assert_eq!(process[1], process[0]);
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_is_there_twice_counts_a_request_once_and_that_of_another_publisher_counts_it_too() {
    let table = MemoryStatsTable::default();
    let [one, other] = [(); 2].map(|()| {
        let settings = writer_settings(&WriterId::random().to_string(), 1, 10).build().unwrap();
        Publisher::new(table.clone(), Sources::new(Registry::new()), settings, Instant::now()).unwrap()
    });
    let handler = service_fn(async |_| Ok::<_, ()>(()));
    let mut service = one.layer().layer(other.layer().layer(one.layer().layer(handler)));
    service.call(invocation(0)).await.unwrap();
    assert_eq!(value(&page(&table).await, "lambda_invocations_total", &[]), 2.0, "one for each publisher");
}

#[tokio::test(start_paused = true)]
async fn an_empty_label_is_no_label() {
    let registry = Registry::new();
    let vec = IntCounterVec::new(Opts::new("requests_total", "R."), &["tenant"]).unwrap();
    registry.register(Box::new(vec.clone())).unwrap();
    vec.with_label_values(&[""]).inc_by(3);
    vec.with_label_values(&["a"]).inc_by(4);
    let table = MemoryStatsTable::default();
    publish(&table, Sources::new(registry)).await;
    let plain = Registry::new();
    counter(&plain, "requests_total", 5);
    publish(&table, Sources::new(plain)).await;

    let page = page(&table).await;
    let family = page.families.iter().find(|family| family.name == "requests_total").unwrap();
    let series: Vec<_> = family.series.iter().map(|series| (series.labels.clone(), series.value.clone())).collect();
    let tenant = vec![("tenant".to_owned(), "a".to_owned())];
    assert_eq!(series, [(vec![], PageValue::Number(8.0)), (tenant, PageValue::Number(4.0))]);
}

fn sum_and_count(page: &Page, name: &str) -> (f64, u64) {
    let family = page.families.iter().find(|family| family.name == name).unwrap();
    let PageValue::Histogram { sum, count, .. } = family.series[0].value else { panic!("{name} is a histogram") };
    (sum, count)
}

#[tokio::test(start_paused = true)]
async fn a_number_that_is_none_spoils_no_sum() {
    let table = MemoryStatsTable::default();
    let environment = || {
        let registry = Registry::new();
        let seconds = Histogram::with_opts(HistogramOpts::new("seconds", "S.")).unwrap();
        registry.register(Box::new(seconds.clone())).unwrap();
        (Environment::with(registry, table.clone(), 1, 10), seconds)
    };
    let ((mut one, seconds), (mut other, other_seconds)) = (environment(), environment());
    seconds.observe(1.5);
    one.requests(1).await;
    for poison in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        seconds.observe(poison);
        one.requests(1).await;
        other_seconds.observe(2.0);
        other.requests(1).await;
    }
    let expected = (7.5, 7);
    assert_eq!(sum_and_count(&page(&table).await, "seconds"), expected);
    let refused = |page: &Page| value(page, "prometheus_dynamodb_refused_series_total", &[("reason", "not_finite")]);
    assert_eq!(refused(&page(&table).await), 1.0, "a series, however often");

    // The environments are folded, thaw, and go on.
    fold(&table).await;
    assert_eq!(sum_and_count(&page(&table).await, "seconds"), expected);
    seconds.observe(1.0);
    one.requests(1).await;
    other_seconds.observe(1.0);
    other.requests(1).await;
    assert_eq!(sum_and_count(&page(&table).await, "seconds"), (8.5, 9));
}

#[tokio::test(start_paused = true)]
async fn gauges_may_be_infinite() {
    let table = MemoryStatsTable::default();
    let gauge = |value: f64| {
        let registry = Registry::new();
        let gauge = prometheus::Gauge::new("level", "L.").unwrap();
        registry.register(Box::new(gauge.clone())).unwrap();
        gauge.set(value);
        Environment::with(registry, table.clone(), 1, 10)
    };
    gauge(f64::INFINITY).requests(1).await;
    gauge(3.0).requests(1).await;
    assert_eq!(value(&page(&table).await, "level", &[]), f64::INFINITY);
    gauge(f64::NEG_INFINITY).requests(1).await;
    assert!(value(&page(&table).await, "level", &[]).is_nan());
    fold(&table).await;
    assert_eq!(value(&page(&table).await, "level", &[]), 0.0, "none is live any more");
}

/// Seals and folds all snapshots, and buries and forgets their writers as far as three runs get.
async fn fold(table: &MemoryStatsTable) {
    for snapshot in table.snapshots(0).await.unwrap() {
        table.seal(&snapshot.unwrap(), 1).await.unwrap();
    }
    let impatient = TableSettings::builder("stats").grace(Duration::ZERO).build().unwrap();
    for _ in 0..3 {
        let (_, result) = compact(table, &impatient, Instant::now() + Duration::from_secs(60)).await;
        result.unwrap();
    }
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Count(usize, u64),
    Remove(usize),
    ResetAll,
    ResetPlain,
    Publish,
    Fail,
    Fold,
}

const LABELS: [&str; 3] = ["a", "b", "c"];

fn act() -> impl Strategy<Value = Act> {
    let label = || 0..LABELS.len();
    prop_oneof![
        4 => (label(), 1u64..5).prop_map(|(label, count)| Act::Count(label, count)),
        1 => label().prop_map(Act::Remove),
        1 => Just(Act::ResetAll),
        1 => Just(Act::ResetPlain),
        4 => Just(Act::Publish),
        1 => Just(Act::Fail),
        1 => Just(Act::Fold),
    ]
}

/// Values of one counter that were seen, added up as Prometheus does.
#[derive(Debug, Default)]
struct Seen {
    last: u64,
    total: u64,
}

impl Seen {
    fn see(&mut self, now: u64) {
        self.total += if now < self.last { now } else { now - self.last };
        self.last = now;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_a_program_resets_the_page_has_all_that_was_seen_and_never_falls(
        acts in prop::collection::vec(act(), 1..40),
        done_all_the_same in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let faulty = FaultyTable { done_all_the_same, ..Default::default() };
            let table = faulty.table.clone();
            let registry = Registry::new();
            let vec = IntCounterVec::new(Opts::new("by_label_total", "L."), &["label"]).unwrap();
            let plain = IntCounter::new("plain_total", "P.").unwrap();
            let gauge = IntGauge::new("level", "G.").unwrap();
            registry.register(Box::new(vec.clone())).unwrap();
            registry.register(Box::new(plain.clone())).unwrap();
            registry.register(Box::new(gauge)).unwrap();
            let mut environment = Environment::with(registry, faulty.clone(), 1, 10);
            let mut seen: BTreeMap<&str, Seen> = BTreeMap::new();
            let mut raw: BTreeMap<&str, u64> = BTreeMap::new();
            let mut shown: BTreeMap<&str, f64> = BTreeMap::new();
            for act in acts {
                match act {
                    Act::Count(label, count) => {
                        vec.with_label_values(&[LABELS[label]]).inc_by(count);
                        plain.inc_by(count);
                        *raw.entry(LABELS[label]).or_default() += count;
                        *raw.entry("plain").or_default() += count;
                    }
                    Act::Remove(label) => {
                        let _ = vec.remove_label_values(&[LABELS[label]]);
                        raw.insert(LABELS[label], 0);
                    }
                    Act::ResetAll => {
                        vec.reset();
                        raw.extend(LABELS.map(|label| (label, 0)));
                    }
                    Act::ResetPlain => {
                        plain.reset();
                        raw.insert("plain", 0);
                    }
                    Act::Publish | Act::Fail => {
                        raw.iter().for_each(|(name, raw)| seen.entry(name).or_default().see(*raw));
                        // If a publish failed before, the timer makes up for it now.
                        tokio::time::sleep(Duration::from_secs(130)).await;
                        faulty.failures.store(u32::from(matches!(act, Act::Fail)), Ordering::SeqCst);
                        environment.requests(1).await;
                    }
                    Act::Fold => fold(&table).await,
                }
                let page = page(&table).await;
                if page.families.iter().all(|family| family.name != "plain_total") {
                    continue;
                }
                for (name, seen) in &seen {
                    let found = match *name {
                        "plain" => value(&page, "plain_total", &[]),
                        // The family exists once one of its series has been published.
                        label if page.families.iter().any(|family| family.name == "by_label_total") => {
                            value(&page, "by_label_total", &[("label", label)])
                        }
                        _ => 0.0,
                    };
                    let before = shown.insert(name, found).unwrap_or_default();
                    assert!(found >= before, "{name} fell from {before} to {found}");
                    assert!(found <= seen.total as f64, "{name} is {found}, and {} were seen", seen.total);
                    if matches!(act, Act::Publish) {
                        assert_eq!(found, seen.total as f64, "{name}");
                    }
                }
            }
        });
    }
}
