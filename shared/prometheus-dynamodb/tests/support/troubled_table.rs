//! A table in memory that is slow and whose writes fail.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use prometheus_dynamodb::MemoryStatsTable;
use prometheus_dynamodb::internals::item::{
    Base, Part, PartId, Snapshot, StoredPart, StoredStructure, StructureId, StructureItem,
};
use prometheus_dynamodb::internals::table::{
    CompactStats, Cursor, Listed, ReadStats, ReadStructures, SnapshotPage, TableError, TableTime,
};

/// What becomes of a write that fails.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Trouble {
    Throttled,
    /// The write takes effect, and only its response is lost.
    TimedOut,
    Failed,
    /// The write takes effect, but fails for good.
    Lost,
}

/// A table whose calls take some time, and of whose writes every so-and-so-many-th fails. One page has all snapshots of a shard.
#[derive(Debug)]
pub(crate) struct TroubledTable {
    pub table: MemoryStatsTable,
    pub call_takes: Duration,
    /// Trouble of each write whose number this divides.
    pub trouble: Option<(u32, Trouble)>,
    pub writes: AtomicU32,
}

impl TroubledTable {
    async fn read<R>(&self, call: impl Future<Output = Result<R, TableError>>) -> Result<R, TableError> {
        tokio::time::sleep(self.call_takes).await;
        call.await
    }

    async fn write(&self, call: impl Future<Output = Result<bool, TableError>>) -> Result<bool, TableError> {
        tokio::time::sleep(self.call_takes).await;
        let number = self.writes.fetch_add(1, Ordering::SeqCst) + 1;
        match self.trouble.filter(|(every, _)| number.is_multiple_of(*every)) {
            None => call.await,
            Some((_, Trouble::Throttled)) => Err(TableError::Throttled("too many writes".into())),
            Some((_, Trouble::TimedOut)) => {
                call.await?;
                Err(TableError::TimedOut("no response".into()))
            }
            Some((_, Trouble::Lost)) => {
                call.await?;
                Err(TableError::Failed("the connection was closed".into()))
            }
            Some((_, Trouble::Failed)) => Err(TableError::Failed("the connection was closed".into())),
        }
    }
}

impl TableTime for TroubledTable {
    fn answered_at_ms(&self) -> u64 {
        self.table.answered_at_ms()
    }

    fn now_ms(&self) -> u64 {
        self.table.now_ms()
    }
}

impl ReadStructures for TroubledTable {
    async fn structure(&self, shard: u32, id: StructureId) -> Result<Option<StructureItem>, TableError> {
        self.read(self.table.structure(shard, id)).await
    }
}

impl ReadStats for TroubledTable {
    async fn shards(&self) -> Result<u32, TableError> {
        self.read(self.table.shards()).await
    }

    async fn snapshot_page(&self, shard: u32, _: Option<&Cursor>) -> Result<SnapshotPage, TableError> {
        let snapshots = self.read(self.table.snapshots(shard)).await?;
        Ok(SnapshotPage { snapshots, next: None })
    }

    async fn base(&self, shard: u32) -> Result<Option<Base>, TableError> {
        self.read(self.table.base(shard)).await
    }

    async fn part(&self, shard: u32, id: PartId) -> Result<Option<Part>, TableError> {
        self.read(self.table.part(shard, id)).await
    }
}

impl CompactStats for TroubledTable {
    async fn seal(&self, snapshot: &Snapshot, at_ms: u64) -> Result<bool, TableError> {
        self.write(self.table.seal(snapshot, at_ms)).await
    }

    async fn parts(&self, shard: u32) -> Result<Listed<StoredPart>, TableError> {
        self.read(self.table.parts(shard)).await
    }

    async fn put_part(&self, shard: u32, part: &Part) -> Result<bool, TableError> {
        self.write(self.table.put_part(shard, part)).await
    }

    async fn note_unnamed(&self, shard: u32, id: PartId, at_ms: u64) -> Result<bool, TableError> {
        self.write(self.table.note_unnamed(shard, id, at_ms)).await
    }

    async fn delete_part(&self, shard: u32, id: PartId) -> Result<bool, TableError> {
        self.write(self.table.delete_part(shard, id)).await
    }

    async fn structures(&self, shard: u32) -> Result<Listed<StoredStructure>, TableError> {
        self.read(self.table.structures(shard)).await
    }

    async fn delete_structure(&self, shard: u32, id: StructureId, renewed_at_ms: u64) -> Result<bool, TableError> {
        self.write(self.table.delete_structure(shard, id, renewed_at_ms)).await
    }

    async fn put_base(&self, shard: u32, base: &Base) -> Result<bool, TableError> {
        self.write(self.table.put_base(shard, base)).await
    }

    async fn put_grave(&self, snapshot: &Snapshot, at_ms: u64) -> Result<bool, TableError> {
        self.write(self.table.put_grave(snapshot, at_ms)).await
    }

    async fn delete_snapshot(&self, snapshot: &Snapshot) -> Result<bool, TableError> {
        self.write(self.table.delete_snapshot(snapshot)).await
    }
}
