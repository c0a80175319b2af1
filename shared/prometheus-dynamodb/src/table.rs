//! The stats table, behind one port for each set of operations that a function may be allowed.
//!
//! # The items in DynamoDB
//!
//! | item | `pk` (S) | `sk` (S) | attributes |
//! |---|---|---|---|
//! | snapshot | `shard#` and a number from 0 | `writer#` and the writer's id, 32 hexadecimal digits | `seq` (N), `function` (S), `version` (S), `updated_at` (N), `closed` (BOOL), `sealed_at` (N, only once sealed), `format` (N), `families` (B) |
//! | base | `shard#` and a number | `base` | `version` (N), `folded` (B), `format` (N), `families` (B), `parts` (L of S, only if there are any) |
//! | part | `shard#` and a number | `part#` and the part's id, 32 hexadecimal digits | `version` (N), `folded` (B), `format` (N), `families` (B), `unnamed_at` (N, only once the base no longer names it) |
//! | structure | `shard#` and a number | `structure#` and the structure's id, 32 hexadecimal digits | `format` (N), `families` (B), `renewed_at` (N) |
//! | grave | `grave#` and the writer's id | `grave` | `function` (S), `format` (N), `families` (B), `ttl` (N) |
//! | shards | `shards` | `shards` | `highest` (N): the highest number of shards that any writer has used; no such item means 1 |
//!
//! Times are milliseconds since the epoch, except `ttl`, which DynamoDB wants in seconds. [`crate::table::wire`]
//! describes `format`, `families` and `folded`. All times except `updated_at` are the table's own, taken from its
//! answers.
//!
//! A base that outgrows an item is stored in *parts*, which it names and which never change. The `format` of such a
//! base is larger by [`PARTS_FORMAT`], so that a reader that knows nothing of parts refuses the base instead of reading
//! only some of it. A part's `version` is that of the one base that may name the part. Its id is the start of the
//! SHA-256 of its content.
//!
//! Snapshots of format 2 name a *structure* that is stored under the same partition key and holds what many of them
//! have in common. A structure never changes, because its id follows from its content. [`crate::protocol::structure`]
//! describes how long it is kept.
//!
//! A writer chooses the shard of its snapshot freely among those that the item `shards` announces.
//!
//! | write | condition |
//! |---|---|
//! | put a writer's first snapshot, or its fence; sent only once | `attribute_not_exists(pk)` |
//! | put a later snapshot | `attribute_not_exists(sealed_at) AND seq < :seq` |
//! | seal: set `sealed_at` | `attribute_not_exists(sealed_at) AND seq = :seq` |
//! | put a part | `attribute_not_exists(pk)` |
//! | put a base, once its parts are stored | `version = :before`, or `attribute_not_exists(pk)` for version 1 |
//! | note that no base names a part: set `unnamed_at` | `attribute_exists(pk) AND attribute_not_exists(unnamed_at)` |
//! | delete a part | `attribute_exists(unnamed_at)` |
//! | put a structure | none |
//! | delete a structure | `renewed_at = :renewed_at` |
//! | put a grave | `attribute_not_exists(pk)` |
//! | delete a snapshot | `attribute_exists(sealed_at)` |
//! | announce a number of shards: put `shards` | `attribute_not_exists(pk) OR highest < :shards` |

mod dynamodb;
pub mod item;
pub(crate) mod items;
mod memory;
mod server_time;
pub mod wire;

pub use dynamodb::{DynamoDbStatsTable, PARTS_FORMAT};
pub use memory::MemoryStatsTable;

use std::error::Error;
use std::future::Future;

use crate::clock;
use crate::protocol::condition::PutCondition;
use crate::protocol::writer::PutOutcome;
use crate::table::item::{
    Base, Encoded, Part, PartId, Snapshot, StoredPart, StoredStructure, StructureId, StructureItem, WriterId,
};

/// The table's own time, by which sealing, burial and forgetting are timed, because the clocks of those who use the
/// table can be wrong, and differ. By default it is the clock of this process, for tables in memory.
pub trait TableTime: Send + Sync + 'static {
    /// Returns the table's time at its last answer, in milliseconds since the epoch: never ahead of the table.
    fn answered_at_ms(&self) -> u64 {
        clock::now_ms()
    }

    /// Returns approximately the table's present time, in milliseconds since the epoch. It decides which writers are
    /// live, and nothing that must be exact.
    fn now_ms(&self) -> u64 {
        clock::now_ms()
    }
}

