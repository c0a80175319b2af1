//! The stats table in memory: for tests, held to the same contract as the one in DynamoDB.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use super::{PublishStats, ReadStats, TableError, UnreadableItem};
use crate::item::{Base, Encoded, Snapshot, WriterId};
use crate::protocol::condition::{PutCondition, StoredHead};
use crate::protocol::writer::PutOutcome;

/// A stats table in memory. Clones share their content.
#[derive(Debug, Clone, Default)]
pub struct MemoryStatsTable {
    content: Arc<Mutex<Content>>,
}

#[derive(Debug, Default)]
struct Content {
    snapshots: BTreeMap<(u32, WriterId), Snapshot>,
    bases: BTreeMap<u32, Base>,
    graves: BTreeMap<WriterId, Encoded>,
    shards: u32,
}

impl MemoryStatsTable {
    /// Puts a base, whatever was there.
    pub fn set_base(&self, shard: u32, base: Base) {
        self.content().bases.insert(shard, base);
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().expect("no one panics while holding the lock")
    }
}

impl PublishStats for MemoryStatsTable {
    async fn put_snapshot(
        &self,
        snapshot: &Snapshot,
        condition: PutCondition,
    ) -> Result<PutOutcome<Encoded>, TableError> {
        let mut content = self.content();
        let key = (snapshot.shard, snapshot.writer);
        let stored = content.snapshots.get(&key).map(|stored| {
            (StoredHead { seq: stored.seq, sealed: stored.sealed_at_ms.is_some() }, stored.families.clone())
        });
        if !condition.admits(stored.as_ref().map(|(head, _)| *head), snapshot.seq) {
            return Ok(PutOutcome::Refused(stored));
        }
        content.snapshots.insert(key, snapshot.clone());
        Ok(PutOutcome::Stored)
    }

    async fn grave(&self, writer: WriterId) -> Result<Option<Encoded>, TableError> {
        Ok(self.content().graves.get(&writer).cloned())
    }

    async fn announce_shards(&self, shards: u32) -> Result<(), TableError> {
        let mut content = self.content();
        content.shards = content.shards.max(shards);
        Ok(())
    }
}

impl ReadStats for MemoryStatsTable {
    async fn shards(&self) -> Result<u32, TableError> {
        Ok(self.content().shards.max(1))
    }

    async fn snapshots(&self, shard: u32) -> Result<Vec<Result<Snapshot, UnreadableItem>>, TableError> {
        let content = self.content();
        let of_shard = content.snapshots.iter().filter(|((of, _), _)| *of == shard);
        Ok(of_shard.map(|(_, snapshot)| Ok(snapshot.clone())).collect())
    }

    async fn base(&self, shard: u32) -> Result<Option<Base>, TableError> {
        Ok(self.content().bases.get(&shard).cloned())
    }
}
