//! What a scrape adds up.

use std::collections::HashMap;
use std::sync::Arc;

use crate::families::Families;
use crate::families::merge::{merge, retire};
use crate::families::rules::normal;
use crate::families::tally::Tally;
use crate::families::values::Values;
use crate::protocol::reading::{WriterLife, count};
use crate::structures::{Named, UnusableSnapshot, decode, structure_of};
use crate::table::item::{Snapshot, StructureId};
use crate::table::wire;

/// How many numbers are added up apart at once, so that environments that each have a structure of their own take no more
/// memory than those that share one.
const MOST_SLOTS: usize = 1 << 18;

/// The families of all that was added.
#[derive(Default)]
pub(crate) struct Total {
    families: Families,
    /// What was added of each structure, of those who are live and of the others apart.
    tallies: HashMap<(StructureId, bool), Tally>,
    slots: usize,
    /// Where a snapshot's values are decoded: one place for all.
    values: Values,
}

impl Total {
    /// Adds a writer's snapshot, given the structures that it may name. What cannot be decoded is not added at all.
    pub(crate) fn add(&mut self, snapshot: &Snapshot, named: &Named, life: WriterLife) -> Result<(), UnusableSnapshot> {
        let Some(structure) = structure_of(snapshot, named)? else {
            count(&mut self.families, decode(snapshot, named)?, life);
            return Ok(());
        };
        let rest = wire::decode_structured(&snapshot.families, structure, &mut self.values)
            .map_err(|source| UnusableSnapshot::Damaged { writer: snapshot.writer, source })?;
        let live = life == WriterLife::Live;
        let slots = &mut self.slots;
        let tally = self.tallies.entry((structure.id(), live)).or_insert_with(|| {
            *slots += structure.structure().slots();
            Tally::new(Arc::clone(structure.structure()))
        });
        tally.add(&self.values);
        if let Some(rest) = rest {
            count(&mut self.families, rest, life);
        }
        if self.slots > MOST_SLOTS {
            self.settle();
        }
        Ok(())
    }

    /// Adds families as they are.
    pub(crate) fn add_families(&mut self, families: Families) {
        merge(&mut self.families, families);
    }

    /// All that was added.
    pub(crate) fn into_families(mut self) -> Families {
        self.settle();
        self.families
    }

    fn settle(&mut self) {
        self.slots = 0;
        for ((_, live), tally) in self.tallies.drain() {
            let families = normal(tally.into_families());
            merge(&mut self.families, if live { families } else { retire(families) });
        }
    }
}
