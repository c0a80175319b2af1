//! Gathers the metrics of ordinary `prometheus` registries into the ledger.

use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};

use prometheus::Registry;
use prometheus::proto::Metric;

use crate::families::GaugeMerge;
use crate::publish::gathered::{Gathered, key, sample};
use crate::publish::ledger::Ledger;
use crate::publish::process::is_process_metric;

/// Error returned when a collector panicked, with its message.
#[derive(Debug, thiserror::Error)]
#[error("a collector panicked: {0}")]
pub(crate) struct CollectorPanicked(String);

/// Registries whose metrics are published, and how their gauges merge.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Registry of the metrics that every environment has, if they are among these.
    own: Option<Registry>,
    pub(super) registries: Vec<Registry>,
    pub(super) gauge_merges: BTreeMap<String, GaugeMerge>,
}

impl Sources {
    /// Creates sources from the metrics of one registry.
    ///
    /// The metrics of the process, which the default registry of `prometheus` can have, are left out here: every environment
    /// publishes them anyway.
    pub fn new(registry: Registry) -> Self {
        Self { registries: vec![registry], ..Self::default() }
    }

    /// Adds another registry's metrics. Where two registries have the same series, the first one's is published.
    #[must_use]
    pub fn and(mut self, registry: Registry) -> Self {
        self.registries.push(registry);
        self
    }

    /// Adds another registry's metrics, which come before all others where there is not room for all.
    #[must_use]
    pub(crate) fn led_by(mut self, registry: Registry) -> Self {
        self.own = Some(registry);
        self
    }

    /// Declares how the gauge of this name merges. The default is [`GaugeMerge::LiveSum`].
    ///
    /// The gauge must be registered before [`Publisher::new`](crate::Publisher::new) or [`run`](crate::run), which refuse a name
    /// that no gauge has.
    #[must_use]
    pub fn gauge(mut self, name: impl Into<String>, merge: GaugeMerge) -> Self {
        self.gauge_merges.insert(name.into(), merge);
        self
    }

    /// Gathers all metrics, those that every environment has first.
    ///
    /// # Errors
    ///
    /// If a collector panics. A collector can be the program's own code, and must end neither the environment nor the timer.
    pub(crate) fn gathered(&self) -> Result<Gathered, CollectorPanicked> {
        guarded(|| {
            let own = self.own.iter().map(Registry::gather);
            let others = self.registries.iter().map(|registry| {
                let mut families = registry.gather();
                // The default registry of `prometheus` has the metrics of the process as well.
                families.retain(|family| !is_process_metric(family.name()));
                families
            });
            Gathered { registries: own.chain(others).collect() }
        })
    }

    /// Enters the present values of all metrics into the ledger. `now_ms` is now, in milliseconds since the epoch.
    ///
    /// # Errors
    ///
    /// If a collector panics; the ledger is as before.
    pub(crate) fn gather(&self, ledger: &mut Ledger, now_ms: u64) -> Result<(), CollectorPanicked> {
        let gathered = self.gathered()?;
        if ledger.last().is_some_and(|last| last.lists_the_same_as(&gathered)) {
            let metrics: Vec<&Metric> = gathered.metrics().collect();
            ledger.enter_again(now_ms, |position, kind, counts| sample(metrics[position], kind, counts));
            return Ok(());
        }
        ledger.begin(now_ms);
        let mut counts = Vec::new();
        for (number, families) in gathered.registries.iter().enumerate() {
            let is_own = number == 0 && self.own.is_some();
            for family in families {
                let merge = self.gauge_merges.get(family.name()).copied().unwrap_or_default();
                for metric in family.get_metric() {
                    match key(family, metric, merge) {
                        Ok((key, label_values)) => {
                            let sample = sample(metric, &key.kind, &mut counts);
                            ledger.enter(key, label_values, family.help(), is_own, sample);
                        }
                        Err(refusal) => ledger.refuse(family.name(), refusal),
                    }
                }
            }
        }
        ledger.end(gathered);
        Ok(())
    }
}

/// Gathers as `gather` does.
///
/// # Errors
///
/// If a collector panics.
pub(super) fn guarded<R>(gather: impl FnOnce() -> R) -> Result<R, CollectorPanicked> {
    panic::catch_unwind(AssertUnwindSafe(gather)).map_err(|panic| {
        let message = panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
        CollectorPanicked(message.unwrap_or("without a message").to_owned())
    })
}

