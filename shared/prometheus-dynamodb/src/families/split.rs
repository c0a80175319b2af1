//! Splits a structure into a smaller one and the rest.

use std::collections::BTreeSet;

use crate::families::structure::{FamilyStructure, Structure, slots_of};
use crate::families::values::{Entry, Values};

/// Division of a structure's values into those of a smaller structure and the rest. The structure has all series of the
/// smaller one.
#[derive(Debug, Clone, PartialEq)]
pub struct Split {
    own_slots: usize,
    rest: Structure,
    /// Place of each slot.
    places: Vec<Place>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Own(usize),
    Rest(usize),
}

impl Split {
    /// Returns the division of `whole` into `own` and the rest, or `None` if `whole` does not have everything that
    /// `own` has.
    ///
    /// If both parts have series of a family, the family has no help text in the rest, because `own` has it.
    pub fn of(whole: &Structure, own: &Structure) -> Option<Self> {
        let mut rest = Vec::new();
        // For each series of `whole`: its number of slots in the second and third part, and whether it is in `own`.
        let mut series = Vec::with_capacity(whole.series());
        let mut known = own.families().iter().peekable();
        for family in whole.families() {
            let slots = slots_of(&family.key.kind);
            let Some(known) = known.next_if(|known| known.key == family.key) else {
                series.extend(family.series.iter().map(|_| (slots, false)));
                rest.push(family.clone());
                continue;
            };
            if known.help != family.help {
                return None;
            }
            let labels: BTreeSet<_> = known.series.iter().collect();
            let (known, new): (Vec<_>, Vec<_>) = family.series.iter().partition(|one| labels.contains(one));
            if known.len() < labels.len() {
                return None;
            }
            series.extend(family.series.iter().map(|one| (slots, labels.contains(one))));
            if !new.is_empty() {
                let series = new.into_iter().cloned().collect();
                rest.push(FamilyStructure { key: family.key.clone(), help: String::new(), series });
            }
        }
        if known.next().is_some() {
            return None;
        }
        let (mut own_slots, mut rest_slots) = (0, 0);
        let mut places = Vec::with_capacity(whole.slots());
        for part in 0..3 {
            for (slots, is_own) in &series {
                let slots = [1, slots[0], slots[1]][part];
                let next = if *is_own { &mut own_slots } else { &mut rest_slots };
                let place = if *is_own { Place::Own } else { Place::Rest };
                places.extend((*next..*next + slots).map(place));
                *next += slots;
            }
        }
        Some(Self { own_slots, rest: Structure::new(rest), places })
    }

    /// Returns whether there is no rest, which means that the structures are the same.
    pub fn has_no_rest(&self) -> bool {
        self.rest.families().is_empty()
    }

    /// Returns the structure of the rest.
    pub fn rest(&self) -> &Structure {
        &self.rest
    }

    /// Divides values of the whole into those of the smaller structure and those of the rest.
    pub fn divide(&self, values: &Values) -> (Values, Values) {
        let of = |slots| Values { born_at_ms: values.born_at_ms, entries: Vec::new(), slots };
        let (mut own, mut rest) = (of(self.own_slots), of(self.rest.slots()));
        for entry in &values.entries {
            let (values, slot) = match self.places[entry.slot] {
                Place::Own(slot) => (&mut own, slot),
                Place::Rest(slot) => (&mut rest, slot),
            };
            values.entries.push(Entry { slot, ..*entry });
        }
        (own, rest)
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
        fn what_is_divided_is_all_that_there_was(before in families(), after in families()) {
            let own = Structure::of(&before);
            let mut all = before.clone();
            merge(&mut all, after);
            // Help texts are those of the structure.
            for (key, family) in &mut all {
                if let Some(before) = before.get(key) {
                    family.help = before.help.clone();
                }
            }
            let all = of_one_writer(all);
            let whole = Structure::of(&all);
            let split = Split::of(&whole, &own).unwrap();
            prop_assert_eq!(split.rest() == &Structure::default(), whole == own);
            let (values, rest) = split.divide(&whole.values(&all).unwrap());
            let mut together = own.families_of(&values);
            merge(&mut together, split.rest().families_of(&rest));
            prop_assert_eq!(together, all);
        }

        #[test]
        fn a_structure_that_lacks_some_of_another_has_no_split(before in families(), after in families()) {
            let has_all = before.iter().all(|(key, family)| {
                after.get(key).is_some_and(|other| {
                    other.help == family.help && family.series.keys().all(|labels| other.series.contains_key(labels))
                })
            });
            prop_assert_eq!(Split::of(&Structure::of(&after), &Structure::of(&before)).is_some(), has_all);
        }
    }
}
