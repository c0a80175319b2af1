//! The stats table in memory: for tests, held to the same contract as the one in DynamoDB.

use std::sync::{Arc, Mutex, MutexGuard};

use super::items::Items;
use super::{CompactStats, PublishStats, ReadStats, TableError, UnreadableItem};
use crate::protocol::condition::PutCondition;
use crate::protocol::writer::PutOutcome;
use crate::table::item::{Base, Encoded, Snapshot, WriterId};

/// A stats table in memory. Clones share their content.
#[derive(Debug, Clone, Default)]
pub struct MemoryStatsTable {
    items: Arc<Mutex<Items>>,
}

impl MemoryStatsTable {
    fn items(&self) -> MutexGuard<'_, Items> {
        self.items.lock().expect("no one panics while holding the lock")
    }
}

impl PublishStats for MemoryStatsTable {
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

    async fn snapshots(&self, shard: u32) -> Result<Vec<Result<Snapshot, UnreadableItem>>, TableError> {
        Ok(self.items().snapshots(shard).cloned().map(Ok).collect())
    }

    async fn base(&self, shard: u32) -> Result<Option<Base>, TableError> {
        Ok(self.items().base(shard).cloned())
    }
}

impl CompactStats for MemoryStatsTable {
    async fn seal(&self, snapshot: &Snapshot, at_ms: u64) -> Result<bool, TableError> {
        Ok(self.items().seal(snapshot, at_ms))
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
