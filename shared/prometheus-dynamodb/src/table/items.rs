//! The items of the table as plain data, and the effect of each step on them, for the table in memory and for the one
//! of the model check.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::protocol::condition::{PutCondition, StoredHead};
use crate::protocol::writer::PutOutcome;
use crate::table::item::{
    Base, Encoded, Part, PartId, Snapshot, StoredPart, StoredStructure, StructureId, StructureItem, WriterId,
};

/// All items of a stats table. The ports in [`super`] say what each method does, and on what condition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Items {
    snapshots: BTreeMap<(u32, WriterId), Snapshot>,
    bases: BTreeMap<u32, Base>,
    /// The parts, each with the time at which it was noted as unnamed.
    parts: BTreeMap<(u32, PartId), (Part, Option<u64>)>,
    structures: BTreeMap<(u32, StructureId), StructureItem>,
    graves: BTreeMap<WriterId, Encoded>,
    shards: u32,
}

impl Items {
    pub(crate) fn put_snapshot(&mut self, snapshot: &Snapshot, condition: PutCondition) -> PutOutcome<Encoded> {
        let key = (snapshot.shard, snapshot.writer);
        let stored = self.snapshots.get(&key).map(|stored| {
            (StoredHead { seq: stored.seq, sealed: stored.sealed_at_ms.is_some() }, stored.families.clone())
        });
        if !condition.admits(stored.as_ref().map(|(head, _)| *head), snapshot.seq) {
            return PutOutcome::Refused(stored);
        }
        self.snapshots.insert(key, snapshot.clone());
        PutOutcome::Stored
    }

    /// Puts a snapshot without any condition: a flaw that the model check must find.
    #[cfg(test)]
    pub(crate) fn put_blindly(&mut self, snapshot: &Snapshot) {
        self.snapshots.insert((snapshot.shard, snapshot.writer), snapshot.clone());
    }

    pub(crate) fn grave(&self, writer: WriterId) -> Option<Encoded> {
        self.graves.get(&writer).cloned()
    }

    pub(crate) fn announce_shards(&mut self, shards: u32) {
        self.shards = self.shards.max(shards);
    }

    pub(crate) fn shards(&self) -> u32 {
        self.shards.max(1)
    }

    /// Returns the snapshots of a shard that follow the snapshot of `after`, or all, in ascending order of their
    /// writers.
    pub(crate) fn snapshots(&self, shard: u32, after: Option<WriterId>) -> impl Iterator<Item = &Snapshot> {
        let from = after.map_or(Bound::Included((shard, WriterId::FIRST)), |writer| Bound::Excluded((shard, writer)));
        self.snapshots.range((from, Bound::Unbounded)).take_while(move |((of, _), _)| *of == shard).map(|(_, one)| one)
    }

    pub(crate) fn part(&self, shard: u32, id: PartId) -> Option<&Part> {
        self.parts.get(&(shard, id)).map(|(part, _)| part)
    }

    pub(crate) fn parts(&self, shard: u32) -> Vec<StoredPart> {
        let of_shard = self.parts.iter().filter(|((of, _), _)| *of == shard);
        of_shard
            .map(|((_, id), (part, unnamed_at_ms))| StoredPart {
                id: *id,
                version: part.version,
                unnamed_at_ms: *unnamed_at_ms,
            })
            .collect()
    }

    pub(crate) fn put_part(&mut self, shard: u32, part: &Part) -> bool {
        let key = (shard, part.id());
        let absent = !self.parts.contains_key(&key);
        if absent {
            self.parts.insert(key, (part.clone(), None));
        }
        absent
    }

    pub(crate) fn note_unnamed(&mut self, shard: u32, id: PartId, at_ms: u64) -> bool {
        let Some((_, unnamed_at_ms @ None)) = self.parts.get_mut(&(shard, id)) else { return false };
        *unnamed_at_ms = Some(at_ms);
        true
    }

    pub(crate) fn delete_part(&mut self, shard: u32, id: PartId) -> bool {
        let unnamed = self.parts.get(&(shard, id)).is_some_and(|(_, unnamed_at_ms)| unnamed_at_ms.is_some());
        if unnamed {
            self.parts.remove(&(shard, id));
        }
        unnamed
    }

    pub(crate) fn structure(&self, shard: u32, id: StructureId) -> Option<&StructureItem> {
        self.structures.get(&(shard, id))
    }

    pub(crate) fn put_structure(&mut self, shard: u32, id: StructureId, structure: &StructureItem) {
        self.structures.insert((shard, id), structure.clone());
    }

    pub(crate) fn structures(&self, shard: u32) -> Vec<StoredStructure> {
        let of_shard = self.structures.iter().filter(|((of, _), _)| *of == shard);
        of_shard.map(|((_, id), item)| StoredStructure { id: *id, renewed_at_ms: item.renewed_at_ms }).collect()
    }

    pub(crate) fn delete_structure(&mut self, shard: u32, id: StructureId, renewed_at_ms: u64) -> bool {
        let as_read = self.structure(shard, id).is_some_and(|item| item.renewed_at_ms == renewed_at_ms);
        as_read && self.structures.remove(&(shard, id)).is_some()
    }

    /// Deletes all graves, as DynamoDB does once they have expired.
    #[cfg(test)]
    pub(crate) fn expire_graves(&mut self) {
        self.graves.clear();
    }

    pub(crate) fn base(&self, shard: u32) -> Option<&Base> {
        self.bases.get(&shard)
    }

    pub(crate) fn seal(&mut self, snapshot: &Snapshot, at_ms: u64) -> bool {
        let Some(stored) = self.snapshots.get_mut(&(snapshot.shard, snapshot.writer)) else { return false };
        let as_read = stored.sealed_at_ms.is_none() && stored.seq == snapshot.seq;
        if as_read {
            stored.sealed_at_ms = Some(at_ms);
        }
        as_read
    }

    pub(crate) fn put_base(&mut self, shard: u32, base: &Base) -> bool {
        let stored_version = self.bases.get(&shard).map_or(0, |stored| stored.version);
        let replaces = stored_version + 1 == base.version;
        if replaces {
            self.bases.insert(shard, base.clone());
        }
        replaces
    }

    pub(crate) fn put_grave(&mut self, snapshot: &Snapshot) -> bool {
        let absent = !self.graves.contains_key(&snapshot.writer);
        if absent {
            self.graves.insert(snapshot.writer, snapshot.families.clone());
        }
        absent
    }

    pub(crate) fn delete_snapshot(&mut self, snapshot: &Snapshot) -> bool {
        let key = (snapshot.shard, snapshot.writer);
        let sealed = self.snapshots.get(&key).is_some_and(|stored| stored.sealed_at_ms.is_some());
        if sealed {
            self.snapshots.remove(&key);
        }
        sealed
    }
}
