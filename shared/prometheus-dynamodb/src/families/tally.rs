//! Adding up the values of many writers of one structure, number by number.

use std::sync::Arc;

use crate::families::exact_sum::ExactSum;
use crate::families::merge::merge_value;
use crate::families::structure::{Structure, buckets};
use crate::families::values::{EntryValue, Values};
use crate::families::{Families, Family, GaugeMerge, Kind, Series, Value};

/// Sum of the values of writers that have the same structure. It is what [`merge`](crate::families::merge::merge) would
/// make of them, to the last bit, but nothing is looked up or allocated for a series.
#[derive(Debug)]
pub struct Tally {
    structure: Arc<Structure>,
    /// Time at which the youngest writer was born, in milliseconds since the epoch.
    born_at_ms: u64,
    /// Time since which each series counts, in milliseconds since the epoch.
    created_at_ms: Vec<u64>,
    /// Sum of the whole numbers in each slot that adds up.
    whole: Vec<u64>,
    /// Sum of the other numbers in each of these slots, and of whole numbers for which `whole` had no room.
    exact: Vec<ExactSum>,
    /// Values of the gauges that do not simply add up. Empty before the first writer.
    gauges: Vec<Value>,
    /// Kinds of these gauges, which decide how they merge.
    gauge_kinds: Vec<Kind>,
}

impl Tally {
    /// Creates an empty tally for this structure.
    pub fn new(structure: Arc<Structure>) -> Self {
        let gauges = structure.families().iter().filter(|family| is_other_gauge(&family.key.kind));
        let gauge_kinds =
            gauges.flat_map(|family| std::iter::repeat_n(family.key.kind.clone(), family.series.len())).collect();
        Self {
            born_at_ms: 0,
            created_at_ms: vec![u64::MAX; structure.series()],
            whole: vec![0; structure.additive()],
            exact: vec![ExactSum::default(); structure.additive()],
            gauges: Vec::new(),
            gauge_kinds,
            structure,
        }
    }

    /// Adds a writer's values, which must be those of this structure.
    pub fn add(&mut self, values: &Values) {
        let born_at_ms = values.born_at_ms;
        self.born_at_ms = self.born_at_ms.max(born_at_ms);
        let mut starts = values.cursor(0);
        for created_at_ms in &mut self.created_at_ms {
            *created_at_ms = (*created_at_ms).min(born_at_ms.wrapping_add(starts.whole()));
        }
        let first = self.structure.series();
        let gauges = first + self.structure.additive();
        let additive = values.entries.iter().skip_while(|entry| entry.slot < first);
        for entry in additive.take_while(|entry| entry.slot < gauges) {
            let slot = entry.slot - first;
            match entry.value {
                EntryValue::Part(part) => self.exact[slot].add(part),
                EntryValue::Whole(whole) => match self.whole[slot].checked_add(whole) {
                    Some(sum) => self.whole[slot] = sum,
                    None => self.spill(slot, whole),
                },
            }
        }
        self.add_gauges(values, gauges);
    }

    fn add_gauges(&mut self, values: &Values, first: usize) {
        let mut cursor = values.cursor(first);
        let mut next = |kind: &Kind| {
            let value = cursor.number();
            match kind {
                Kind::Gauge(GaugeMerge::MostRecent) => {
                    Value::Latest { at_ms: values.born_at_ms.wrapping_add(cursor.whole()), value }
                }
                _ => Value::Extreme(value),
            }
        };
        if self.gauges.is_empty() {
            self.gauges = self.gauge_kinds.iter().map(next).collect();
        } else {
            let kinds = self.gauge_kinds.iter();
            self.gauges.iter_mut().zip(kinds).for_each(|(gauge, kind)| merge_value(kind, gauge, next(kind)));
        }
    }

    /// Moves what `whole` holds to `exact`, because `whole` has no room for one more number, and puts that number in
    /// its place. A bucket that overflowed shows the largest count, so it does not matter how much more is kept.
    fn spill(&mut self, slot: usize, whole: u64) {
        let full = std::mem::replace(&mut self.whole[slot], whole);
        halves(full).into_iter().for_each(|half| self.exact[slot].add(half));
    }

