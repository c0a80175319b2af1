//! The stats table, behind one port for each thing that a function may be allowed to do with it.
//!
//! # The items in DynamoDB
//!
//! | item | `pk` (S) | `sk` (S) | attributes |
//! |---|---|---|---|
//! | snapshot | `shard#` and a number from 0 | `writer#` and the writer's id, 32 hexadecimal digits | `seq` (N), `function` (S), `version` (S), `updated_at` (N), `closed` (BOOL), `sealed_at` (N, only once sealed), `format` (N), `families` (B) |
//! | base | `shard#` and a number | `base` | `version` (N), `folded` (B), `format` (N), `families` (B), `parts` (L of S, only if there are any) |
//! | part | `shard#` and a number | `part#` and the part's id, 32 hexadecimal digits | `version` (N), `folded` (B), `format` (N), `families` (B), `unnamed_at` (N, only once the base no longer names it) |
//! | structure | `shard#` and a number | `structure#` and the structure's id, 32 hexadecimal digits | `format` (N), `families` (B), `renewed_at` (N) |
//! | grave | `grave#` and the writer's id | `grave` | `format` (N), `families` (B), `ttl` (N) |
//! | shards | `shards` | `shards` | `highest` (N): the highest number of shards that any writer has used; no such item means 1 |
//!
//! Times are milliseconds since the epoch, but for `ttl`, which DynamoDB wants in seconds. `format`, `families` and `folded` are
//! described in [`crate::table::wire`]. All but `updated_at` are the table's own times: those of its answers.
//!
//! A base that outgrows an item stands in *parts*, which never change and which it names. Its `format` is then larger by
//! [`PARTS_FORMAT`], so that a reader that knows nothing of parts refuses it rather than read less than all. A part's
//! `version` is that of the one base that may name it, and its id is the start of the SHA-256 of what it holds.
//!
//! Snapshots of format 2 name a *structure* that is stored under the same partition key: what many of them have in common.
//! A structure never changes, for its id follows from what it holds. Its life is told in [`crate::protocol::structure`].
//!
//! A writer chooses the shard of its item freely among those that this last item tells of.
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

/// The table's own time, by which sealing, burial and forgetting are timed: the clocks of those who use it can be wrong, and
/// differ. A table in this process has its clock.
pub trait TableTime: Send + Sync + 'static {
    /// Returns the table's time at its last answer, in milliseconds since the epoch: never ahead of the table.
    fn answered_at_ms(&self) -> u64 {
        clock::now_ms()
    }

    /// Returns about the time it is by the table's clock, in milliseconds since the epoch. It says who is live, and
    /// nothing that must be exact.
    fn now_ms(&self) -> u64 {
        clock::now_ms()
    }
}

/// Reading what snapshots have in common: whoever reads a snapshot needs it, and so does whoever goes on from one.
pub trait ReadStructures: TableTime {
    /// The structure of this id that is stored in the shard, if it is. The read is strongly consistent.
    fn structure(
        &self,
        shard: u32,
        id: StructureId,
    ) -> impl Future<Output = Result<Option<StructureItem>, TableError>> + Send;
}

/// Publishes: `dynamodb:PutItem` and `dynamodb:GetItem`, which every function with metrics needs.
///
/// This trait is sealed: the tables of this crate have it, and its methods are not part of the crate's interface.
pub trait PublishStats: ReadStructures {
    /// Puts the structure of this id, whatever is stored: it can only be the same, renewed earlier.
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

    /// What the writer had counted when it was buried. The read is strongly consistent.
    #[doc(hidden)]
    fn grave(&self, writer: WriterId) -> impl Future<Output = Result<Option<Encoded>, TableError>> + Send;

    /// Sees to it that readers look under at least this many partition keys.
    #[doc(hidden)]
    fn announce_shards(&self, shards: u32) -> impl Future<Output = Result<(), TableError>> + Send;
}

/// Reads everything: `dynamodb:Query` and `dynamodb:GetItem`, which the function that is scraped needs. All reads are strongly
/// consistent.
///
/// This trait is sealed: the tables of this crate have it, and its methods are not part of the crate's interface.
pub trait ReadStats: ReadStructures {
    /// The largest number of partition keys that any writer ever announced, or 1.
    #[doc(hidden)]
    fn shards(&self) -> impl Future<Output = Result<u32, TableError>> + Send;

