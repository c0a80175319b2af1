//! Adds up what a scrape reads.

use std::collections::HashMap;
use std::sync::Arc;

use crate::families::Families;
use crate::families::merge::{alive, merge, retire};
use crate::families::rules::normal;
use crate::families::tally::Tally;
use crate::families::values::Values;
use crate::protocol::reading::{WriterLife, count};
use crate::structures::{Named, UnusableSnapshot, decode, structure_of};
use crate::table::item::{Snapshot, StructureId};
use crate::table::wire;

/// Largest number of slots in all tallies together. It bounds the memory: environments that each have their own
/// structure take no more than environments that share one.
const MOST_SLOTS: usize = 1 << 18;

/// Sum of everything that was added.
#[derive(Default)]
pub(crate) struct Total {
    families: Families,
    /// Tallies of the snapshots by their structure, and by whether their writers are live.
    tallies: HashMap<(StructureId, bool), Tally>,
    slots: usize,
    /// Buffer for the values of the snapshot that is being decoded.
    values: Values,
}

impl Total {
    /// Adds a writer's snapshot, given the structures that it may name. Adds nothing if the snapshot cannot be decoded.
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

    /// Returns everything that was added, as families.
    pub(crate) fn into_families(mut self) -> Families {
        self.settle();
        self.families
    }

    fn settle(&mut self) {
        self.slots = 0;
        for ((_, live), tally) in self.tallies.drain() {
            let families = normal(tally.into_families());
            merge(&mut self.families, if live { alive(families) } else { retire(families) });
        }
    }
}
