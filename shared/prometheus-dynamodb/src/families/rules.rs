//! Checks that families can be stored and read.
//!
//! Readers apply these rules to what they read, and writers to what they write: nothing that a reader would refuse may
//! ever be acknowledged.

use crate::families::merge::merge;
use crate::families::{Families, Family, FamilyKey, Kind};

/// Rule that a family breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FamilyFault {
    /// The metric's name is not allowed; see <https://prometheus.io/docs/concepts/data_model/>.
    #[error("the metric's name is not allowed")]
    MetricName,
    /// A label's name is not allowed, or the names are not in ascending order; see
    /// <https://prometheus.io/docs/concepts/data_model/>.
    #[error("a label's name is not allowed, or the names are not in ascending order")]
    LabelNames,
    /// A series must have a value for every label.
    #[error("a series has another number of label values than the family has labels")]
    LabelValues,
    /// The kind or the gauge's merge is a number that this version does not know.
    #[error("the kind is unknown")]
    Kind,
    /// A gauge that does not merge by a sum has exactly one value.
    #[error("a gauge has not exactly one value")]
    GaugeValue,
    /// Bounds must be finite and ascending.
    #[error("bucket bounds are not finite and ascending")]
    Bounds,
    /// There must be a count for every bucket.
    #[error("the number of bucket counts does not fit the bounds")]
    BucketCounts,
    /// No family and no series may occur twice.
    #[error("the family or one of its series occurs twice")]
    Duplicate,
}

/// Checks a family's name and labels.
pub fn check_names(key: &FamilyKey) -> Result<(), FamilyFault> {
    if !is_metric_name(&key.name) {
        return Err(FamilyFault::MetricName);
    }
    let ascending = key.label_names.windows(2).all(|pair| pair[0] < pair[1]);
    if !ascending || !key.label_names.iter().all(|name| is_label_name(name, &key.kind)) {
        return Err(FamilyFault::LabelNames);
    }
    Ok(())
}

/// Returns whether an environment may count `number` in a counter or a histogram's sum. A number that is not finite would
/// make the sum over all environments useless for ever, and so would numbers whose sum is not finite.
pub fn is_summable(number: f64) -> bool {
    number.abs() <= 1e300
}

/// Returns whether a stored `number` may be part of a sum: what a million environments may count, added up.
pub fn is_part_of_sum(number: f64) -> bool {
    number.abs() <= 1e306
}

/// Returns the families without labels whose value is empty.
pub fn normal(families: Families) -> Families {
    let mut normal = Families::new();
    families.into_iter().for_each(|(key, family)| merge(&mut normal, without_empty_labels(key, family)));
    normal
}

/// Returns the family without labels whose value is empty. To Prometheus, an empty label is the same as no label. The
/// series may then belong to several families.
pub fn without_empty_labels(key: FamilyKey, family: Family) -> Families {
    if family.series.keys().flatten().all(|value| !value.is_empty()) {
        return Families::from([(key, family)]);
    }
    let mut families = Families::new();
    for (label_values, one) in family.series {
        let (label_names, label_values) =
            key.label_names.iter().cloned().zip(label_values).filter(|(_, value)| !value.is_empty()).unzip();
        // The names of the labels that are left tell the same values apart, so no two series become one.
        let key = FamilyKey { label_names, ..key.clone() };
        let part = families.entry(key).or_insert_with(|| Family {
            help: family.help.clone(),
            born_at_ms: family.born_at_ms,
            ..Family::default()
        });
        part.series.insert(label_values, one);
    }
    families
}

/// Returns whether `name` can be a metric's name; see <https://prometheus.io/docs/concepts/data_model/>.
pub(crate) fn is_metric_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_' || b == b':')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
}