/// The metrics of one registry, whose gauges all merge by the default.
impl From<Registry> for Sources {
    fn from(registry: Registry) -> Self {
        Self::new(registry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families::exact_sum::ExactSum;
    use crate::families::{Families, Value};
    use crate::publish::refusal::Refusal;
    use prometheus::core::{Collector, Desc};
    use prometheus::proto::{self, MetricFamily, MetricType};
    use prometheus::{Gauge, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts};
    use proptest::prelude::*;
    use std::sync::{Arc, Mutex};
    use strum::VariantArray;

    #[cfg(target_os = "linux")]
    use crate::publish::process::ProcessMetrics;

    /// Returns everything that is in the ledger.
    fn families_of(ledger: &mut Ledger) -> Families {
        let values = ledger.values(10, 20);
        ledger.structure().families_of(&values)
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_process_is_gathered_once_though_a_default_registry_has_it_too() {
        use prometheus::process_collector::ProcessCollector;

        let (own, registry) = (Registry::new(), Registry::new());
        own.register(Box::new(ProcessMetrics::new().unwrap())).unwrap();
        registry.register(Box::new(ProcessCollector::for_self())).unwrap();
        registry.register(Box::new(IntCounter::new("process_orders_total", "Processes.").unwrap())).unwrap();
        let names = |sources: Sources| {
            let gathered = sources.gathered().unwrap();
            gathered.registries.concat().iter().map(|family| family.name().to_owned()).collect::<Vec<_>>()
        };
        let orders = "process_orders_total".to_owned();
        let of_process = own.gather().iter().map(|family| family.name().to_owned()).collect::<Vec<_>>();
        assert!(of_process.contains(&"process_cpu_seconds_total".to_owned()), "{of_process:?}");
        assert_eq!(names(Sources::new(registry.clone()).led_by(own)), [of_process, vec![orders.clone()]].concat());
        assert_eq!(names(Sources::new(registry)), [orders], "a second publisher, which has none of them");
    }

    #[test]
    fn what_lists_the_same_as_before_is_found_to() {
        let registry = Registry::new();
        let vec = IntCounterVec::new(Opts::new("a_total", "A."), &["l"]).unwrap();
        registry.register(Box::new(vec.clone())).unwrap();
        let sources = Sources::new(registry);
        let mut ledger = Ledger::new(4, &[]);
        vec.with_label_values(&["x"]).inc();
        sources.gather(&mut ledger, 20).unwrap();
        let lists_the_same = |ledger: &Ledger| {
            let gathered = sources.gathered().unwrap();
            ledger.last().is_some_and(|last| last.lists_the_same_as(&gathered))
        };
        vec.with_label_values(&["x"]).inc();
        assert!(lists_the_same(&ledger));
        vec.with_label_values(&["y"]).inc();
        assert!(!lists_the_same(&ledger));
    }

    #[test]
    fn every_kind_of_metric_is_taken_with_its_values() {
        let registry = Registry::new_custom(None, Some([("function".to_owned(), "encode".to_owned())].into())).unwrap();
        let total = IntCounter::new("requests_total", "Requests.").unwrap();
        let open = IntGauge::new("connections", "Connections.").unwrap();
        let last = Gauge::new("last_success_timestamp_seconds", "Last success.").unwrap();
        let seconds =
            HistogramVec::new(HistogramOpts::new("seconds", "Seconds.").buckets(vec![0.1, 1.0]), &["op"]).unwrap();
        registry.register(Box::new(total.clone())).unwrap();
        registry.register(Box::new(open.clone())).unwrap();
        registry.register(Box::new(last.clone())).unwrap();
        registry.register(Box::new(seconds.clone())).unwrap();
        total.inc_by(3);
        open.set(2);
        last.set(5.0);
        [0.05, 0.5, 0.5, 7.0].iter().for_each(|&s| seconds.with_label_values(&["get"]).observe(s));

        let sources = Sources::new(registry).gauge("last_success_timestamp_seconds", GaugeMerge::Max);
        let mut ledger = Ledger::new(4, &[]);
        sources.gather(&mut ledger, 20).unwrap();
        let families = families_of(&mut ledger);
        let found: Vec<_> = families
            .iter()
            .flat_map(|(key, family)| {
                family.series.iter().map(|(labels, series)| (key.name.as_str(), labels.join(","), series.value.clone()))
            })
            .collect();
        assert_eq!(
            found,
            [
                ("connections", "encode".to_owned(), Value::Sum(ExactSum::of([2.0]))),
                ("last_success_timestamp_seconds", "encode".to_owned(), Value::Extreme(5.0)),
                ("requests_total", "encode".to_owned(), Value::Sum(ExactSum::of([3.0]))),
                (
                    "seconds",
                    "encode,get".to_owned(),
                    Value::Histogram { counts: vec![1, 2, 1], sum: ExactSum::of([8.05]) }
                ),
            ]
        );
        assert!(families.values().all(|family| family.born_at_ms == 10));
    }

    #[test]
    fn the_metrics_of_every_environment_come_first_and_enter_where_there_is_no_room() {
        let (own, registry, other) = (Registry::new(), Registry::new(), Registry::new());
        for (registry, name, series) in [(&own, "z_total", 2), (&registry, "a_total", 2), (&other, "b_total", 2)] {
            let vec = IntCounterVec::new(Opts::new(name, "N."), &["number"]).unwrap();
            registry.register(Box::new(vec.clone())).unwrap();
            (0..series).for_each(|number| drop(vec.with_label_values(&[number.to_string()])));
        }
        let gathered = |sources: Sources| {
            let mut ledger = Ledger::new(1, &[]);
            sources.gather(&mut ledger, 20).unwrap();
            let families = families_of(&mut ledger);
            let found = families.iter().map(|(key, family)| (key.name.clone(), family.series.len()));
            (found.collect::<Vec<_>>(), ledger.dropped())
        };
        let sources = Sources::from(registry).and(other);
        assert_eq!(gathered(sources.clone()), (vec![("a_total".to_owned(), 1)], 3));
        assert_eq!(gathered(sources.led_by(own)), (vec![("z_total".to_owned(), 2)], 4));
    }

    /// A collector that reports the families that it is given.
    #[derive(Debug, Clone, Default)]
    struct Told(Arc<Mutex<Vec<MetricFamily>>>);

    impl Collector for Told {
        fn desc(&self) -> Vec<&Desc> {
            Vec::new()
        }

        fn collect(&self) -> Vec<MetricFamily> {
            self.0.lock().unwrap().clone()
        }
    }

    /// A family without its numbers: its name, help text and type, its series' labels, and its bounds.
    type Shape = (&'static str, &'static str, MetricType, Vec<[&'static str; 2]>, Vec<f64>);

    fn shape() -> impl Strategy<Value = Shape> {
        let kind = prop::sample::select(vec![
            MetricType::COUNTER,
            MetricType::COUNTER,
            MetricType::GAUGE,
            MetricType::HISTOGRAM,
            MetricType::SUMMARY,
        ]);
        let name = prop::sample::select(vec!["a", "a_count", "b", "process_c", "1"]);
        let labels =
            prop::collection::vec(prop::sample::select(vec![["", ""], ["x", ""], ["x", "y"], ["z", "y"]]), 1..4);
        let bounds = prop::sample::select(vec![vec![], vec![1.0], vec![1.0, f64::INFINITY], vec![2.0, 1.0]]);
        (name, prop::sample::select(vec!["", "Help."]), kind, labels, bounds)
    }

    fn family((name, help, kind, labels, bounds): &Shape, numbers: &mut impl Iterator<Item = f64>) -> MetricFamily {
        let mut next = || numbers.next().unwrap();
        let metrics = labels.iter().map(|labels| {
            let pair = |(name, value): (&str, &&str)| {
                let mut pair = proto::LabelPair::default();
                pair.set_name(name.to_owned());
                pair.set_value((*value).to_owned());
                pair
            };
            let mut metric = Metric::from_label(["l", "k"].into_iter().zip(labels).map(pair).collect());
            match kind {
                MetricType::COUNTER => metric.set_counter({
                    let mut counter = proto::Counter::default();
                    counter.set_value(next());
                    counter
                }),
                MetricType::GAUGE => metric.set_gauge({
                    let mut gauge = proto::Gauge::default();
                    gauge.set_value(next());
                    gauge
                }),
                _ => metric.set_histogram({
                    let mut histogram = proto::Histogram::default();
                    histogram.set_sample_sum(next());
                    histogram.set_sample_count(next() as u64);
                    let bucket = |bound: &f64| {
                        let mut bucket = proto::Bucket::default();
                        bucket.set_upper_bound(*bound);
                        bucket.set_cumulative_count(next() as u64);
                        bucket
                    };
                    histogram.set_bucket(bounds.iter().map(bucket).collect());
                    histogram
                }),
            }
            metric
        });
        let mut family = MetricFamily::default();
        family.set_metric(metrics.collect());
        family.set_name((*name).to_owned());
        family.set_help((*help).to_owned());
        family.set_field_type(*kind);
        family
    }

    proptest! {
        #[test]
        fn what_lists_the_same_is_entered_as_if_it_did_not(
            programs in prop::collection::vec(prop::collection::vec(shape(), 0..4), 1..3),
            gatherings in prop::collection::vec(
                (any::<prop::sample::Index>(), prop::collection::vec(0u32..5, 60), prop::bool::weighted(0.2)), 1..12,
            ),
        ) {
            let (told, registry) = (Told::default(), Registry::new());
            registry.register(Box::new(told.clone())).unwrap();
            let sources = Sources::new(registry).gauge("b", GaugeMerge::MostRecent);
            let mut quick = Ledger::new(5, &[]);
            let mut slow = Ledger::new(5, &[]);
            for (now_ms, (program, numbers, is_full)) in (100..).zip(gatherings) {
                let number = |number: &u32| [0.0, 1.0, 2.5, f64::NAN, -1.0][*number as usize];
                let mut numbers = numbers.iter().map(number);
                let families = program.get(&programs).iter().map(|shape| family(shape, &mut numbers)).collect();
                *told.0.lock().unwrap() = families;
                sources.gather(&mut quick, now_ms).unwrap();
                slow.forget_last();
                sources.gather(&mut slow, now_ms).unwrap();
                let all = |ledger: &mut Ledger| {
                    let refused = Refusal::VARIANTS.iter().map(|refusal| ledger.refusals().series(*refusal)).collect::<Vec<_>>();
                    let claims = ledger.without_place();
                    if is_full {
                        claims.first().into_iter().for_each(|key| ledger.close(key));
                        ledger.place_all();
                        ledger.published();
                    }
                    let outcome = (refused, ledger.dropped(), ledger.has_changed(), claims);
                    format!("{outcome:?} {:?}", families_of(ledger))
                };
                prop_assert_eq!(all(&mut quick), all(&mut slow));
            }
        }
    }
}