/// Reads structures. Whoever reads a snapshot needs its structure, and so does a writer that goes on from a snapshot.
pub trait ReadStructures: TableTime {
    /// Returns the structure with this id, if it is stored in the shard. The read is strongly consistent.
    fn structure(
        &self,
        shard: u32,
        id: StructureId,
    ) -> impl Future<Output = Result<Option<StructureItem>, TableError>> + Send;
}

/// Publishes snapshots. Needs `dynamodb:PutItem` and `dynamodb:GetItem`, as every function with metrics does.
///
/// This trait is sealed: only the tables of this crate implement it, and its methods are not part of the crate's
/// interface.
pub trait PublishStats: ReadStructures {
    /// Puts the structure with this id, whatever is stored. A stored one can only be the same, renewed earlier, or
    /// damaged.
    #[doc(hidden)]
    fn put_structure(
        &self,
        shard: u32,
        id: StructureId,
        structure: &StructureItem,
    ) -> impl Future<Output = Result<(), TableError>> + Send;

    /// Puts the snapshot if the condition holds. With [`PutCondition::Absent`] it is sent once and not repeated.
    #[doc(hidden)]
    fn put_snapshot(
        &self,
        snapshot: &Snapshot,
        condition: PutCondition,
    ) -> impl Future<Output = Result<PutOutcome<Encoded>, TableError>> + Send;

    /// Returns the content that the writer's grave holds, if there is a grave. The read is strongly consistent.
    #[doc(hidden)]
    fn grave(&self, writer: WriterId) -> impl Future<Output = Result<Option<Encoded>, TableError>> + Send;

    /// Makes sure that readers look under at least this many partition keys.
    #[doc(hidden)]
    fn announce_shards(&self, shards: u32) -> impl Future<Output = Result<(), TableError>> + Send;
}

/// Reads everything. Needs `dynamodb:Query` and `dynamodb:GetItem`, as the function that is scraped does. All reads are
/// strongly consistent.
///
/// This trait is sealed: only the tables of this crate implement it, and its methods are not part of the crate's
/// interface.
pub trait ReadStats: ReadStructures {
    /// Returns the largest number of partition keys that any writer has ever announced, or 1.
    #[doc(hidden)]
    fn shards(&self) -> impl Future<Output = Result<u32, TableError>> + Send;

    /// Returns some snapshots of a shard, in ascending order of their writers: the first ones, or those that follow the
    /// page that ended at `after`. A snapshot that cannot be read does not keep the others from being read.
    #[doc(hidden)]
    fn snapshot_page(
        &self,
        shard: u32,
        after: Option<&Cursor>,
    ) -> impl Future<Output = Result<SnapshotPage, TableError>> + Send;

    /// Returns all snapshots of a shard.
    #[doc(hidden)]
    fn snapshots(
        &self,
        shard: u32,
    ) -> impl Future<Output = Result<Vec<Result<Snapshot, UnreadableItem>>, TableError>> + Send {
        async move {
            let mut page = self.snapshot_page(shard, None).await?;
            let mut snapshots = page.snapshots;
            while let Some(cursor) = page.next {
                page = self.snapshot_page(shard, Some(&cursor)).await?;
                snapshots.append(&mut page.snapshots);
            }
            Ok(snapshots)
        }
    }

    /// Returns the shard's base, if there is one.
    #[doc(hidden)]
    fn base(&self, shard: u32) -> impl Future<Output = Result<Option<Base>, TableError>> + Send;

    /// Returns a part of the shard's base, if it is stored.
    #[doc(hidden)]
    fn part(&self, shard: u32, id: PartId) -> impl Future<Output = Result<Option<Part>, TableError>> + Send;
}

/// Position at which a page of snapshots ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cursor(pub(crate) String);

/// Some of a shard's snapshots.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct SnapshotPage {
    /// The snapshots.
    pub snapshots: Vec<Result<Snapshot, UnreadableItem>>,
    /// Position at which the page ended, unless it was the last one.
    pub next: Option<Cursor>,
}

