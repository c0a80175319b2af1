//! Merges the families of many writers into one.
//!
//! Merging is commutative and associative to the last bit of every number, so the result depends neither on the order
//! of reading nor on the grouping by folding.

use std::collections::btree_map::Entry;

use crate::families::{Families, Family, GaugeMerge, Kind, Value};

/// Adds `other` to `merged`.
pub fn merge(merged: &mut Families, other: Families) {
    for (key, family) in other {
        match merged.entry(key) {
            Entry::Vacant(entry) => {
                entry.insert(family);
            }
            Entry::Occupied(mut entry) => {
                let kind = entry.key().kind.clone();
                merge_family(&kind, entry.get_mut(), family);
            }
        }
    }
}

/// Returns the families of a writer that is live.
pub fn alive(mut families: Families) -> Families {
    families.values_mut().for_each(|family| family.live = true);
    families
}

/// Returns what remains of a writer's families once the writer is no longer live: its counts stay for ever, its live
/// gauges do not. A live sum stays as 0, so that its series does not vanish with the last environment. Of a largest or
/// smallest live value only the family remains, so that the page knows of its type as long as it knows of others.
pub fn retire(mut families: Families) -> Families {
    for (key, family) in &mut families {
        match key.kind {
            Kind::Gauge(GaugeMerge::LiveMax | GaugeMerge::LiveMin) => {
                family.ended_since_ms = family.oldest_ms();
                family.series.clear();
            }
            Kind::Gauge(GaugeMerge::LiveSum) => {
                family.series.values_mut().for_each(|series| series.value = Value::Sum(Default::default()));
            }
            _ => {}
        }
    }
    families
}

/// Subtracts from a writer's families what it counted under an earlier id. Gauges are not counts, and stay as they are.
pub fn subtract(families: &mut Families, baseline: &Families) {
    for (key, family) in families {
        let (Kind::Counter | Kind::Histogram(_), Some(baseline)) = (&key.kind, baseline.get(key)) else { continue };
        for (label_values, series) in &mut family.series {
            match (&mut series.value, baseline.series.get(label_values).map(|series| &series.value)) {
                (Value::Sum(sum), Some(Value::Sum(baseline))) => sum.subtract(baseline),
                (Value::Histogram { counts, sum }, Some(Value::Histogram { counts: baseline, sum: baseline_sum })) => {
                    counts
                        .iter_mut()
                        .zip(baseline)
                        .for_each(|(count, counted)| *count = count.saturating_sub(*counted));
                    sum.subtract(baseline_sum);
                }
                _ => {}
            }
        }
    }
}

fn merge_family(kind: &Kind, merged: &mut Family, other: Family) {
    // The youngest writer's help text is shown. Between writers that were born at the same time the order of the texts
    // decides, so that the result does not depend on the order of merging.
    let help = (merged.born_at_ms, std::mem::take(&mut merged.help));
    (merged.born_at_ms, merged.help) = help.max((other.born_at_ms, other.help));
    merged.ended_since_ms = merged.ended_since_ms.into_iter().chain(other.ended_since_ms).min();
    merged.live |= other.live;
    for (label_values, series) in other.series {
        match merged.series.entry(label_values) {
            Entry::Vacant(entry) => {
                entry.insert(series);
            }
            Entry::Occupied(mut entry) => {
                let merged = entry.get_mut();
                merged.created_at_ms = merged.created_at_ms.min(series.created_at_ms);
                merge_value(kind, &mut merged.value, series.value);
            }
        }
    }
}

