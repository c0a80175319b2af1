//! From ordinary `prometheus` registries to families.

use std::collections::BTreeMap;

use prometheus::Registry;
use prometheus::proto::{Metric, MetricFamily, MetricType};

use crate::families::exact_sum::ExactSum;
use crate::families::{Bounds, Families, Family, FamilyKey, GaugeMerge, Kind, Value};
use crate::publish::series_cap::SeriesCap;

/// Registries whose metrics are published, and how their gauges merge.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    registries: Vec<Registry>,
    gauge_merges: BTreeMap<String, GaugeMerge>,
}

impl Sources {
    /// The metrics of one registry.
    pub fn new(registry: Registry) -> Self {
        Self { registries: vec![registry], gauge_merges: BTreeMap::new() }
    }

    /// Adds another registry's metrics.
    #[must_use]
    pub fn and(mut self, registry: Registry) -> Self {
        self.registries.push(registry);
        self
    }

    /// Adds another registry's metrics, before all others where there is not room for all.
    #[must_use]
    pub(crate) fn led_by(mut self, registry: Registry) -> Self {
        self.registries.insert(0, registry);
        self
    }

    /// Says how the gauge of this name merges. The default is [`GaugeMerge::LiveSum`].
    #[must_use]
    pub fn gauge(mut self, name: impl Into<String>, merge: GaugeMerge) -> Self {
        self.gauge_merges.insert(name.into(), merge);
        self
    }

    /// Takes the present values of all metrics. `born_at_ms` is when this writer was born, `now_ms` is now, both in
    /// milliseconds since the epoch.
    ///
    /// Summaries and untyped metrics cannot be merged and are left out; `prometheus` itself makes neither, only a
    /// hand-written collector could.
    pub(crate) fn gather(&self, born_at_ms: u64, now_ms: u64, cap: &mut SeriesCap) -> Families {
        let mut families = Families::new();
        cap.begin();
        for family in self.registries.iter().flat_map(Registry::gather) {
            for metric in family.get_metric() {
                let Some((kind, value)) = self.value(&family, metric, now_ms) else { continue };
                let (label_names, label_values) = labels(metric);
                let key = FamilyKey { name: family.name().to_owned(), kind, label_names };
                if !cap.admits(&key, &label_values) {
                    continue;
                }
                families
                    .entry(key)
                    .or_insert_with(|| Family {
                        help: family.help().to_owned(),
                        born_at_ms,
                        created_at_ms: born_at_ms,
                        series: BTreeMap::new(),
                    })
                    .series
                    .insert(label_values, value);
            }
        }
        families
    }

    fn value(&self, family: &MetricFamily, metric: &Metric, now_ms: u64) -> Option<(Kind, Value)> {
        match family.get_field_type() {
            MetricType::COUNTER => Some((Kind::Counter, Value::Sum(ExactSum::of([metric.get_counter().get_value()])))),
            MetricType::GAUGE => {
                let merge = self.gauge_merges.get(family.name()).copied().unwrap_or_default();
                let value = metric.get_gauge().get_value();
                let value = match merge {
                    GaugeMerge::LiveSum => Value::Sum(ExactSum::of([value])),
                    GaugeMerge::MostRecent => Value::Latest { at_ms: now_ms, value },
                    GaugeMerge::LiveMax | GaugeMerge::LiveMin | GaugeMerge::Max | GaugeMerge::Min => {
                        Value::Extreme(value)
                    }
                };
                Some((Kind::Gauge(merge), value))
            }
            MetricType::HISTOGRAM => {
                let histogram = metric.get_histogram();
                let buckets = histogram.get_bucket();
                // A collector may list the bucket up to +Inf; its count is that of all observations.
                let finite = buckets.iter().filter(|bucket| bucket.upper_bound() < f64::INFINITY);
                let bounds = Bounds::new(finite.clone().map(|bucket| bucket.upper_bound()).collect())?;
                let mut below = 0;
                let cumulated = finite.map(|bucket| bucket.cumulative_count()).chain([histogram.get_sample_count()]);
                let counts =
                    cumulated.map(|count| count.saturating_sub(std::mem::replace(&mut below, count))).collect();
                let sum = ExactSum::of([histogram.get_sample_sum()]);
                Some((Kind::Histogram(bounds), Value::Histogram { counts, sum }))
            }
            MetricType::SUMMARY | MetricType::UNTYPED => None,
        }
    }
}

/// The names of a metric's labels in ascending order, and their values in the same order.
fn labels(metric: &Metric) -> (Vec<String>, Vec<String>) {
    let mut pairs: Vec<_> =
        metric.get_label().iter().map(|pair| (pair.name().to_owned(), pair.value().to_owned())).collect();
    pairs.sort();
    pairs.into_iter().unzip()
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::{Gauge, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts};

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
        let families = sources.gather(10, 20, &mut SeriesCap::new(4));
        let found: Vec<_> = families
            .iter()
            .flat_map(|(key, family)| {
                family.series.iter().map(|(labels, value)| (key.name.as_str(), labels.join(","), value.clone()))
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
    fn a_series_beyond_the_cap_is_left_out_and_one_that_was_published_never_is() {
        let registry = Registry::new();
        let total = IntCounterVec::new(Opts::new("requests_total", "Requests."), &["user"]).unwrap();
        registry.register(Box::new(total.clone())).unwrap();
        let own = Registry::new();
        let alive = IntGauge::new("zzz_alive", "Alive.").unwrap();
        own.register(Box::new(alive.clone())).unwrap();
        let sources = Sources::new(registry).led_by(own);
        let mut cap = SeriesCap::new(3);
        let mut published = || {
            let families = sources.gather(1, 2, &mut cap);
            let series: Vec<_> = families.values().flat_map(|family| family.series.keys().cloned()).collect();
            (series.concat(), cap.refused())
        };

        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        ["m", "n"].iter().for_each(|user| total.with_label_values(&[user]).inc());
        assert_eq!(published(), (texts(&["m", "n"]), 0));
        ["a", "z"].iter().for_each(|user| total.with_label_values(&[user]).inc());
        assert_eq!(published(), (texts(&["m", "n"]), 2));
    }
}
