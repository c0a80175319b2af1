//! What of families hardly ever changes, apart from what does.
//!
//! A writer's names, help texts, labels and bounds stay the same from one publish to the next, and are those of every other
//! environment of the same function; only its numbers and times differ. A [`Structure`] is the former, and [`Values`] the
//! latter in the structure's order.

use std::collections::BTreeSet;

use crate::families::values::{Cursor, Values};
use crate::families::{Bounds, Families, Family, FamilyKey, GaugeMerge, Kind, Series, Value};

/// The most numbers that the values of one structure may have. It bounds the memory that a few bytes, which say that many
/// series have many buckets, can make a reader use.
const MAX_SLOTS: usize = 1 << 20;

/// Families without their numbers and times.
///
/// Values are laid out in *slots*, each a number, in three parts. In each, families and series stand in the structure's
/// order:
///
/// 1. for each series one slot: since when it counts;
/// 2. what adds up: for a counter and for a gauge that merges by [`GaugeMerge::LiveSum`] one slot; for a histogram one for
///    each bucket, and one for the sum;
/// 3. for every other gauge one slot, and where it merges by [`GaugeMerge::MostRecent`] another: when it was published.
#[derive(Debug, Clone, PartialEq)]
pub struct Structure {
    families: Vec<FamilyStructure>,
    series: usize,
    additive: usize,
    slot_kinds: Vec<SlotKind>,
}

/// One family without its numbers and times.
#[derive(Debug, Clone, PartialEq)]
pub struct FamilyStructure {
    /// What tells it from other families.
    pub key: FamilyKey,
    /// The help text.
    pub help: String,
    /// The label values of its series.
    pub series: Vec<Vec<String>>,
}

/// What a slot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SlotKind {
    /// A whole number below 2^64.
    Whole,
    /// An exact sum of numbers that can be summed; see [`is_summable`](crate::families::rules::is_summable).
    Counted,
    /// An exact sum of any numbers.
    Sum,
    /// Exactly one number.
    Number,
}

impl Structure {
    /// The structure of these families.
    ///
    /// Returns `None` if their values would have more slots than are allowed.
    pub fn of(families: &Families) -> Option<Self> {
        let family = |(key, family): (&FamilyKey, &Family)| FamilyStructure {
            key: key.clone(),
            help: family.help.clone(),
            series: family.series.keys().cloned().collect(),
        };
        Self::new(families.iter().map(family).collect())
    }

    /// The structure that has these families, each with its series, in this order.
    pub(crate) fn new(families: Vec<FamilyStructure>) -> Option<Self> {
        let mut sizes = [0usize; 3];
        for family in &families {
            let [additive, gauges] = slots_of(&family.key.kind);
            for (size, slots) in sizes.iter_mut().zip([1, additive, gauges]) {
                *size = size.checked_add(family.series.len().checked_mul(slots)?)?;
            }
        }
        let [series, additive, gauges] = sizes;
        let slots = series.checked_add(additive)?.checked_add(gauges)?;
        if slots > MAX_SLOTS {
            return None;
        }
        let slot_kinds = slot_kinds(&families, slots);
        Some(Self { families, series, additive, slot_kinds })
    }

    /// The families, in order.
    pub fn families(&self) -> &[FamilyStructure] {
        &self.families
    }

    /// How many series there are, and so slots of the first part.
    pub(crate) fn series(&self) -> usize {
        self.series
    }

    /// How many slots there are.
    pub(crate) fn slots(&self) -> usize {
        self.slot_kinds.len()
    }

    /// How many slots of the second part there are.
    pub(crate) fn additive(&self) -> usize {
        self.additive
    }

    /// The kinds of all slots, in order.
    pub(crate) fn slot_kinds(&self) -> &[SlotKind] {
        &self.slot_kinds
    }

    /// Takes these families apart: the values of what this structure has, and the rest as families.
    ///
    /// Returns `None` if the families have not all that this structure has, or if not all of it was born at one time, as
    /// all that one writer has is.
    pub fn values(&self, families: &Families) -> Option<(Values, Families)> {
        let mut rest = Families::new();
        let mut found = Vec::with_capacity(self.series);
        let mut own = self.families.iter().peekable();
        let mut born_at_ms = None;
        for (key, family) in families {
            let Some(structure) = own.next_if(|own| own.key == *key) else {
                rest.insert(key.clone(), family.clone());
                continue;
            };
            if structure.help != family.help || *born_at_ms.get_or_insert(family.born_at_ms) != family.born_at_ms {
                return None;
            }
            let mut own = structure.series.iter().peekable();
            for (label_values, series) in &family.series {
                if own.next_if(|own| *own == label_values).is_some() {
                    found.push((&key.kind, series));
                    continue;
                }
                let rest = rest.entry(key.clone()).or_insert_with(|| Family {
                    // The structure's families have it.
                    help: String::new(),
                    born_at_ms: family.born_at_ms,
                    series: Default::default(),
                });
                rest.series.insert(label_values.clone(), series.clone());
            }
            if own.next().is_some() {
                return None;
            }
        }
        if own.next().is_some() {
            return None;
        }
        Some((values_of(born_at_ms.unwrap_or_default(), &found), rest))
    }