pub(crate) fn merge_value(kind: &Kind, merged: &mut Value, other: Value) {
    match (merged, other) {
        (Value::Sum(merged), Value::Sum(other)) => merged.merge(&other),
        (Value::Extreme(merged), Value::Extreme(other)) => {
            let other_wins = match kind {
                Kind::Gauge(GaugeMerge::LiveMin | GaugeMerge::Min) => other.total_cmp(merged).is_lt(),
                _ => other.total_cmp(merged).is_gt(),
            };
            // NaN is no value: any number wins over it.
            if (other_wins && !other.is_nan()) || merged.is_nan() {
                *merged = other;
            }
        }
        (Value::Latest { at_ms, value }, Value::Latest { at_ms: other_at_ms, value: other_value }) => {
            if (*at_ms).cmp(&other_at_ms).then(value.total_cmp(&other_value)).is_lt() {
                (*at_ms, *value) = (other_at_ms, other_value);
            }
        }
        (Value::Histogram { counts, sum }, Value::Histogram { counts: other_counts, sum: other_sum }) => {
            counts.iter_mut().zip(other_counts).for_each(|(count, other)| *count = count.saturating_add(other));
            sum.merge(&other_sum);
        }
        (merged, other) => unreachable!("a {kind:?} has one form of value, not {merged:?} and {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families::exact_sum::ExactSum;
    use crate::testing::{families, one};
    use proptest::prelude::*;

    fn merged(parts: impl IntoIterator<Item = Families>) -> Families {
        let mut all = Families::new();
        parts.into_iter().for_each(|part| merge(&mut all, part));
        all
    }

    #[test]
    fn a_gauge_is_merged_as_it_says() {
        let gauge = |merge, value| one("g", Kind::Gauge(merge), value);
        for (merge, expected) in
            [(GaugeMerge::Max, 2.0), (GaugeMerge::LiveMax, 2.0), (GaugeMerge::Min, -1.0), (GaugeMerge::LiveMin, -1.0)]
        {
            let found = merged([-1.0, 2.0, 0.5].map(|value| gauge(merge, Value::Extreme(value))));
            assert_eq!(found, gauge(merge, Value::Extreme(expected)), "{merge:?}");
        }
        let sum = |values: &[f64]| gauge(GaugeMerge::LiveSum, Value::Sum(ExactSum::of(values.iter().copied())));
        assert_eq!(merged([sum(&[-1.0]), sum(&[2.0])]), sum(&[1.0]));
        let latest = |at_ms, value| gauge(GaugeMerge::MostRecent, Value::Latest { at_ms, value });
        assert_eq!(merged([latest(1, 7.0), latest(3, -5.0), latest(2, 6.0)]), latest(3, -5.0));
    }

    #[test]
    fn of_an_environment_that_is_gone_counts_remain_and_live_gauges_do_not() {
        let sum = |value| Value::Sum(ExactSum::of([value]));
        let remain = [
            one("counter_total", Kind::Counter, sum(3.0)),
            one("max", Kind::Gauge(GaugeMerge::Max), Value::Extreme(3.0)),
            one("min", Kind::Gauge(GaugeMerge::Min), Value::Extreme(3.0)),
            one("latest", Kind::Gauge(GaugeMerge::MostRecent), Value::Latest { at_ms: 1, value: 3.0 }),
        ];
        let live = [
            one("live_max", Kind::Gauge(GaugeMerge::LiveMax), Value::Extreme(3.0)),
            one("live_min", Kind::Gauge(GaugeMerge::LiveMin), Value::Extreme(3.0)),
            one("live_sum", Kind::Gauge(GaugeMerge::LiveSum), sum(3.0)),
        ];
        let ended = |name| {
            let mut families =
                live.iter().find(|families| families.keys().any(|key| key.name == name)).unwrap().clone();
            families
                .values_mut()
                .for_each(|family| (family.series, family.ended_since_ms) = (Default::default(), Some(0)));
            families
        };
        let zero = one("live_sum", Kind::Gauge(GaugeMerge::LiveSum), Value::Sum(Default::default()));
        let expected = merged(remain.clone().into_iter().chain([zero]).chain(["live_max", "live_min"].map(ended)));
        assert_eq!(retire(merged(remain.into_iter().chain(live))), expected);
    }

    #[test]
    fn of_gauges_any_number_wins_over_what_is_none() {
        let gauge = |merge, value| one("g", Kind::Gauge(merge), Value::Extreme(value));
        for merge in [GaugeMerge::Max, GaugeMerge::LiveMax, GaugeMerge::Min, GaugeMerge::LiveMin] {
            for number in [1.0, f64::INFINITY, f64::NEG_INFINITY] {
                // In the total order of `f64`, one of these is above every number, and the other is below.
                for none in [f64::NAN, -f64::NAN] {
                    for pair in [[none, number], [number, none]] {
                        let found = merged(pair.map(|value| gauge(merge, value)));
                        assert_eq!(found, gauge(merge, number), "{merge:?} of {pair:?}");
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn neither_order_nor_grouping_shows(a in families(), b in families(), c in families()) {
            let left = merged([merged([a.clone(), b.clone()]), c.clone()]);
            let right = merged([a.clone(), merged([b.clone(), c.clone()])]);
            let turned = merged([c, b, a]);
            prop_assert_eq!(&left, &right);
            prop_assert_eq!(&left, &turned);
        }

        #[test]
        fn what_was_subtracted_and_is_merged_again_counts_once(earlier in families(), since in families()) {
            let counts_of = |families: Families| -> Families {
                families.into_iter().filter(|(key, _)| !matches!(key.kind, Kind::Gauge(_))).collect()
            };
            let current = counts_of(merged([earlier.clone(), since]));
            let mut rest = current.clone();
            subtract(&mut rest, &earlier);
            prop_assert_eq!(merged([counts_of(earlier), rest]), current);
        }

        #[test]
        fn retiring_may_come_before_or_after_merging(a in families(), b in families()) {
            prop_assert_eq!(retire(merged([a.clone(), b.clone()])), merged([retire(a), retire(b)]));
        }
    }
}
