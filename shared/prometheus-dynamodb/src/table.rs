//! The stats table, behind one port for each thing that a function may be allowed to do with it.
//!
//! # The items in DynamoDB
//!
//! | item | `pk` (S) | `sk` (S) | attributes |
//! |---|---|---|---|
//! | snapshot | `shard#` and a number from 0 | `writer#` and the writer's id, 32 hexadecimal digits | `seq` (N), `function` (S), `version` (S), `updated_at` (N), `closed` (BOOL), `sealed_at` (N, only once sealed), `format` (N), `families` (B) |
//! | base | `shard#` and a number | `base` | `version` (N), `folded` (B), `format` (N), `families` (B) |
//! | grave | `grave#` and the writer's id | `grave` | `format` (N), `families` (B), `ttl` (N) |
//! | shards | `shards` | `shards` | `highest` (N): the highest number of shards that any writer has used; no such item means 1 |
//!
//! Times are milliseconds since the epoch, but for `ttl`, which DynamoDB wants in seconds. `format`, `families` and `folded` are
//! described in [`crate::table::wire`]. A writer chooses the shard of its item freely among those that this last item tells of.
//!
//! | write | condition |
//! |---|---|
//! | put a writer's first snapshot, or its fence; sent only once | `attribute_not_exists(pk)` |
//! | put a later snapshot | `attribute_not_exists(sealed_at) AND seq < :seq` |
//! | seal: set `sealed_at` | `attribute_not_exists(sealed_at) AND seq = :seq` |
//! | put a base | `version = :before`, or `attribute_not_exists(pk)` for version 1 |
//! | put a grave | `attribute_not_exists(pk)` |
//! | delete a snapshot | `attribute_exists(sealed_at)` |

mod dynamodb;
pub mod item;
pub(crate) mod items;
mod memory;
pub mod wire;

pub use dynamodb::DynamoDbStatsTable;
pub use memory::MemoryStatsTable;

use std::error::Error;
use std::future::Future;

use crate::protocol::condition::PutCondition;
use crate::protocol::writer::PutOutcome;
use crate::table::item::{Base, Encoded, Snapshot, WriterId};

/// Publishing: what every function with metrics needs.
pub trait PublishStats: Send + Sync + 'static {
    /// Puts the snapshot if the condition holds. With [`PutCondition::Absent`] it is sent once and not repeated.
    fn put_snapshot(
        &self,
        snapshot: &Snapshot,
        condition: PutCondition,
    ) -> impl Future<Output = Result<PutOutcome<Encoded>, TableError>> + Send;

    /// What the writer had counted when it was buried. The read is strongly consistent.
    fn grave(&self, writer: WriterId) -> impl Future<Output = Result<Option<Encoded>, TableError>> + Send;

    /// Sees to it that readers look under at least this many partition keys.
    fn announce_shards(&self, shards: u32) -> impl Future<Output = Result<(), TableError>> + Send;
}

/// Reading everything: what the metrics function needs. All reads are strongly consistent.
pub trait ReadStats: Send + Sync + 'static {
    /// The largest number of partition keys that any writer ever announced, or 1.
    fn shards(&self) -> impl Future<Output = Result<u32, TableError>> + Send;

    /// All snapshots of a shard. One that cannot be read does not keep the others from being read.
    fn snapshots(
        &self,
        shard: u32,
    ) -> impl Future<Output = Result<Vec<Result<Snapshot, UnreadableItem>>, TableError>> + Send;

    /// The shard's base, if there is one.
    fn base(&self, shard: u32) -> impl Future<Output = Result<Option<Base>, TableError>> + Send;
}

/// Compacting: what the function that collects garbage needs. Every write is conditional; `false` says that the condition
/// did not hold, which means that another run, or the writer, was there first.
pub trait CompactStats: ReadStats {
    /// Seals the snapshot as of `at_ms`, on condition that it is as it was read.
    fn seal(&self, snapshot: &Snapshot, at_ms: u64) -> impl Future<Output = Result<bool, TableError>> + Send;

    /// Puts the shard's base, on condition that the stored one has the version before, or that there is none for version 1.
    fn put_base(&self, shard: u32, base: &Base) -> impl Future<Output = Result<bool, TableError>> + Send;

    /// Puts the writer's grave with the snapshot's content, on condition that there is none.
    fn put_grave(&self, snapshot: &Snapshot, at_ms: u64) -> impl Future<Output = Result<bool, TableError>> + Send;

    /// Deletes the snapshot, on condition that it is sealed.
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
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the item {partition_key}, {sort_key} cannot be read: {attribute} is missing or of another type")]
pub struct UnreadableItem {
    /// The item's partition key.
    pub partition_key: String,
    /// The item's sort key.
    pub sort_key: String,
    /// The first attribute that is wrong.
    pub attribute: &'static str,
}