    /// Puts values of this structure back together with it.
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
            let family = Family { help: structure.help.clone(), born_at_ms: values.born_at_ms, series };
            families.insert(structure.key.clone(), family);
        }
        families
    }

    /// Whether no family, and no series of one, stands twice.
    pub(crate) fn has_no_duplicates(&self) -> bool {
        let keys: BTreeSet<_> = self.families.iter().map(|family| &family.key).collect();
        let differ =
            |family: &FamilyStructure| family.series.iter().collect::<BTreeSet<_>>().len() == family.series.len();
        keys.len() == self.families.len() && self.families.iter().all(differ)
    }
}

/// How many slots of the second and of the third part a series of this kind has.
fn slots_of(kind: &Kind) -> [usize; 2] {
    match kind {
        Kind::Counter | Kind::Gauge(GaugeMerge::LiveSum) => [1, 0],
        Kind::Histogram(bounds) => [buckets(bounds) + 1, 0],
        Kind::Gauge(GaugeMerge::MostRecent) => [0, 2],
        Kind::Gauge(_) => [0, 1],
    }
}

/// How many buckets a histogram of these bounds has: one more, up to +Inf.
pub(crate) fn buckets(bounds: &Bounds) -> usize {
    bounds.as_slice().len() + 1
}

fn slot_kinds(families: &[FamilyStructure], slots: usize) -> Vec<SlotKind> {
    let all = || families.iter().flat_map(|family| family.series.iter().map(|_| &family.key.kind));
    let mut kinds = Vec::with_capacity(slots);
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

fn values_of(born_at_ms: u64, series: &[(&Kind, &Series)]) -> Values {
    let mut values = Values::new(born_at_ms);
    for (_, series) in series {
        values.push_whole(series.created_at_ms.wrapping_sub(born_at_ms));
    }
    for (_, series) in series {
        match &series.value {
            Value::Sum(sum) => values.push_sum(sum),
            Value::Histogram { counts, sum } => {
                counts.iter().for_each(|count| values.push_whole(*count));
                values.push_sum(sum);
            }
            Value::Extreme(_) | Value::Latest { .. } => {}
        }
    }
    for (_, series) in series {
        match &series.value {
            Value::Extreme(value) => values.push_number(*value),
            Value::Latest { at_ms, value } => {
                values.push_number(*value);
                values.push_whole(at_ms.wrapping_sub(born_at_ms));
            }
            Value::Sum(_) | Value::Histogram { .. } => {}
        }
    }
    values
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
    use crate::families::merge::merge;
    use crate::testing::{families, of_one_writer};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn families_are_taken_apart_and_put_together_again(families in families()) {
            let families = of_one_writer(families);
            let structure = Structure::of(&families).unwrap();
            let (values, rest) = structure.values(&families).unwrap();
            prop_assert_eq!(structure.families_of(&values), families);
            prop_assert_eq!(rest, Families::new());
        }

        #[test]
        fn what_came_after_the_structure_is_the_rest(before in families(), after in families()) {
            let structure = Structure::of(&of_one_writer(before.clone())).unwrap();
            let mut all = before.clone();
            merge(&mut all, after);
            // Help texts are those of the structure.
            for (key, family) in &mut all {
                if let Some(before) = before.get(key) {
                    family.help = before.help.clone();
                }
            }
            let all = of_one_writer(all);
            let (values, rest) = structure.values(&all).unwrap();
            let mut together = structure.families_of(&values);
            merge(&mut together, rest);
            prop_assert_eq!(together, all);
        }

        #[test]
        fn a_structure_does_not_fit_families_that_lack_some_of_it(before in families(), after in families()) {
            let structure = Structure::of(&before).unwrap();
            let has_all = before.iter().all(|(key, family)| {
                after.get(key).is_some_and(|other| {
                    other.help == family.help && family.series.keys().all(|labels| other.series.contains_key(labels))
                })
            });
            prop_assume!(!has_all);
            prop_assert_eq!(structure.values(&of_one_writer(after)), None);
        }
    }

    #[test]
    fn few_bytes_cannot_ask_for_much_memory() {
        let bounds = Bounds::new((0..1000).map(f64::from).collect()).unwrap();
        let key = FamilyKey { name: "x".into(), kind: Kind::Histogram(bounds), label_names: vec!["a".into()] };
        let with = |series: usize| {
            let series = (0..series).map(|number| vec![number.to_string()]).collect();
            Structure::new(vec![FamilyStructure { key: key.clone(), help: String::new(), series }])
        };
        assert!(with(1000).is_some());
        assert!(with(2000).is_none());
    }
}
