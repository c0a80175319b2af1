//! Separates what hardly ever changes in families from what does.
//!
//! A writer's names, help texts, labels and bounds stay the same from one publish to the next, and are the same in
//! every environment of the same function. Only numbers and times differ. A [`Structure`] holds the former, and
//! [`Values`] hold the latter in the structure's order.

use std::collections::BTreeSet;

use crate::families::values::{Builder, Cursor, Values};
use crate::families::{Bounds, Families, Family, FamilyKey, GaugeMerge, Kind, Series, Value};

/// Largest number of slots that the values of a stored structure may have. It bounds the memory that a few bytes can
/// make a reader use by claiming that many series have many buckets.
const MAX_SLOTS: usize = 1 << 20;

/// Families without their numbers and times.
///
/// Values are laid out in *slots*. Each slot holds a number. There are three parts, and in each of them families and
/// series stand in the structure's order:
///
/// 1. one slot for each series, for the time since which the series counts;
/// 2. the slots that add up: one for a counter, and for a gauge that merges by [`GaugeMerge::LiveSum`]; for a
///    histogram, one for each bucket and one for the sum;
/// 3. one slot for every other gauge, and a second one if it merges by [`GaugeMerge::MostRecent`], for the time at
///    which it was published.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Structure {
    families: Vec<FamilyStructure>,
    series: usize,
    additive: usize,
    slot_kinds: Vec<SlotKind>,
}

/// One family without its numbers and times.
#[derive(Debug, Clone, PartialEq)]
pub struct FamilyStructure {
    /// Identity of the family.
    pub key: FamilyKey,
    /// The help text.
    pub help: String,
    /// The label values of its series.
    pub series: Vec<Vec<String>>,
}

/// Kind of number that a slot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SlotKind {
    /// A whole number below 2^64.
    Whole,
    /// An exact sum of numbers that can be summed; see [`is_part_of_sum`](crate::families::rules::is_part_of_sum).
    Counted,
    /// An exact sum of any numbers.
    Sum,
    /// Exactly one number.
    Number,
}

impl Structure {
    /// Returns the structure of these families.
    pub fn of(families: &Families) -> Self {
        let family = |(key, family): (&FamilyKey, &Family)| FamilyStructure {
            key: key.clone(),
            help: family.help.clone(),
            series: family.series.keys().cloned().collect(),
        };
        Self::new(families.iter().map(family).collect())
    }

    /// Creates a structure that has these families, each with its series, in this order.
    pub(crate) fn new(families: Vec<FamilyStructure>) -> Self {
        let slot_kinds = slot_kinds(&families);
        let series = families.iter().map(|family| family.series.len()).sum();
        let additive = families.iter().map(|family| family.series.len() * slots_of(&family.key.kind)[0]).sum();
        Self { families, series, additive, slot_kinds }
    }

    /// Creates a structure from families that were read, or returns `None` if its values would have more slots than are
    /// allowed.
    pub(crate) fn read(families: Vec<FamilyStructure>) -> Option<Self> {
        let slots = families.iter().try_fold(0usize, |slots, family| {
            let [additive, gauges] = slots_of(&family.key.kind);
            slots.checked_add(family.series.len().checked_mul(1 + additive + gauges)?)
        });
        slots.is_some_and(|slots| slots <= MAX_SLOTS).then(|| Self::new(families))
    }

    /// Returns whether the structure's values have no more slots than are allowed.
    pub(crate) fn can_be_read(&self) -> bool {
        self.slots() <= MAX_SLOTS
    }

    /// Returns the families, in order.
    pub fn families(&self) -> &[FamilyStructure] {
        &self.families
    }

    /// Returns the number of series, which is also the number of slots in the first part.
    pub(crate) fn series(&self) -> usize {
        self.series
    }

    /// Returns the number of all slots.
    pub(crate) fn slots(&self) -> usize {
        self.slot_kinds.len()
    }

    /// Returns the number of slots in the second part.
    pub(crate) fn additive(&self) -> usize {
        self.additive
    }

    /// Returns the kinds of all slots, in order.
    pub(crate) fn slot_kinds(&self) -> &[SlotKind] {
        &self.slot_kinds
    }

