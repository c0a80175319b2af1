//! The families that registries report, in the types of the `prometheus` crate.

use prometheus::proto::{Metric, MetricFamily, MetricType};

use crate::families::{Bounds, FamilyKey, GaugeMerge, Kind};
use crate::publish::counted::Reading;
use crate::publish::refusal::Refusal;
use crate::publish::sample::Sample;
#[allow(unused_imports, reason = "used if `prometheus` has its feature `protobuf`")]
use crate::publish::value::Value as _;

/// One gathering of some registries.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    /// The families of each registry.
    pub registries: Vec<Vec<MetricFamily>>,
}

impl Gathered {
    /// Returns all metrics, in order.
    pub(crate) fn metrics(&self) -> impl Iterator<Item = &Metric> {
        self.families().flat_map(MetricFamily::get_metric)
    }

    /// Returns whether `other` lists the same series with the same help texts, types and bounds, in the same order.
    pub(crate) fn lists_the_same_as(&self, other: &Self) -> bool {
        self.registries.len() == other.registries.len()
            && self.registries.iter().zip(&other.registries).all(|(own, other)| own.len() == other.len())
            && self.families().zip(other.families()).all(|(own, other)| is_same_family(own, other))
    }

    fn families(&self) -> impl Iterator<Item = &MetricFamily> {
        self.registries.iter().flatten()
    }
}

fn is_same_family(one: &MetricFamily, other: &MetricFamily) -> bool {
    one.name() == other.name()
        && one.help() == other.help()
        && one.get_field_type() == other.get_field_type()
        && one.get_metric().len() == other.get_metric().len()
        && one.get_metric().iter().zip(other.get_metric()).all(|(one, other)| {
            one.get_label() == other.get_label() && bounds(one).map(f64::to_bits).eq(bounds(other).map(f64::to_bits))
        })
}

/// Returns the upper bounds of a histogram's buckets. Other metrics have none.
fn bounds(metric: &Metric) -> impl Iterator<Item = f64> {
    metric.get_histogram().get_bucket().iter().map(|bucket| bucket.upper_bound())
}

/// Returns the key of the metric's family, and the values of the metric's labels. `merge` says how the metric merges if it
/// is a gauge.
///
/// Refuses summaries and untyped metrics, which cannot be merged. `prometheus` itself makes neither; only a hand-written
/// collector could.
pub(super) fn key(
    family: &MetricFamily,
    metric: &Metric,
    merge: GaugeMerge,
) -> Result<(FamilyKey, Vec<String>), Refusal> {
    let kind = match family.get_field_type() {
        MetricType::COUNTER => Kind::Counter,
        MetricType::GAUGE => Kind::Gauge(merge),
        // A collector may list the bucket up to +Inf. Its count is the number of all observations, which stands elsewhere.
        MetricType::HISTOGRAM => {
            let finite = bounds(metric).filter(|bound| *bound != f64::INFINITY);
            Kind::Histogram(Bounds::new(finite.collect()).ok_or(Refusal::Bounds)?)
        }
        MetricType::SUMMARY | MetricType::UNTYPED => return Err(Refusal::Kind),
    };
    let mut labels: Vec<_> =
        metric.get_label().iter().map(|pair| (pair.name().to_owned(), pair.value().to_owned())).collect();
    // A label whose value is empty counts as no label.
    labels.retain(|(_, value)| !value.is_empty());
    labels.sort();
    let (label_names, label_values) = labels.into_iter().unzip();
    Ok((FamilyKey { name: family.name().to_owned(), kind, label_names }, label_values))
}

/// Returns the sample of a metric of this kind. Puts the counts of a histogram's buckets into `counts`.
pub(super) fn sample<'a>(metric: &Metric, kind: &Kind, counts: &'a mut Vec<u64>) -> Sample<'a> {
    counts.clear();
    match kind {
        Kind::Counter => Sample::Counted(Reading { counts, sum: metric.get_counter().get_value() }),
        Kind::Gauge(_) => Sample::Gauge(metric.get_gauge().get_value()),
        Kind::Histogram(_) => {
            let histogram = metric.get_histogram();
            let finite = histogram.get_bucket().iter().filter(|bucket| bucket.upper_bound() != f64::INFINITY);
            let mut below = 0;
            for count in finite.map(|bucket| bucket.cumulative_count()).chain([histogram.get_sample_count()]) {
                counts.push(count.saturating_sub(below));
                below = count;
            }
            Sample::Counted(Reading { counts, sum: histogram.get_sample_sum() })
        }
    }
}