    /// Some snapshots of a shard, in ascending order of their writers: the first ones, or those that follow a page. One
    /// that cannot be read does not keep the others from being read.
    #[doc(hidden)]
    fn snapshot_page(
        &self,
        shard: u32,
        after: Option<&Cursor>,
    ) -> impl Future<Output = Result<SnapshotPage, TableError>> + Send;

    /// All snapshots of a shard.
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

    /// The shard's base, if there is one.
    #[doc(hidden)]
    fn base(&self, shard: u32) -> impl Future<Output = Result<Option<Base>, TableError>> + Send;

    /// A part of the shard's base, if it is stored.
    #[doc(hidden)]
    fn part(&self, shard: u32, id: PartId) -> impl Future<Output = Result<Option<Part>, TableError>> + Send;
}

/// Where a page of snapshots ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cursor(pub(crate) String);

/// Some of a shard's snapshots.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct SnapshotPage {
    /// The snapshots.
    pub snapshots: Vec<Result<Snapshot, UnreadableItem>>,
    /// Where it ended, unless it was the last one.
    pub next: Option<Cursor>,
}

/// Compacts: what reading needs, `dynamodb:PutItem`, `dynamodb:UpdateItem` and `dynamodb:DeleteItem`. Every write is
/// conditional; `false` says that the condition did not hold, which means that another run, or the writer, was there first.
///
/// This trait is sealed: the tables of this crate have it, and its methods are not part of the crate's interface.
pub trait CompactStats: ReadStats {
    /// Seals the snapshot as of `at_ms`, on condition that it is as it was read.
    #[doc(hidden)]
    fn seal(&self, snapshot: &Snapshot, at_ms: u64) -> impl Future<Output = Result<bool, TableError>> + Send;

    /// All stored parts of the shard's bases, named or not, without what they hold.
    #[doc(hidden)]
    fn parts(&self, shard: u32) -> impl Future<Output = Result<Vec<StoredPart>, TableError>> + Send;

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

    /// All stored structures of the shard, named or not, without what they hold.
    #[doc(hidden)]
    fn structures(&self, shard: u32) -> impl Future<Output = Result<Vec<StoredStructure>, TableError>> + Send;

    /// Deletes the structure, on condition that it was last renewed at `renewed_at_ms`.
    #[doc(hidden)]
    fn delete_structure(
        &self,
        shard: u32,
        id: StructureId,
        renewed_at_ms: u64,
    ) -> impl Future<Output = Result<bool, TableError>> + Send;

    /// Puts the shard's base, on condition that the stored one has the version before, or that there is none for version 1.
    #[doc(hidden)]
    fn put_base(&self, shard: u32, base: &Base) -> impl Future<Output = Result<bool, TableError>> + Send;

    /// Puts the writer's grave with the snapshot's content, on condition that there is none.
    #[doc(hidden)]
    fn put_grave(&self, snapshot: &Snapshot, at_ms: u64) -> impl Future<Output = Result<bool, TableError>> + Send;

    /// Deletes the snapshot, on condition that it is sealed.
    #[doc(hidden)]
    fn delete_snapshot(&self, snapshot: &Snapshot) -> impl Future<Output = Result<bool, TableError>> + Send;
}

/// Why the stats table could not be used, with the cause that AWS or the network names.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// DynamoDB answered that it is asked too much.
    #[error("DynamoDB throttles: {0}")]
    Throttled(Box<dyn Error + Send + Sync>),
    /// No answer came within the time allowed. What was asked may have been done all the same.
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
    /// The reason as a label's value.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Throttled(_) => "throttled",
            Self::TimedOut(_) => "timeout",
            Self::Failed(_) => "failed",
            Self::Unreadable(_) => "unreadable",
        }
    }
}

/// An item whose attributes are not what they must be.
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
    /// Whose snapshot it is: an item's key can be read whatever else is wrong with it.
    pub fn writer(&self) -> Option<WriterId> {
        WriterId::parse(self.sort_key.strip_prefix(WRITER_PREFIX)?)
    }
}

/// What a snapshot's sort key begins with.
const WRITER_PREFIX: &str = "writer#";