    /// Returns the values of these families.
    ///
    /// Returns `None` if the families have another structure, or if they were not all born at the same time, as the
    /// families of one writer are.
    pub fn values(&self, families: &Families) -> Option<Values> {
        let has_this = |((key, family), own): ((&FamilyKey, &Family), &FamilyStructure)| {
            own.key == *key && own.help == family.help && own.series.iter().eq(family.series.keys())
        };
        let born_at_ms = families.values().next().map(|family| family.born_at_ms).unwrap_or_default();
        let is_of_one_writer = families.values().all(|family| family.born_at_ms == born_at_ms);
        let has_all = families.len() == self.families.len() && families.iter().zip(&self.families).all(has_this);
        if !is_of_one_writer || !has_all {
            return None;
        }
        let mut values = Builder::new(born_at_ms);
        for series in families.values().flat_map(|family| family.series.values()) {
            values.start(series.created_at_ms);
            match &series.value {
                Value::Sum(sum) => values.sum(sum),
                Value::Histogram { counts, sum } => {
                    counts.iter().for_each(|count| values.count(*count));
                    values.sum(sum);
                }
                Value::Extreme(value) => values.gauge(*value),
                Value::Latest { at_ms, value } => values.gauge_at(*value, *at_ms),
            }
        }
        Some(values.finish())
    }

    /// Returns the families that have this structure and these values.
    pub fn families_of(&self, values: &Values) -> Families {
        let mut starts = values.cursor(0);
        let mut additive = values.cursor(self.series);
        let mut gauges = values.cursor(self.series + self.additive);
        let mut families = Families::new();
        for structure in &self.families {
            let series = structure.series.iter().map(|label_values| {
                let created_at_ms = values.born_at_ms.wrapping_add(starts.whole());
                let value = value_of(&structure.key.kind, values.born_at_ms, &mut additive, &mut gauges);
                (label_values.clone(), Series { created_at_ms, value })
            });
            let series = series.collect();
            let family =
                Family { help: structure.help.clone(), born_at_ms: values.born_at_ms, series, ..Family::default() };
            families.insert(structure.key.clone(), family);
        }
        families
    }

    /// Returns whether no family occurs twice, and no series within a family.
    pub(crate) fn has_no_duplicates(&self) -> bool {
        let keys: BTreeSet<_> = self.families.iter().map(|family| &family.key).collect();
        let differ =
            |family: &FamilyStructure| family.series.iter().collect::<BTreeSet<_>>().len() == family.series.len();
        keys.len() == self.families.len() && self.families.iter().all(differ)
    }
}

/// Returns the number of slots that a series of this kind has in the second part, and in the third part.
pub(crate) fn slots_of(kind: &Kind) -> [usize; 2] {
    match kind {
        Kind::Counter | Kind::Gauge(GaugeMerge::LiveSum) => [1, 0],
        Kind::Histogram(bounds) => [buckets(bounds) + 1, 0],
        Kind::Gauge(GaugeMerge::MostRecent) => [0, 2],
        Kind::Gauge(_) => [0, 1],
    }
}

/// Returns the number of buckets of a histogram with these bounds: one more than there are bounds, for the bucket up to
/// +Inf.
pub(crate) fn buckets(bounds: &Bounds) -> usize {
    bounds.as_slice().len() + 1
}

fn slot_kinds(families: &[FamilyStructure]) -> Vec<SlotKind> {
    let all = || families.iter().flat_map(|family| family.series.iter().map(|_| &family.key.kind));
    let mut kinds = Vec::new();
    kinds.extend(all().map(|_| SlotKind::Whole));
    for kind in all() {
        match kind {
            Kind::Counter => kinds.push(SlotKind::Counted),
            Kind::Gauge(GaugeMerge::LiveSum) => kinds.push(SlotKind::Sum),
            Kind::Histogram(bounds) => {
                kinds.extend(std::iter::repeat_n(SlotKind::Whole, buckets(bounds)));
                kinds.push(SlotKind::Counted);
            }
            Kind::Gauge(_) => {}
        }
    }
    for kind in all() {
        match kind {
            Kind::Gauge(GaugeMerge::MostRecent) => kinds.extend([SlotKind::Number, SlotKind::Whole]),
            Kind::Gauge(GaugeMerge::LiveSum) | Kind::Counter | Kind::Histogram(_) => {}
            Kind::Gauge(_) => kinds.push(SlotKind::Number),
        }
    }
    kinds
}

