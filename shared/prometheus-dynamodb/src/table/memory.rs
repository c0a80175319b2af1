//! The stats table in memory, for tests. It is held to the same contract as the table in DynamoDB.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::items::Items;
use super::{
    CompactStats, Cursor, Listed, PublishStats, ReadStats, ReadStructures, SnapshotPage, TableError, TableTime,
};
use crate::clock;
use crate::protocol::condition::PutCondition;
use crate::protocol::writer::PutOutcome;
use crate::table::item::{
    Base, Encoded, Part, PartId, Snapshot, StoredPart, StoredStructure, StructureId, StructureItem, WriterId,
};

/// Number of snapshots in a page. It is small, so that tests read several pages, too.
const PAGE: usize = 100;

/// A stats table in memory. Clones share their content and their time.
#[derive(Debug, Clone, Default)]
pub struct MemoryStatsTable {
    items: Arc<Mutex<Items>>,
    /// Time at which the clock was stopped, in milliseconds since the epoch, or 0 if it was not.
    now_ms: Arc<AtomicU64>,
}

impl MemoryStatsTable {
    /// Stops the table's clock at `now_ms`, in milliseconds since the epoch. Until then the table uses the process's
    /// clock.
    pub fn set_time(&self, now_ms: u64) {
        self.now_ms.store(now_ms, Ordering::SeqCst);
    }

    fn items(&self) -> MutexGuard<'_, Items> {
        self.items.lock().expect("no one panics while holding the lock")
    }
}

impl TableTime for MemoryStatsTable {
    fn answered_at_ms(&self) -> u64 {
        self.now_ms()
    }

    fn now_ms(&self) -> u64 {
        match self.now_ms.load(Ordering::SeqCst) {
            0 => clock::now_ms(),
            set => set,
        }
    }
}

impl ReadStructures for MemoryStatsTable {
    async fn structure(&self, shard: u32, id: StructureId) -> Result<Option<StructureItem>, TableError> {
        Ok(self.items().structure(shard, id).cloned())
    }
}

impl PublishStats for MemoryStatsTable {
    async fn put_structure(&self, shard: u32, id: StructureId, structure: &StructureItem) -> Result<(), TableError> {
        self.items().put_structure(shard, id, structure);
        Ok(())
    }

    async fn put_snapshot(
        &self,
        snapshot: &Snapshot,
        condition: PutCondition,
    ) -> Result<PutOutcome<Encoded>, TableError> {
        Ok(self.items().put_snapshot(snapshot, condition))
    }

    async fn grave(&self, writer: WriterId) -> Result<Option<Encoded>, TableError> {
        Ok(self.items().grave(writer))
    }

    async fn announce_shards(&self, shards: u32) -> Result<(), TableError> {
        self.items().announce_shards(shards);
        Ok(())
    }
}

impl ReadStats for MemoryStatsTable {
    async fn shards(&self) -> Result<u32, TableError> {
        Ok(self.items().shards())
    }

    async fn snapshot_page(&self, shard: u32, after: Option<&Cursor>) -> Result<SnapshotPage, TableError> {
        let after = after.and_then(|Cursor(writer)| WriterId::parse(writer));
        let items = self.items();
        let mut left = items.snapshots(shard, after);
        let snapshots: Vec<_> = left.by_ref().take(PAGE).cloned().map(Ok).collect();
        let last = snapshots.last().and_then(|last| last.as_ref().ok());
        let next = left.next().and(last).map(|last| Cursor(last.writer.to_string()));
        drop(left);
        Ok(SnapshotPage { snapshots, next })
    }

    async fn base(&self, shard: u32) -> Result<Option<Base>, TableError> {
        Ok(self.items().base(shard).cloned())
    }

    async fn part(&self, shard: u32, id: PartId) -> Result<Option<Part>, TableError> {
        Ok(self.items().part(shard, id).cloned())
    }
}

impl CompactStats for MemoryStatsTable {
    async fn seal(&self, snapshot: &Snapshot, at_ms: u64) -> Result<bool, TableError> {
        Ok(self.items().seal(snapshot, at_ms))
    }

    async fn parts(&self, shard: u32) -> Result<Listed<StoredPart>, TableError> {
        Ok(self.items().parts(shard).into_iter().map(Ok).collect())
    }

    async fn put_part(&self, shard: u32, part: &Part) -> Result<bool, TableError> {
        Ok(self.items().put_part(shard, part))
    }

    async fn note_unnamed(&self, shard: u32, id: PartId, at_ms: u64) -> Result<bool, TableError> {
        Ok(self.items().note_unnamed(shard, id, at_ms))
    }

    async fn delete_part(&self, shard: u32, id: PartId) -> Result<bool, TableError> {
        Ok(self.items().delete_part(shard, id))
    }

    async fn structures(&self, shard: u32) -> Result<Listed<StoredStructure>, TableError> {
        Ok(self.items().structures(shard).into_iter().map(Ok).collect())
    }

    async fn delete_structure(&self, shard: u32, id: StructureId, renewed_at_ms: u64) -> Result<bool, TableError> {
        Ok(self.items().delete_structure(shard, id, renewed_at_ms))
    }

    async fn put_base(&self, shard: u32, base: &Base) -> Result<bool, TableError> {
        Ok(self.items().put_base(shard, base))
    }

    async fn put_grave(&self, snapshot: &Snapshot, _at_ms: u64) -> Result<bool, TableError> {
        Ok(self.items().put_grave(snapshot))
    }

    async fn delete_snapshot(&self, snapshot: &Snapshot) -> Result<bool, TableError> {
        Ok(self.items().delete_snapshot(snapshot))
    }
}
