//! A table in memory whose writes fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use prometheus_dynamodb::MemoryStatsTable;
use prometheus_dynamodb::internals::item::{Encoded, Snapshot, StructureId, StructureItem, WriterId};
use prometheus_dynamodb::internals::protocol::condition::PutCondition;
use prometheus_dynamodb::internals::protocol::writer::PutOutcome;
use prometheus_dynamodb::internals::table::{PublishStats, ReadStructures, TableError, TableTime};

/// A table whose puts fail a given number of times.
#[derive(Debug, Clone, Default)]
pub(crate) struct FaultyTable {
    pub table: MemoryStatsTable,
    pub failures: Arc<AtomicU32>,
    /// `true` if a put that fails takes effect nevertheless, and only its response is lost.
    pub done_all_the_same: bool,
    /// Number of announcements of shards that fail.
    pub failed_announcements: Arc<AtomicU32>,
}

impl TableTime for FaultyTable {
    fn answered_at_ms(&self) -> u64 {
        self.table.answered_at_ms()
    }

    fn now_ms(&self) -> u64 {
        self.table.now_ms()
    }
}

impl ReadStructures for FaultyTable {
    async fn structure(&self, shard: u32, id: StructureId) -> Result<Option<StructureItem>, TableError> {
        self.table.structure(shard, id).await
    }
}

impl PublishStats for FaultyTable {
    async fn put_structure(&self, shard: u32, id: StructureId, structure: &StructureItem) -> Result<(), TableError> {
        self.table.put_structure(shard, id, structure).await
    }

    async fn put_snapshot(
        &self,
        snapshot: &Snapshot,
        condition: PutCondition,
    ) -> Result<PutOutcome<Encoded>, TableError> {
        let fails = is_next(&self.failures);
        if fails && !self.done_all_the_same {
            return Err(TableError::Failed("the connection was closed".into()));
        }
        let outcome = self.table.put_snapshot(snapshot, condition).await?;
        if fails { Err(TableError::TimedOut("no response".into())) } else { Ok(outcome) }
    }

    async fn grave(&self, writer: WriterId) -> Result<Option<Encoded>, TableError> {
        self.table.grave(writer).await
    }

    async fn announce_shards(&self, shards: u32) -> Result<(), TableError> {
        if is_next(&self.failed_announcements) {
            return Err(TableError::Failed("the connection was closed".into()));
        }
        self.table.announce_shards(shards).await
    }
}

/// Returns whether a failure is left, and takes one away.
fn is_next(failures: &AtomicU32) -> bool {
    failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}
