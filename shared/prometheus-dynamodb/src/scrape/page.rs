//! Decides what a scrape shows of merged families, in whatever format it is then written.

use std::collections::{BTreeMap, BTreeSet};

use strum::{AsRefStr, VariantArray};

use crate::families::merge::merge;
use crate::families::{Bounds, Families, Family, FamilyKey, Kind, Series, Value};

/// The families of a scrape, in ascending order of their names.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Page {
    /// Families that are shown.
    pub families: Vec<PageFamily>,
    /// Families that could not be shown as they were published.
    pub conflicts: Vec<Conflict>,
}

/// One family as it is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct PageFamily {
    /// The metric's name.
    pub name: String,
    /// The help text.
    pub help: String,
    /// The type.
    pub kind: PageKind,
    /// The series, in a stable order.
    pub series: Vec<PageSeries>,
}

/// A type as the exposition formats know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageKind {
    /// A number that only ever grows.
    Counter,
    /// A number that goes up and down.
    Gauge,
    /// Buckets, a sum and a count.
    Histogram,
}

impl PageFamily {
    /// Returns the names of the family and of its samples.
    pub(crate) fn sample_names(&self) -> Vec<String> {
        sample_names(&self.name, self.kind == PageKind::Histogram)
    }
}

/// Returns the names of a family and of its samples.
pub(crate) fn sample_names(family: &str, is_histogram: bool) -> Vec<String> {
    let suffixes: &[&str] = if is_histogram { &["", "_bucket", "_sum", "_count"] } else { &[""] };
    suffixes.iter().map(|suffix| format!("{family}{suffix}")).collect()
}

/// One series as it is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct PageSeries {
    /// Names and values of the labels, in ascending order of the names.
    pub labels: Vec<(String, String)>,
    /// The value.
    pub value: PageValue,
    /// Time since which the series counts, in milliseconds since the epoch, if it counts and the time is known.
    pub created_at_ms: Option<u64>,
}

/// A value as it is shown.
#[derive(Debug, Clone, PartialEq)]
pub enum PageValue {
    /// Value of a counter or gauge.
    Number(f64),
    /// Value of a histogram.
    Histogram {
        /// Finite upper bounds in ascending order, each with the number of observations up to it.
        buckets: Vec<(f64, u64)>,
        /// Number of all observations, which is the bucket up to +Inf.
        count: u64,
        /// Sum of all observations.
        sum: f64,
    },
}

/// Families that do not go together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The metric's name.
    pub name: String,
    /// Difference or clash between the families, which decides what is shown.
    pub kind: ConflictKind,
}

/// Reason why families do not go together, and what is shown of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, VariantArray, AsRefStr)]
#[strum(serialize_all = "snake_case")]
pub enum ConflictKind {
    /// Families of one name differ in type, or in how a gauge merges: the type that came last is shown, the rest is
    /// not.
    Type,
    /// Families of one name differ in the names of their labels: all are shown, each with its own labels, so that sums
    /// stay exact.
    Labels,
    /// Families of one name differ in the bounds of their buckets: the buckets that all have in common are shown, which
    /// is exact.
    Bounds,
    /// Families of different names have samples of the same name, such as a histogram `x` and a counter `x_count`: the
    /// histogram is shown, or the family that comes first in the alphabet. A family whose name is reserved is not
    /// shown.
    Name,
}

impl Page {
    /// Creates the page that shows these families beside others whose names are `reserved`.
    pub fn new(families: Families, reserved: &[&str]) -> Self {
        let mut by_name: BTreeMap<String, Vec<(FamilyKey, Family)>> = BTreeMap::new();
        for (key, family) in families {
            by_name.entry(key.name.clone()).or_default().push((key, family));
        }
        let mut page = Self::default();
        for (name, variants) in by_name {
            page.add(name, variants);
        }
        page.drop_clashes(reserved);
        page
    }

