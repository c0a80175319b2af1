//! Reads the structures that snapshots name, keeps them for the next scrape, and decodes snapshots with them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard};

use futures::stream::{self, StreamExt, TryStreamExt};

use crate::families::Families;
use crate::table::item::{Snapshot, StructureId, WriterId};
use crate::table::wire::{self, DecodeError, NamedStructure};
use crate::table::{ReadStructures, TableError, UnreadableItem};

/// Maximum number of structures that are read at once.
const READS_AT_ONCE: usize = 16;

/// Maximum total size of the messages of all kept structures before compression, in bytes. In memory they take several times
/// as much. The environments of one function share one structure, of a few kilobytes.
const KEPT_BYTES: usize = 2 << 20;

/// Structures by their ids. A structure never changes, so it is read only once, as long as there is room to keep it.
#[derive(Debug, Default)]
pub struct Structures {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    structures: HashMap<StructureId, (NamedStructure, u64)>,
    /// Number of look-ups so far, which serves as the time of a use.
    use_count: u64,
    bytes: usize,
}

/// The structures that some snapshots name.
pub(crate) type Named = BTreeMap<StructureId, Result<NamedStructure, StructureError>>;

/// Error returned when a structure that a snapshot names cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StructureError {
    /// The structure is not stored.
    #[error("the structure is missing")]
    Missing,
    /// The structure cannot be decoded.
    #[error("the structure cannot be decoded")]
    Damaged(#[from] DecodeError),
    /// The structure's item cannot be read.
    #[error(transparent)]
    Unreadable(#[from] UnreadableItem),
}

impl Structures {
    /// Returns the structures that these snapshots of the shard name.
    pub(crate) async fn of<T: ReadStructures>(
        &self,
        table: &T,
        shard: u32,
        snapshots: impl IntoIterator<Item = &Snapshot>,
    ) -> Result<Named, TableError> {
        // A snapshot that names no structure is skipped, and so is one that is damaged: decoding it reports the damage.
        let ids: BTreeSet<_> = snapshots
            .into_iter()
            .filter_map(|snapshot| wire::structure_of(&snapshot.families).ok().flatten())
            .collect();
        stream::iter(ids)
            .map(|id| async move { Ok((id, self.get(table, shard, id).await?)) })
            .buffer_unordered(READS_AT_ONCE)
            .try_collect()
            .await
    }

    /// Returns the structure of this id.
    pub(crate) async fn get<T: ReadStructures>(
        &self,
        table: &T,
        shard: u32,
        id: StructureId,
    ) -> Result<Result<NamedStructure, StructureError>, TableError> {
        if let Some(known) = self.kept().find(id) {
            return Ok(Ok(known));
        }
        let item = match table.structure(shard, id).await {
            Ok(Some(item)) => item,
            Ok(None) => return Ok(Err(StructureError::Missing)),
            Err(TableError::Unreadable(item)) => return Ok(Err(StructureError::Unreadable(item))),
            Err(error) => return Err(error),
        };
        let structure = NamedStructure::decode(id, &item.families).map_err(StructureError::Damaged);
        if let Ok(structure) = &structure {
            self.kept().keep(structure.clone());
        }
        Ok(structure)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("no one panics while holding the lock")
    }
}

impl Kept {
    fn find(&mut self, id: StructureId) -> Option<NamedStructure> {
        self.use_count += 1;
        let (structure, last_use) = self.structures.get_mut(&id)?;
        *last_use = self.use_count;
        Some(structure.clone())
    }

    /// Keeps a structure, and drops the least recently used ones until all fit.
    fn keep(&mut self, structure: NamedStructure) {
        self.bytes += structure.message_bytes();
        if let Some((same, _)) = self.structures.insert(structure.id(), (structure, self.use_count)) {
            self.bytes -= same.message_bytes();
        }
        while self.bytes > KEPT_BYTES {
            let Some(id) = self.structures.iter().min_by_key(|(_, (_, last_use))| *last_use).map(|(id, _)| *id) else {
                return;
            };
            self.bytes -= self.structures.remove(&id).map_or(0, |(structure, _)| structure.message_bytes());
        }
    }
}

/// Returns the structure that a snapshot names, if it names one. `named` must have all structures that the snapshot may
/// name.
pub(crate) fn structure_of<'a>(
    snapshot: &Snapshot,
    named: &'a Named,
) -> Result<Option<&'a NamedStructure>, UnusableSnapshot> {
    let id = wire::structure_of(&snapshot.families)
        .map_err(|source| UnusableSnapshot::Damaged { writer: snapshot.writer, source })?;
    let Some(id) = id else { return Ok(None) };
    match named.get(&id) {
        Some(Ok(structure)) => Ok(Some(structure)),
        Some(Err(_)) | None => Err(UnusableSnapshot::NoStructure { writer: snapshot.writer, structure: id }),
    }
}

/// Decodes the families of a snapshot. `named` must have all structures that the snapshot may name.
pub(crate) fn decode(snapshot: &Snapshot, named: &Named) -> Result<Families, UnusableSnapshot> {
    let families = match structure_of(snapshot, named)? {
        None => wire::decode(&snapshot.families),
        Some(structure) => wire::decode_with(&snapshot.families, structure),
    };
    families.map_err(|source| UnusableSnapshot::Damaged { writer: snapshot.writer, source })
}

/// Error returned when a snapshot cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnusableSnapshot {
    #[error("the snapshot of writer {writer} cannot be decoded")]
    Damaged { writer: WriterId, source: DecodeError },
    #[error("the snapshot of writer {writer} names the structure {structure}, which cannot be used")]
    NoStructure { writer: WriterId, structure: StructureId },
}
