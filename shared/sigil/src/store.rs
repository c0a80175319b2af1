//! Where records are kept, behind one port for each thing that a function may be allowed to do.
//!
//! Each port is one IAM action, named with it. In production they are stacked: [`Guarded`] by a circuit breaker, around
//! [`Observed`] for metrics, around the table.

mod breaker;
mod dynamodb;
pub(crate) mod failure;
mod guarded;
mod memory;
mod observed;

pub use breaker::BreakerState;
pub use dynamodb::DynamoDbStore;
pub use guarded::{Guarded, SharedBreaker};
pub use memory::MemoryStore;
pub use observed::Observed;

use std::error::Error;
use std::future::Future;
use std::time::Duration;

use crate::record::{SigilId, SigilRecord};
use crate::timestamp::Timestamp;

/// Over how many partition keys of the index the records are spread: DynamoDB takes about 1,000 writes a second under one.
pub const GC_SHARDS: u8 = 8;

/// The largest record that DynamoDB takes, in bytes: see
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>.
pub const MAX_RECORD_BYTES: usize = 400 * 1024;

/// How long after a record is due DynamoDB itself deletes it, in seconds, should gc never come: late enough that gc nearly
/// always is first, for only gc counts what it deletes.
pub const EXPIRY_AFTER_DUE_SECONDS: u64 = 7 * 24 * 60 * 60;

/// Storing a new record: `dynamodb:PutItem`.
pub trait InsertRecord: Send + Sync + 'static {
    /// Stores the record, unless there is one of this id.
    fn insert(&self, record: &SigilRecord) -> impl Future<Output = Result<Insertion, StorageError>> + Send;
}

/// Reading a record: `dynamodb:GetItem`.
pub trait LoadRecord: Send + Sync + 'static {
    /// Reads the record of this id, strongly consistent.
    fn load(&self, id: SigilId) -> impl Future<Output = Result<Option<Loaded>, StorageError>> + Send;
}

/// Revoking: `dynamodb:UpdateItem`.
pub trait RevokeRecord: Send + Sync + 'static {
    /// Notes that the sigil is revoked, from when on it is due, and the record's new signature, if the record that is stored
    /// is still the one with the signature `read`.
    fn revoke(&self, revoked: &SigilRecord, read: &str) -> impl Future<Output = Result<Revoking, StorageError>> + Send;
}

/// Finding what is due: `dynamodb:Query` on the index.
pub trait ListDue: Send + Sync + 'static {
    /// The ids of this shard that are due, the longest due first, a page at a time. What it says may be a little out of
    /// date, so deleting asks again.
    fn list_due(
        &self,
        shard: u8,
        now: Timestamp,
        from: Option<PageStart>,
    ) -> impl Future<Output = Result<DuePage, StorageError>> + Send;
}

/// Deleting what is due: `dynamodb:DeleteItem`.
pub trait DeleteDue: Send + Sync + 'static {
    /// Deletes the record if it is still there and still due.
    fn delete_due(
        &self,
        id: SigilId,
        now: Timestamp,
    ) -> impl Future<Output = Result<Option<Deletion>, StorageError>> + Send;
}

/// What became of an insert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Insertion {
    /// The record is stored.
    Inserted,
    /// There is another record of this id.
    Existing(Loaded),
}

/// What is stored under an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loaded {
    /// A record.
    Record(SigilRecord),
    /// Something that no function of this project has written so.
    Damaged,
}

/// What became of a revocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revoking {
    /// It is noted.
    Revoked,
    /// The record is another one by now, or gone.
    Changed(Option<Loaded>),
}

/// Some of the ids that are due.
#[derive(Debug, Clone, PartialEq)]
pub struct DuePage {
    /// The ids.
    pub ids: Vec<SigilId>,
    /// Where the next page starts, if there is one.
    pub next: Option<PageStart>,
    /// What this page cost, in DynamoDB's read capacity units.
    pub read_capacity_units: f64,
}

/// Where a page starts: after this entry of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageStart {
    /// When that entry is due.
    pub due: Timestamp,
    /// Its id.
    pub id: SigilId,
}

/// Why a record was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// The sigil had expired.
    Expired,
    /// The sigil was revoked.
    Revoked,
}

impl Deletion {
    /// All reasons.
    pub const ALL: [Self; 2] = [Self::Expired, Self::Revoked];

    /// The reason as a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The record is larger than DynamoDB takes.
    #[error("the record has {bytes} bytes, and {limit} are allowed")]
    TooLarge {
        /// Its size by DynamoDB's rules.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// DynamoDB is asked too much at the moment.
    #[error("the store is throttled")]
    Throttled(#[source] Box<dyn Error + Send + Sync>),
    /// No answer came within the time allowed. What was asked may have been done all the same.
    #[error("the store did not answer in time")]
    TimedOut(#[source] Box<dyn Error + Send + Sync>),
    /// The store could not be reached, or it failed.
    #[error("the store is unavailable")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
    /// The call could not be made: no time was left for it, or the request could not be built or signed.
    #[error("the store was not asked")]
    NotSent(#[source] Box<dyn Error + Send + Sync>),
    /// The store failed several times in a row, and was not asked.
    #[error("the store has failed repeatedly and is not asked for another {} s", retry_after.as_secs_f32())]
    CircuitOpen {
        /// When it will be asked again.
        retry_after: Duration,
    },
}

/// The kinds of calls to the store, as the values of the label `operation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorageOperation {
    /// [`InsertRecord`].
    Put,
    /// [`LoadRecord`].
    Get,
    /// [`RevokeRecord`].
    Update,
    /// [`ListDue`].
    Query,
    /// [`DeleteDue`].
    Delete,
}

impl StorageOperation {
    /// The kind as a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::Update => "update",
            Self::Query => "query",
            Self::Delete => "delete",
        }
    }
}

/// On which partition key of the index a record stands.
pub(crate) fn gc_shard(id: SigilId) -> u8 {
    // The last byte is random in both versions of ids; the ones that are not lie further ahead.
    id.as_bytes()[15] % GC_SHARDS
}
