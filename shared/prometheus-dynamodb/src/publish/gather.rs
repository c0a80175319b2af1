//! From ordinary `prometheus` registries to families.

use std::collections::BTreeMap;

use prometheus::Registry;
use prometheus::proto::{Metric, MetricFamily, MetricType};

use crate::families::{Bounds, FamilyKey, GaugeMerge, Kind};
use crate::publish::counted::Reading;
use crate::publish::ledger::{Ledger, Sample};
use crate::publish::refusal::Refusal;
#[allow(unused_imports, reason = "used if `prometheus` has its feature `protobuf`")]
use crate::publish::value::Value as _;

/// Registries whose metrics are published, and how their gauges merge.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The metrics that every environment has, if they are among these.
    own: Option<Registry>,
    pub(super) registries: Vec<Registry>,
    pub(super) gauge_merges: BTreeMap<String, GaugeMerge>,
}

impl Sources {
    /// Publishes the metrics of one registry.
    pub fn new(registry: Registry) -> Self {
        Self { registries: vec![registry], ..Self::default() }
    }

    /// Adds another registry's metrics. Where two registries have the same series, the first one's is published.
    #[must_use]
    pub fn and(mut self, registry: Registry) -> Self {
        self.registries.push(registry);
        self
    }

    /// Adds another registry's metrics, before all others where there is not room for all.
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

    /// Enters the present values of all metrics into the ledger. `now_ms` is now, in milliseconds since the epoch.
    ///
    /// Summaries and untyped metrics cannot be merged and are refused; `prometheus` itself makes neither, only a
    /// hand-written collector could.
    pub(crate) fn gather(&self, ledger: &mut Ledger, now_ms: u64) {
        ledger.begin(now_ms);
        let own = self.own.iter().map(|registry| (registry, true));
        for (registry, first) in own.chain(self.registries.iter().map(|registry| (registry, false))) {
            for family in registry.gather() {
                for metric in family.get_metric() {
                    match self.sample(&family, metric) {
                        Ok((kind, sample)) => {
                            let (label_names, label_values) = labels(metric);
                            let key = FamilyKey { name: family.name().to_owned(), kind, label_names };
                            ledger.enter(key, label_values, family.help(), first, sample);
                        }
                        Err(refusal) => ledger.refuse(family.name(), refusal),
                    }
                }
            }
        }
        ledger.end();
    }

    fn sample(&self, family: &MetricFamily, metric: &Metric) -> Result<(Kind, Sample), Refusal> {
        match family.get_field_type() {
            MetricType::COUNTER => {
                let reading = Reading { counts: Vec::new(), sum: metric.get_counter().get_value() };
                Ok((Kind::Counter, Sample::Counted(reading)))
            }
            MetricType::GAUGE => {
                let merge = self.gauge_merges.get(family.name()).copied().unwrap_or_default();
                Ok((Kind::Gauge(merge), Sample::Gauge(metric.get_gauge().get_value())))
            }
            MetricType::HISTOGRAM => {
                let histogram = metric.get_histogram();
                let buckets = histogram.get_bucket();
                // A collector may list the bucket up to +Inf; its count is that of all observations.
                let finite = buckets.iter().filter(|bucket| bucket.upper_bound() != f64::INFINITY);
                let bounds = Bounds::new(finite.clone().map(|bucket| bucket.upper_bound()).collect());
                let mut below = 0;
                let cumulated = finite.map(|bucket| bucket.cumulative_count()).chain([histogram.get_sample_count()]);
                let counts =
                    cumulated.map(|count| count.saturating_sub(std::mem::replace(&mut below, count))).collect();
                let reading = Reading { counts, sum: histogram.get_sample_sum() };
                Ok((Kind::Histogram(bounds.ok_or(Refusal::Bounds)?), Sample::Counted(reading)))
            }
            MetricType::SUMMARY | MetricType::UNTYPED => Err(Refusal::Kind),
        }
    }
}

/// The names of a metric's labels in ascending order, and their values in the same order. A label without a value is none.
fn labels(metric: &Metric) -> (Vec<String>, Vec<String>) {
    let mut pairs: Vec<_> =
        metric.get_label().iter().map(|pair| (pair.name().to_owned(), pair.value().to_owned())).collect();
    pairs.retain(|(_, value)| !value.is_empty());
    pairs.sort();
    pairs.into_iter().unzip()
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
    use crate::families::Value;
    use crate::families::exact_sum::ExactSum;
    use prometheus::{Gauge, HistogramOpts, HistogramVec, IntCounter, IntGauge};

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
        sources.gather(&mut ledger, 20);
        let families = ledger.families(10, 20);
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
}