/// Compacts the table. Needs the permissions for reading, and `dynamodb:PutItem`, `dynamodb:UpdateItem` and
/// `dynamodb:DeleteItem`.
///
/// Every write is conditional. A write returns `false` if its condition did not hold, which means that another run, or
/// the writer, was there first.
///
/// This trait is sealed: only the tables of this crate implement it, and its methods are not part of the crate's
/// interface.
pub trait CompactStats: ReadStats {
    /// Seals the snapshot as of `at_ms`, on condition that it has not changed since it was read.
    #[doc(hidden)]
    fn seal(&self, snapshot: &Snapshot, at_ms: u64) -> impl Future<Output = Result<bool, TableError>> + Send;

    /// Returns all stored parts of the shard's bases, named or not, without their content.
    #[doc(hidden)]
    fn parts(&self, shard: u32) -> impl Future<Output = Result<Listed<StoredPart>, TableError>> + Send;

    /// Puts a part, on condition that it is not stored.
    #[doc(hidden)]
    fn put_part(&self, shard: u32, part: &Part) -> impl Future<Output = Result<bool, TableError>> + Send;

    /// Notes that no base names the part, on condition that it is stored and that this was not noted before.
    #[doc(hidden)]
    fn note_unnamed(&self, shard: u32, id: PartId, at_ms: u64)
    -> impl Future<Output = Result<bool, TableError>> + Send;

    /// Deletes the part, on condition that it was noted to be unnamed.
    #[doc(hidden)]
    fn delete_part(&self, shard: u32, id: PartId) -> impl Future<Output = Result<bool, TableError>> + Send;

    /// Returns all stored structures of the shard, named or not, without their content.
    #[doc(hidden)]
    fn structures(&self, shard: u32) -> impl Future<Output = Result<Listed<StoredStructure>, TableError>> + Send;

    /// Deletes the structure, on condition that it was last renewed at `renewed_at_ms`.
    #[doc(hidden)]
    fn delete_structure(
        &self,
        shard: u32,
        id: StructureId,
        renewed_at_ms: u64,
    ) -> impl Future<Output = Result<bool, TableError>> + Send;

    /// Puts the shard's base, on condition that the stored base has the preceding version, or for version 1 that none
    /// is stored.
    #[doc(hidden)]
    fn put_base(&self, shard: u32, base: &Base) -> impl Future<Output = Result<bool, TableError>> + Send;

    /// Puts the writer's grave with the snapshot's content, on condition that there is none.
    #[doc(hidden)]
    fn put_grave(&self, snapshot: &Snapshot, at_ms: u64) -> impl Future<Output = Result<bool, TableError>> + Send;

    /// Deletes the snapshot, on condition that it is sealed.
    #[doc(hidden)]
    fn delete_snapshot(&self, snapshot: &Snapshot) -> impl Future<Output = Result<bool, TableError>> + Send;
}

/// Error of a call to the stats table, with the cause that AWS or the network names.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// DynamoDB throttled the call.
    #[error("DynamoDB throttles: {0}")]
    Throttled(Box<dyn Error + Send + Sync>),
    /// No answer came within the time allowed. The operation may have been carried out all the same.
    #[error("DynamoDB did not answer in time: {0}")]
    TimedOut(Box<dyn Error + Send + Sync>),
    /// DynamoDB could not be reached, or it failed.
    #[error("DynamoDB failed: {0}")]
    Failed(Box<dyn Error + Send + Sync>),
    /// An item that must not be left out of a scrape cannot be read.
    #[error(transparent)]
    Unreadable(#[from] UnreadableItem),
}

impl TableError {
    /// Returns the reason as a label value.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Throttled(_) => "throttled",
            Self::TimedOut(_) => "timeout",
            Self::Failed(_) => "failed",
            Self::Unreadable(_) => "unreadable",
        }
    }
}

/// The items that a query found, some of which may be unreadable.
pub type Listed<I> = Vec<Result<I, UnreadableItem>>;

/// An item with an attribute that is missing or of the wrong type.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
#[error("the item {partition_key}, {sort_key} cannot be read: {attribute} is missing or of another type")]
pub struct UnreadableItem {
    /// The item's partition key.
    pub partition_key: String,
    /// The item's sort key.
    pub sort_key: String,
    /// The first attribute that is wrong.
    pub attribute: &'static str,
}

impl UnreadableItem {
    /// Returns the writer whose snapshot the item is, if it is one. An item's key can be read whatever else is wrong
    /// with the item.
    pub fn writer(&self) -> Option<WriterId> {
        WriterId::parse(self.sort_key.strip_prefix(WRITER_PREFIX)?)
    }
}

/// Prefix of a snapshot's sort key.
const WRITER_PREFIX: &str = "writer#";