    /// Removes the times since which series count: in OpenMetrics each of them is a sample of its own.
    pub(crate) fn forget_created(&mut self) {
        self.families.iter_mut().flat_map(|family| &mut family.series).for_each(|series| series.created_at_ms = None);
    }

    /// Removes families that have a sample in common with another family, because a sample that occurs twice makes the
    /// whole page invalid.
    fn drop_clashes(&mut self, reserved: &[&str]) {
        let mut taken: BTreeSet<String> = reserved.iter().map(|&name| name.to_owned()).collect();
        let mut clashing = BTreeSet::new();
        let (histograms, others): (Vec<_>, Vec<_>) =
            self.families.iter().partition(|family| family.kind == PageKind::Histogram);
        for family in histograms.into_iter().chain(others) {
            let names = family.sample_names();
            if names.iter().any(|name| taken.contains(name)) {
                clashing.insert(family.name.clone());
            } else {
                taken.extend(names);
            }
        }
        self.families.retain(|family| !clashing.contains(&family.name));
        self.conflicts.extend(clashing.into_iter().map(|name| Conflict { name, kind: ConflictKind::Name }));
    }

    fn add(&mut self, name: String, mut variants: Vec<(FamilyKey, Family)>) {
        let Some(shown_kind) = shown_kind(&variants) else { return };
        // A family that has no series, as a live gauge has none once its environments have ended, conflicts with no other.
        variants.retain(|(_, family)| !family.series.is_empty());
        let all = variants.len();
        let shown: Vec<_> = variants.into_iter().filter(|(key, _)| go_together(&key.kind, &shown_kind)).collect();
        // The key breaks ties, so that the choice does not depend on the order of reading.
        let youngest = shown.iter().max_by_key(|(key, family)| (family.born_at_ms, key));
        let help = youngest.map(|(_, family)| family.help.clone()).unwrap_or_default();
        let mut conflict = |kind, found: bool| {
            if found {
                self.conflicts.push(Conflict { name: name.clone(), kind });
            }
        };
        conflict(ConflictKind::Type, shown.len() < all);
        conflict(ConflictKind::Labels, shown.windows(2).any(|pair| pair[0].0.label_names != pair[1].0.label_names));
        conflict(ConflictKind::Bounds, shown.windows(2).any(|pair| pair[0].0.kind != pair[1].0.kind));

        if shown.is_empty() {
            return;
        }
        let mut series = Vec::new();
        for (key, family) in on_common_bounds(shown) {
            for (label_values, Series { created_at_ms, value }) in family.series {
                let labels = key.label_names.iter().cloned().zip(label_values).collect();
                let counts = !matches!(key.kind, Kind::Gauge(_)) && created_at_ms > 0;
                let created_at_ms = counts.then_some(created_at_ms);
                series.push(PageSeries { labels, value: shown_value(&key.kind, value), created_at_ms });
            }
        }
        let kind = match shown_kind {
            Kind::Counter => PageKind::Counter,
            Kind::Gauge(_) => PageKind::Gauge,
            Kind::Histogram(_) => PageKind::Histogram,
        };
        self.families.push(PageFamily { name, help, kind, series });
    }
}

/// Returns the type that is shown. Of several types, it is the one that came last, because dashboards will ask for that
/// type from now on. While two versions of a function run side by side, the choice does not change with each
/// environment that is born.
///
/// A type that no live environment has, and with which none was born for [`WITHDRAWN_AFTER_MS`] while others were, was
/// rolled back and does not count.
fn shown_kind(variants: &[(FamilyKey, Family)]) -> Option<Kind> {
    // Each type, with the time since which its oldest series counts, and the time at which the last environment with it
    // was born: the end of time if one is live, since it may stay for as long as it likes.
    let mut types: Vec<(&Kind, u64, u64)> = Vec::new();
    for (key, family) in variants {
        let (since_ms, last_ms) = (family.since_ms(), if family.live { u64::MAX } else { family.born_at_ms });
        match types.iter_mut().find(|(kind, _, _)| go_together(kind, &key.kind)) {
            Some((_, first, last)) => (*first, *last) = ((*first).min(since_ms), (*last).max(last_ms)),
            None => types.push((&key.kind, since_ms, last_ms)),
        }
    }
    let youngest = variants.iter().map(|(_, family)| family.born_at_ms).max()?;
    let current = types.iter().filter(|(_, _, last)| last.saturating_add(WITHDRAWN_AFTER_MS) >= youngest);
    current.max_by_key(|(kind, first, _)| (*first, *kind)).map(|(kind, _, _)| (*kind).clone())
}

