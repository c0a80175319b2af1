//! Keeps records, behind one port for each kind of access that a function may be granted.
//!
//! Each port needs one IAM action, which its doc names. In production, stores are stacked: the circuit breaker of
//! [`Guarded`] around the metrics of [`Observed`] around the table.

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

use strum::{AsRefStr, VariantArray};

use crate::canonical;
use crate::record::{SigilId, SigilRecord};
use crate::timestamp::Timestamp;

/// Number of partition keys over which the index spreads the records. DynamoDB takes about 1,000 writes a second under
/// one key.
pub const GC_SHARDS: u8 = 8;

/// Size of the largest record that DynamoDB takes, in bytes.
pub const MAX_RECORD_BYTES: usize = canonical::MAX_BYTES;

/// Time from when a record is due until DynamoDB itself deletes it if gc has not, in seconds. It is long enough for gc
/// to come first nearly always, because only gc counts what it deletes.
pub const EXPIRY_AFTER_DUE_SECONDS: u64 = 7 * 24 * 60 * 60;

/// Stores a new record: `dynamodb:PutItem`.
pub trait InsertRecord: Send + Sync + 'static {
    /// Stores the record, unless another record with this id exists. No two requests make the same token, which holds a
    /// random id or nonce. So a stored record with this token comes from an earlier attempt of this call, whose response
    /// was lost, even if it was revoked since.
    fn insert(&self, record: &SigilRecord) -> impl Future<Output = Result<Insertion, StorageError>> + Send;
}

/// Reads a record: `dynamodb:GetItem`.
pub trait LoadRecord: Send + Sync + 'static {
    /// Reads the record with this id, strongly consistent.
    fn load(&self, id: SigilId) -> impl Future<Output = Result<Option<Loaded>, StorageError>> + Send;
}

/// Revokes a sigil: `dynamodb:UpdateItem`.
pub trait RevokeRecord: Send + Sync + 'static {
    /// Stores the revocation, the new due time and the new signature of the record, on condition that the stored record
    /// still has the signature `read`.
    fn revoke(&self, revoked: &SigilRecord, read: &str) -> impl Future<Output = Result<Revoking, StorageError>> + Send;
}

/// Finds the records that are due: `dynamodb:Query` on the index.
pub trait ListDue: Send + Sync + 'static {
    /// Place in the index after which a page starts.
    type PageStart: Send;

    /// Returns the ids of this shard that are due, one page at a time, those that have been due longest first. The
    /// answer may be slightly out of date, so deleting checks again.
    fn list_due(
        &self,
        shard: u8,
        now: Timestamp,
        from: Option<Self::PageStart>,
    ) -> impl Future<Output = Result<DuePage<Self::PageStart>, StorageError>> + Send;
}

/// Deletes the records that are due: `dynamodb:DeleteItem`.
pub trait DeleteDue: Send + Sync + 'static {
    /// Deletes the record if it still exists and is still due.
    fn delete_due(
        &self,
        id: SigilId,
        now: Timestamp,
    ) -> impl Future<Output = Result<Option<Deletion>, StorageError>> + Send;
}

/// Result of an insert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Insertion {
    /// The record is stored, by this attempt of the call or by an earlier one.
    Inserted,
    /// Another record has this id.
    Existing(Loaded),
}

/// Item that is stored under an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loaded {
    /// A record.
    Record(SigilRecord),
    /// An item that no function of this project has written in this form.
    Damaged,
}

/// Result of revoking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revoking {
    /// The revocation is stored.
    Revoked,
    /// The record has changed since it was read, or is gone.
    Changed(Option<Loaded>),
}

/// A page of ids that are due.
#[derive(Debug, Clone, PartialEq)]
pub struct DuePage<Start> {
    /// The ids.
    pub ids: Vec<SigilId>,
    /// Start of the next page, if there is one.
    pub next: Option<Start>,
    /// Cost of this page, in read capacity units of DynamoDB.
    pub read_capacity_units: f64,
}

/// Reason for which a record was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray, AsRefStr)]
#[strum(serialize_all = "snake_case")]
pub enum Deletion {
    /// The sigil had expired.
    Expired,
    /// The sigil was revoked.
    Revoked,
}

/// Error of the store.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The record is larger than DynamoDB takes, or would be once it is revoked.
    #[error("the record with room for its revocation has {bytes} bytes, and {limit} are allowed")]
    TooLarge {
        /// The record's size by DynamoDB's rules with room for its revocation, in bytes.
        bytes: usize,
        /// The largest size that is allowed, in bytes.
        limit: usize,
    },
    /// DynamoDB throttled the call.
    #[error("the store is throttled")]
    Throttled(#[source] Box<dyn Error + Send + Sync>),
    /// No answer came in time. The call may have taken effect nevertheless.
    #[error("the store did not answer in time")]
    TimedOut(#[source] Box<dyn Error + Send + Sync>),
    /// The store could not be reached, or failed.
    #[error("the store is unavailable")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
    /// DynamoDB refused the request as not valid, and would refuse it again.
    #[error("the store refused the request")]
    Refused(#[source] Box<dyn Error + Send + Sync>),
    /// The call was not made: no time was left for it, or the request could not be built.
    #[error("the store was not asked")]
    NotSent(#[source] Box<dyn Error + Send + Sync>),
    /// The store failed several times in a row, so the call was not made.
    #[error("calls to the store are suspended for {} s after repeated failures", whole_seconds(*retry_after))]
    CircuitOpen {
        /// Time until a call may be made again. Zero while a call under way shows whether the store works again.
        retry_after: Duration,
    },
}

/// Returns the time in whole seconds, and at least one, as clients are told it in `Retry-After`.
fn whole_seconds(time: Duration) -> u128 {
    time.as_millis().div_ceil(1000).max(1)
}

/// Kinds of calls to the store, as the values of the label `operation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, AsRefStr)]
#[strum(serialize_all = "snake_case")]
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

/// Returns the partition key of the index for a record.
pub(crate) fn gc_shard(id: SigilId) -> u8 {
    // The last byte is random in both UUID versions; the version and variant bits are in earlier bytes.
    id.as_bytes()[15] % GC_SHARDS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_breaker_tells_whole_seconds_as_retry_after_does() {
        for (milliseconds, seconds) in [(0, 1), (1, 1), (1000, 1), (4001, 5)] {
            let error = StorageError::CircuitOpen { retry_after: Duration::from_millis(milliseconds) };
            let expected = format!("calls to the store are suspended for {seconds} s after repeated failures");
            assert_eq!(error.to_string(), expected);
        }
    }
}