    /// Returns the sum as families.
    pub fn into_families(self) -> Families {
        let mut created_at_ms = self.created_at_ms.into_iter();
        let mut additive = self.whole.into_iter().zip(self.exact);
        let mut gauges = self.gauges.into_iter();
        let sum = |(whole, mut exact): (u64, ExactSum)| {
            halves(whole).into_iter().for_each(|half| exact.add(half));
            exact
        };
        // `exact` is not 0 only if the count of this bucket overflowed.
        let count = |(whole, exact): (u64, ExactSum)| if exact.value() == 0.0 { whole } else { u64::MAX };
        let mut families = Families::new();
        for structure in self.structure.families() {
            let series = structure.series.iter().map(|label_values| {
                let mut next = || additive.next().expect("the structure has as many slots");
                let value = match &structure.key.kind {
                    Kind::Counter | Kind::Gauge(GaugeMerge::LiveSum) => Value::Sum(sum(next())),
                    Kind::Histogram(bounds) => {
                        let counts = (0..buckets(bounds)).map(|_| count(next())).collect();
                        Value::Histogram { counts, sum: sum(next()) }
                    }
                    Kind::Gauge(_) => gauges.next().expect("a tally without any writer is not asked for"),
                };
                let created_at_ms = created_at_ms.next().expect("there is one for each series");
                (label_values.clone(), Series { created_at_ms, value })
            });
            let series = series.collect();
            let family =
                Family { help: structure.help.clone(), born_at_ms: self.born_at_ms, series, ..Family::default() };
            families.insert(structure.key.clone(), family);
        }
        families
    }
}

/// Returns whether this is a gauge that does not simply add up.
fn is_other_gauge(kind: &Kind) -> bool {
    matches!(kind, Kind::Gauge(merge) if *merge != GaugeMerge::LiveSum)
}

/// Returns two numbers whose exact sum is `whole`.
fn halves(whole: u64) -> [f64; 2] {
    let low = whole & u64::from(u32::MAX);
    [(whole - low) as f64, low as f64]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families::merge::merge;
    use crate::testing::{families, of_one_writer, values_like};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_tally_is_what_merging_gives_to_the_last_bit(
            writers in families().prop_flat_map(|families| prop::collection::vec(values_like(families), 1..6)),
        ) {
            let structure = Arc::new(Structure::of(&writers[0]));
            let mut tally = Tally::new(Arc::clone(&structure));
            let mut merged = Families::new();
            for writer in writers {
                tally.add(&structure.values(&writer).unwrap());
                merge(&mut merged, writer);
            }
            let tallied = tally.into_families();
            // All is equal: what a page shows, and what it does not (help texts, births, start times).
            prop_assert_eq!(format!("{:?}", crate::scrape::page::Page::new(tallied.clone(), &[])), format!("{:?}", crate::scrape::page::Page::new(merged.clone(), &[])));
            prop_assert_eq!(tallied, merged);
        }
    }

    #[test]
    fn numbers_beyond_64_bits_are_kept() {
        use crate::testing::one;
        let of = |total: f64| of_one_writer(one("x", Kind::Counter, Value::Sum(ExactSum::of([total]))));
        let structure = Arc::new(Structure::of(&of(0.0)));
        let mut tally = Tally::new(Arc::clone(&structure));
        let mut merged = Families::new();
        for _ in 0..5000 {
            let writer = of(crate::families::values::MAX_WHOLE as f64);
            tally.add(&structure.values(&writer).unwrap());
            merge(&mut merged, writer);
        }
        assert_eq!(tally.into_families(), merged);

        let bucket = |count: u64| {
            let kind = Kind::Histogram(crate::families::Bounds::default());
            one("x", kind, Value::Histogram { counts: vec![count], sum: ExactSum::default() })
        };
        let structure = Arc::new(Structure::of(&bucket(0)));
        let mut tally = Tally::new(Arc::clone(&structure));
        [u64::MAX - 1, 7, 3].into_iter().for_each(|count| tally.add(&structure.values(&bucket(count)).unwrap()));
        assert_eq!(tally.into_families(), bucket(u64::MAX));
    }
}