/// Time without new environments after which a type that no live one has counts as withdrawn, in milliseconds. Lambda
/// replaces environments every few hours, so a version that is in use has younger ones.
const WITHDRAWN_AFTER_MS: u64 = 3 * 60 * 60 * 1000;

/// Returns whether families of these kinds can stand under one name: histograms with any bounds, otherwise only equal
/// kinds.
pub(crate) fn go_together(a: &Kind, b: &Kind) -> bool {
    matches!((a, b), (Kind::Histogram(_), Kind::Histogram(_))) || a == b
}

/// Merges histograms whose bounds differ on the bounds that all of them have. The result is exact, because the count up
/// to a bound does not depend on the other bounds. Other families stay as they are.
fn on_common_bounds(variants: Vec<(FamilyKey, Family)>) -> Families {
    let bounds_of = |key: &FamilyKey| match &key.kind {
        Kind::Histogram(bounds) => Some(bounds.clone()),
        Kind::Counter | Kind::Gauge(_) => None,
    };
    let common = variants.iter().filter_map(|(key, _)| bounds_of(key)).reduce(|a, b| a.intersection(&b));
    let mut merged = Families::new();
    for (mut key, mut family) in variants {
        if let (Some(bounds), Some(common)) = (bounds_of(&key), &common) {
            for series in family.series.values_mut() {
                if let Value::Histogram { counts, .. } = &mut series.value {
                    *counts = rebucketed(counts, &bounds, common);
                }
            }
            key.kind = Kind::Histogram(common.clone());
        }
        merge(&mut merged, Families::from([(key, family)]));
    }
    merged
}

/// Returns the counts of the wider buckets that remain if only the bounds in `kept` do.
fn rebucketed(counts: &[u64], bounds: &Bounds, kept: &Bounds) -> Vec<u64> {
    let mut wider = Vec::with_capacity(kept.as_slice().len() + 1);
    let mut gathered = 0u64;
    for (i, count) in counts.iter().enumerate() {
        gathered = gathered.saturating_add(*count);
        if bounds.as_slice().get(i).is_none_or(|bound| kept.contains(*bound)) {
            wider.push(std::mem::take(&mut gathered));
        }
    }
    wider
}