/// Returns whether `name` can be a label's name. Names with two leading underscores are reserved, and `le`
/// distinguishes a histogram's buckets.
fn is_label_name(name: &str, kind: &Kind) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !name.starts_with("__")
        && !(matches!(kind, Kind::Histogram(_)) && name == "le")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::families::exact_sum::ExactSum;
    use crate::families::{Bounds, Series, Value};

    fn check(name: &str, kind: Kind, label_names: &[&str]) -> Result<(), FamilyFault> {
        let label_names = label_names.iter().map(|&name| name.to_owned()).collect();
        check_names(&FamilyKey { name: name.to_owned(), kind, label_names })
    }

    #[test]
    fn names_are_those_of_prometheus_data_model() {
        for name in ["a", "A", "_", ":", "a:b_c9", "__a", "a__"] {
            assert_eq!(check(name, Kind::Counter, &[]), Ok(()), "{name}");
        }
        for name in ["", "9a", "a-b", "-a", "a b", "ä", "aä", "a.b"] {
            assert_eq!(check(name, Kind::Counter, &[]), Err(FamilyFault::MetricName), "{name}");
        }
        for name in ["a", "A", "_", "a_b9", "_a", "a__", "le"] {
            assert_eq!(check("m", Kind::Counter, &[name]), Ok(()), "{name}");
        }
        for name in ["", "9a", "a-b", "-a", "a:b", ":a", "ä", "aä", "__", "__a"] {
            assert_eq!(check("m", Kind::Counter, &[name]), Err(FamilyFault::LabelNames), "{name}");
        }
    }

    #[test]
    fn labels_are_ascending_and_none_stands_for_a_histograms_bound() {
        let histogram = Kind::Histogram(Bounds::new(vec![1.0]).unwrap());
        assert_eq!(check("m", histogram.clone(), &["a", "b"]), Ok(()));
        for label_names in [["a", "a"], ["b", "a"], ["a", "le"]] {
            assert_eq!(check("m", histogram.clone(), &label_names), Err(FamilyFault::LabelNames), "{label_names:?}");
        }
    }

    #[test]
    fn sums_stay_finite_whatever_a_million_environments_count() {
        for (number, summable, part) in [
            (0.0, true, true),
            (1e300, true, true),
            (-1e300, true, true),
            (1.1e300, false, true),
            (1e306, false, true),
            (-1e306, false, true),
            (1.1e306, false, false),
            (f64::INFINITY, false, false),
            (f64::NEG_INFINITY, false, false),
            (f64::NAN, false, false),
        ] {
            assert_eq!((is_summable(number), is_part_of_sum(number)), (summable, part), "{number}");
        }
    }

    #[test]
    fn an_empty_label_is_as_good_as_none() {
        let one = |value| Series { created_at_ms: 0, value: Value::Sum(ExactSum::of([value])) };
        let series = |all: &[(&[&str], f64)]| {
            let values = |values: &[&str]| values.iter().map(|&value| value.to_owned()).collect::<Vec<_>>();
            all.iter().map(|(labels, value)| (values(labels), one(*value))).collect::<BTreeMap<_, _>>()
        };
        let key = |label_names: &[&str]| FamilyKey {
            name: "m_total".into(),
            kind: Kind::Counter,
            label_names: label_names.iter().map(|&name| name.to_owned()).collect(),
        };
        let family = |all: &[(&[&str], f64)]| Family {
            help: "H.".into(),
            born_at_ms: 7,
            series: series(all),
            ..Family::default()
        };

        let all: &[(&[&str], f64)] = &[(&["", ""], 1.0), (&["x", ""], 2.0), (&["", "y"], 4.0), (&["x", "y"], 8.0)];
        let expected = Families::from([
            (key(&[]), family(&[(&[], 1.0)])),
            (key(&["a"]), family(&[(&["x"], 2.0)])),
            (key(&["b"]), family(&[(&["y"], 4.0)])),
            (key(&["a", "b"]), family(&[(&["x", "y"], 8.0)])),
        ]);
        assert_eq!(without_empty_labels(key(&["a", "b"]), family(all)), expected);

        let only_empty = without_empty_labels(key(&["a"]), family(&[(&[""], 1.0)]));
        assert_eq!(only_empty, Families::from([(key(&[]), family(&[(&[], 1.0)]))]));

        // What another writer has without the label adds up with it.
        let both = normal(Families::from([
            (key(&[]), family(&[(&[], 16.0)])),
            (key(&["a"]), family(&[(&[""], 32.0), (&["x"], 64.0)])),
        ]));
        let expected = Families::from([(key(&[]), family(&[(&[], 48.0)])), (key(&["a"]), family(&[(&["x"], 64.0)]))]);
        assert_eq!(both, expected);
    }
}