fn value_of(kind: &Kind, born_at_ms: u64, additive: &mut Cursor<'_>, gauges: &mut Cursor<'_>) -> Value {
    match kind {
        Kind::Counter | Kind::Gauge(GaugeMerge::LiveSum) => Value::Sum(additive.sum()),
        Kind::Histogram(bounds) => {
            let counts = (0..buckets(bounds)).map(|_| additive.whole()).collect();
            Value::Histogram { counts, sum: additive.sum() }
        }
        Kind::Gauge(GaugeMerge::MostRecent) => {
            let value = gauges.number();
            Value::Latest { at_ms: born_at_ms.wrapping_add(gauges.whole()), value }
        }
        Kind::Gauge(_) => Value::Extreme(gauges.number()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{families, of_one_writer};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn families_are_taken_apart_and_put_together_again(families in families()) {
            let families = of_one_writer(families);
            let structure = Structure::of(&families);
            prop_assert_eq!(structure.families_of(&structure.values(&families).unwrap()), families);
        }

        #[test]
        fn a_structure_has_no_values_of_another(before in families(), after in families()) {
            let structure = Structure::of(&before);
            let is_same = structure == Structure::of(&after);
            prop_assert_eq!(structure.values(&of_one_writer(after)).is_some(), is_same);
        }
    }

    /// Returns a family with these label values.
    fn family(name: &str, help: &str, label_values: &[&str]) -> FamilyStructure {
        FamilyStructure {
            key: FamilyKey { name: name.into(), kind: Kind::Counter, label_names: vec!["a".into()] },
            help: help.into(),
            series: label_values.iter().map(|&value| vec![value.to_owned()]).collect(),
        }
    }

    #[test]
    fn a_structure_has_no_values_of_families_that_differ_in_one_thing() {
        let families_of = |families: Vec<FamilyStructure>| {
            let structure = Structure::new(families);
            let series = |label_values: &Vec<String>| {
                (label_values.clone(), Series { created_at_ms: 1, value: Value::Sum(Default::default()) })
            };
            structure
                .families()
                .iter()
                .map(|family| {
                    let series = family.series.iter().map(series).collect();
                    (
                        family.key.clone(),
                        Family { help: family.help.clone(), born_at_ms: 1, series, ..Family::default() },
                    )
                })
                .collect::<Families>()
        };
        let own = [family("a", "A.", &["x"]), family("b", "B.", &["x", "y"])];
        let structure = Structure::new(own.to_vec());
        assert!(structure.values(&families_of(own.to_vec())).is_some());
        let [a, b] = own;
        for other in [
            vec![a.clone()],
            vec![a.clone(), b.clone(), family("c", "C.", &[])],
            vec![family("a", "Other.", &["x"]), b.clone()],
            vec![a.clone(), family("c", "B.", &["x", "y"])],
            vec![a.clone(), family("b", "B.", &["x", "z"])],
            vec![a.clone(), family("b", "B.", &["x"])],
        ] {
            assert_eq!(structure.values(&families_of(other.clone())), None, "{other:?}");
        }
        let mut of_two_writers = families_of(vec![a, b]);
        of_two_writers.last_entry().unwrap().get_mut().born_at_ms = 2;
        assert_eq!(structure.values(&of_two_writers), None);
    }

    #[test]
    fn a_family_or_a_series_that_occurs_twice_is_found() {
        let has_none = |families: &[FamilyStructure]| Structure::new(families.to_vec()).has_no_duplicates();
        let (a, b) = (family("a", "A.", &["x"]), family("b", "B.", &["x", "y"]));
        assert!(has_none(&[a.clone(), b.clone()]));
        assert!(!has_none(&[a.clone(), family("b", "B.", &["x", "x"])]));
        assert!(!has_none(&[a.clone(), b.clone(), a]));
        assert!(!has_none(&[family("a", "A.", &["x", "x"]), b]));
    }

    #[test]
    fn few_bytes_cannot_ask_for_much_memory() {
        let bounds = Bounds::new((0..1000).map(f64::from).collect()).unwrap();
        let key = FamilyKey { name: "x".into(), kind: Kind::Histogram(bounds), label_names: vec!["a".into()] };
        let with = |series: usize| {
            let series = (0..series).map(|number| vec![number.to_string()]).collect();
            vec![FamilyStructure { key: key.clone(), help: String::new(), series }]
        };
        // A series has a slot for its time, 1001 for its buckets, and one for its sum.
        let most = MAX_SLOTS / 1003;
        for (series, can_be_read) in [(1000, true), (most, true), (most + 1, false), (2000, false)] {
            assert_eq!(Structure::read(with(series)).is_some(), can_be_read, "{series}");
            let structure = Structure::new(with(series));
            assert_eq!((structure.slots(), structure.can_be_read()), (series * 1003, can_be_read));
        }
    }
}