fn shown_value(kind: &Kind, value: Value) -> PageValue {
    match (value, kind) {
        (Value::Histogram { counts, sum }, Kind::Histogram(bounds)) => {
            let mut count = 0u64;
            let mut cumulated = counts.iter().map(|in_bucket| {
                count = count.saturating_add(*in_bucket);
                count
            });
            let buckets = bounds.as_slice().iter().copied().zip(cumulated.by_ref()).collect();
            cumulated.for_each(drop);
            PageValue::Histogram { buckets, count, sum: sum.value() }
        }
        (Value::Sum(sum), _) => PageValue::Number(sum.value()),
        (Value::Extreme(value) | Value::Latest { value, .. }, _) => PageValue::Number(value),
        (value @ Value::Histogram { .. }, kind) => unreachable!("a {kind:?} does not have the value {value:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families::GaugeMerge;
    use crate::families::exact_sum::ExactSum;
    use crate::protocol::reading::{WriterLife, count};
    use crate::table::wire;
    use crate::testing::{families, one};
    use proptest::prelude::*;

    fn counter(name: &str, total: f64) -> Families {
        one(name, Kind::Counter, Value::Sum(ExactSum::of([total])))
    }

    fn histogram(bounds: &[f64], counts: &[u64], sum: f64) -> Families {
        let kind = Kind::Histogram(Bounds::new(bounds.to_vec()).unwrap());
        one("seconds", kind, Value::Histogram { counts: counts.to_vec(), sum: ExactSum::of([sum]) })
    }

    fn page(parts: impl IntoIterator<Item = Families>) -> Page {
        let mut all = Families::new();
        parts.into_iter().for_each(|part| merge(&mut all, part));
        Page::new(all, &[])
    }

    /// Returns the page of writers in these states.
    fn page_of(writers: impl IntoIterator<Item = (Families, WriterLife)>) -> Page {
        let mut all = Families::new();
        writers.into_iter().for_each(|(families, life)| count(&mut all, families, life));
        Page::new(all, &[])
    }

    #[test]
    fn changed_bounds_are_shown_where_they_agree() {
        let page =
            page([histogram(&[0.1, 0.5, 1.0], &[1, 2, 3, 4], 10.0), histogram(&[0.1, 1.0, 5.0], &[5, 6, 7, 8], 0.5)]);
        assert_eq!(page.conflicts, [Conflict { name: "seconds".into(), kind: ConflictKind::Bounds }]);
        assert_eq!(
            page.families[0].series[0].value,
            PageValue::Histogram { buckets: vec![(0.1, 6), (1.0, 17)], count: 36, sum: 10.5 }
        );
    }

    /// Returns these families as if the first environment with them had been born at hour `first`, and the last at hour
    /// `last`.
    fn born(mut families: Families, first: u64, last: u64) -> Families {
        const HOUR_MS: u64 = 60 * 60 * 1000;
        for family in families.values_mut() {
            family.born_at_ms = last * HOUR_MS;
            family.series.values_mut().for_each(|series| series.created_at_ms = first * HOUR_MS);
        }
        families
    }

    #[test]
    fn of_two_types_the_one_that_came_last_is_shown_until_it_is_withdrawn() {
        let gauge = || one("x", Kind::Gauge(GaugeMerge::LiveSum), Value::Sum(ExactSum::of([7.0])));
        for (counter_born, gauge_born, gauge_life, shown) in [
            ((0, 10), (9, 9), WriterLife::Closed, PageKind::Gauge),
            // Two versions side by side, whichever environment is the youngest at the moment.
            ((0, 12), (9, 11), WriterLife::Closed, PageKind::Gauge),
            ((0, 12), (9, 12), WriterLife::Closed, PageKind::Gauge),
            ((0, 12), (9, 13), WriterLife::Closed, PageKind::Gauge),
            ((0, 13), (9, 9), WriterLife::Live, PageKind::Gauge),
            ((0, 13), (9, 9), WriterLife::Closed, PageKind::Counter),
        ] {
            let counter = (born(counter("x", 3.0), counter_born.0, counter_born.1), WriterLife::Live);
            let gauge = (born(gauge(), gauge_born.0, gauge_born.1), gauge_life);
            for order in [[counter.clone(), gauge.clone()], [gauge, counter]] {
                let page = page_of(order);
                assert_eq!(page.conflicts, [Conflict { name: "x".into(), kind: ConflictKind::Type }]);
                assert_eq!(page.families[0].kind, shown, "{counter_born:?} {gauge_born:?}");
            }
        }
    }

    /// Shows that a page's type does not change each time an environment with the newer type begins or ends.
    #[test]
    fn the_choice_of_a_type_outlasts_the_environments_of_a_live_gauge() {
        let base = |parts: Vec<(Families, WriterLife)>| {
            let mut base = Families::new();
            parts.into_iter().for_each(|(families, life)| count(&mut base, families, life));
            (wire::decode(&wire::encode(&base, 0).unwrap()).unwrap(), WriterLife::Sealed)
        };
        for merge in [GaugeMerge::LiveMax, GaugeMerge::LiveMin] {
            let gauge = |first, last| born(one("x", Kind::Gauge(merge), Value::Extreme(7.0)), first, last);
            let counter = |first, last| born(counter("x", 3.0), first, last);
            let kinds = |page: &Page| page.families.iter().map(|family| family.kind).collect::<Vec<_>>();
            let conflicts = [Conflict { name: "x".into(), kind: ConflictKind::Type }];

            // The gauge came last.
            let old = (counter(0, 12), WriterLife::Live);
            let ended = [(gauge(9, 9), WriterLife::Closed), (gauge(11, 11), WriterLife::Idle)];
            let live = (gauge(12, 12), WriterLife::Live);
            for ended in [ended.to_vec(), vec![base(ended.to_vec())]] {
                let page = page_of(ended.clone().into_iter().chain([old.clone()]));
                assert_eq!((kinds(&page).as_slice(), page.conflicts.as_slice()), (&[][..], &conflicts[..]));
                let page = page_of(ended.into_iter().chain([old.clone(), live.clone()]));
                assert_eq!(
                    (kinds(&page).as_slice(), page.conflicts.as_slice()),
                    (&[PageKind::Gauge][..], &conflicts[..])
                );
            }

            // The counter came last. Once the gauge has ended, nothing is left that is not shown.
            let new = (counter(9, 12), WriterLife::Live);
            let ended = [(gauge(0, 8), WriterLife::Closed), (gauge(11, 11), WriterLife::Idle)];
            for ended in [ended.to_vec(), vec![base(ended.to_vec())]] {
                let page = page_of(ended.clone().into_iter().chain([new.clone()]));
                assert_eq!((kinds(&page).as_slice(), page.conflicts.as_slice()), (&[PageKind::Counter][..], &[][..]));
                let page = page_of(ended.into_iter().chain([new.clone(), live.clone()]));
                assert_eq!(
                    (kinds(&page).as_slice(), page.conflicts.as_slice()),
                    (&[PageKind::Counter][..], &conflicts[..])
                );
            }
        }
    }

    #[test]
    fn an_added_label_leaves_both_series_on_the_page() {
        let mut labelled = counter("x", 4.0);
        let (mut key, mut family) = labelled.pop_first().unwrap();
        key.label_names = vec!["verdict".into()];
        family.series = family.series.into_values().map(|series| (vec!["valid".into()], series)).collect();
        let page = page([counter("x", 3.0), Families::from([(key, family)])]);
        assert_eq!(page.conflicts, [Conflict { name: "x".into(), kind: ConflictKind::Labels }]);
        let total: Vec<_> = page.families[0].series.iter().map(|series| series.value.clone()).collect();
        assert_eq!(total, [PageValue::Number(3.0), PageValue::Number(4.0)]);
    }

    #[test]
    fn samples_of_one_name_are_shown_once() {
        let page = page([counter("seconds_count", 3.0), histogram(&[1.0], &[1, 2], 3.0), counter("sum", 1.0)]);
        assert_eq!(page.conflicts, [Conflict { name: "seconds_count".into(), kind: ConflictKind::Name }]);
        let names: Vec<_> = page.families.iter().map(|family| family.name.as_str()).collect();
        assert_eq!(names, ["seconds", "sum"]);
        assert_eq!(Page::new(counter("x", 1.0), &["x"]).families, []);
    }

    proptest! {
        #[test]
        fn a_page_is_always_consistent_with_itself(parts in prop::collection::vec(families(), 0..5)) {
            let page = page(parts);
            prop_assert!(page.families.windows(2).all(|pair| pair[0].name < pair[1].name));
            for series in page.families.iter().flat_map(|family| &family.series) {
                if let PageValue::Histogram { buckets, count, .. } = &series.value {
                    prop_assert!(buckets.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1));
                    prop_assert!(buckets.last().is_none_or(|(_, below)| below <= count));
                }
            }
        }
    }
}
