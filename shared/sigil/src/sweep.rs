//! Sweeping: records that are due are deleted.

use std::future::ready;
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt};
use serde::Serialize;

use crate::store::{DeleteDue, Deletion, GC_SHARDS, ListDue, StorageError};
use crate::timestamp::Timestamp;

/// The most deletes under way at once.
const DELETES_AT_ONCE: usize = 16;

/// Nothing is begun within this time before the deadline.
const MARGIN: Duration = Duration::from_millis(500);

/// The report of a sweep.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct SweepReport {
    /// Records of expired sigils that were deleted.
    pub expired: u64,
    /// Records of revoked sigils that were deleted.
    pub revoked: u64,
    /// Index entries that were found due. Those that were not deleted had been deleted by another run.
    pub found: u64,
    /// The cost of finding them, in read capacity units of DynamoDB.
    pub read_capacity_units: f64,
    /// Whether all that was due is gone. If not, the next run goes on.
    pub finished: bool,
}

/// Deletes what is due, until nothing is or the deadline comes near. What was done is in the report even when a step
/// failed.
///
/// A delete is conditional on its record still being due, so of overlapping runs one deletes a record and counts it. One
/// whose response was lost is repeated by the SDK, finds nothing, and is not counted: a count can miss a deletion, but
/// never counts one twice.
pub async fn sweep<S: ListDue + DeleteDue>(
    store: &S,
    now: Timestamp,
    deadline: Instant,
) -> (SweepReport, Result<(), StorageError>) {
    let mut report = SweepReport::default();
    let mut result = Ok(());
    for shard in 0..GC_SHARDS {
        match sweep_shard(store, shard, now, deadline, &mut report).await {
            Ok(true) => {}
            Ok(false) => return (report, result),
            Err(error) => {
                // The other shards are other partitions; what fails here may work there.
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    shard,
                    "a shard of the index could not be swept"
                );
                result = Err(error);
            }
        }
    }
    report.finished = result.is_ok();
    (report, result)
}

/// Sweeps a shard. Returns whether it was finished before the deadline.
async fn sweep_shard<S: ListDue + DeleteDue>(
    store: &S,
    shard: u8,
    now: Timestamp,
    deadline: Instant,
    report: &mut SweepReport,
) -> Result<bool, StorageError> {
    let is_late = || Instant::now() + MARGIN >= deadline;
    let mut next = None;
    loop {
        if is_late() {
            return Ok(false);
        }
        let page = store.list_due(shard, now, next).await?;
        report.found += page.ids.len() as u64;
        report.read_capacity_units += page.read_capacity_units;
        // Late, no further delete is begun, but those under way are waited for: each one that was done is counted.
        let in_time = stream::iter(page.ids).take_while(|_| ready(!is_late()));
        // Boxed, for otherwise the compiler cannot tell that the whole can be sent between threads.
        let mut deletes = in_time.map(|id| store.delete_due(id, now)).buffer_unordered(DELETES_AT_ONCE).boxed();
        let mut failed = Ok(());
        while let Some(deleted) = deletes.next().await {
            match deleted {
                Ok(Some(Deletion::Expired)) => report.expired += 1,
                Ok(Some(Deletion::Revoked)) => report.revoked += 1,
                Ok(None) => {}
                Err(error) => failed = Err(error),
            }
        }
        failed?;
        next = page.next;
        if next.is_none() {
            return Ok(!is_late());
        }
    }
}
