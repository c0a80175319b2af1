//! The stats table in memory: for tests, held to the same contract as the one in DynamoDB.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use super::{CompactStats, PublishStats, ReadStats, TableError, UnreadableItem};
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

impl CompactStats for MemoryStatsTable {
    async fn seal(&self, snapshot: &Snapshot, at_ms: u64) -> Result<bool, TableError> {
        let mut content = self.content();
        let Some(stored) = content.snapshots.get_mut(&(snapshot.shard, snapshot.writer)) else { return Ok(false) };
        let as_read = stored.sealed_at_ms.is_none() && stored.seq == snapshot.seq;
        if as_read {
            stored.sealed_at_ms = Some(at_ms);
        }
        Ok(as_read)
    }

    async fn put_base(&self, shard: u32, base: &Base) -> Result<bool, TableError> {
        let mut content = self.content();
        let stored_version = content.bases.get(&shard).map_or(0, |stored| stored.version);
        let replaces = stored_version + 1 == base.version;
        if replaces {
            content.bases.insert(shard, base.clone());
        }
        Ok(replaces)
    }

    async fn put_grave(&self, snapshot: &Snapshot, _at_ms: u64) -> Result<bool, TableError> {
        let mut content = self.content();
        let absent = !content.graves.contains_key(&snapshot.writer);
        if absent {
            content.graves.insert(snapshot.writer, snapshot.families.clone());
        }
        Ok(absent)
    }

    async fn delete_snapshot(&self, snapshot: &Snapshot) -> Result<bool, TableError> {
        let mut content = self.content();
        let key = (snapshot.shard, snapshot.writer);
        let sealed = content.snapshots.get(&key).is_some_and(|stored| stored.sealed_at_ms.is_some());
        if sealed {
            content.snapshots.remove(&key);
        }
        Ok(sealed)
    }
}
