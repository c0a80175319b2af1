//! Deletes the records that are due.

use std::future::ready;
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt};
use serde::Serialize;

use crate::record::SigilId;
use crate::store::{DeleteDue, Deletion, GC_SHARDS, ListDue, StorageError, gc_shard};
use crate::timestamp::Timestamp;

/// Maximum number of deletes under way at once.
const DELETES_AT_ONCE: usize = 16;

/// Time before the deadline in which no further step begins.
const MARGIN: Duration = Duration::from_millis(500);

/// The report of a sweep.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct SweepReport {
    /// Number of records of expired sigils that were deleted.
    pub expired: u64,
    /// Number of records of revoked sigils that were deleted.
    pub revoked: u64,
    /// Number of index entries that were found due. Entries that this run did not delete had been deleted by another
    /// run.
    pub found: u64,
    /// Cost of finding them, in read capacity units of DynamoDB.
    pub read_capacity_units: f64,
    /// `true` if everything that was due is gone. Otherwise the next run continues.
    pub finished: bool,
}

/// Deletes what is due, until nothing is left or the deadline comes near. The report holds what was done even if a step
/// failed.
///
/// A delete is conditional on its record still being due. So if runs overlap, only one of them deletes a record and
/// counts it. If the response to a delete is lost, the SDK repeats the delete, which then finds nothing and is not
/// counted: the count may miss a deletion, but never counts one twice.
pub async fn sweep<S: ListDue + DeleteDue>(
    store: &S,
    now: Timestamp,
    deadline: Instant,
) -> (SweepReport, Result<(), StorageError>) {
    let mut report = SweepReport::default();
    let mut result = Ok(());
    // The first shard is left to chance, so that a shard that takes all the time does not starve the others.
    let first = gc_shard(SigilId::random());
    for shard in (first..GC_SHARDS).chain(0..first) {
        match sweep_shard(store, shard, now, deadline, &mut report).await {
            Ok(true) => {}
            Ok(false) => return (report, result),
            Err(error) => {
                // The other shards are other partitions, so a call that failed here may succeed there.
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    shard,
                    "a shard of the index could not be swept"
                );
                // The first failure is reported: those after it may only follow from it.
                result = result.and(Err(error));
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
        // Once time is short, no further delete begins, but the deletes under way are awaited, so that every completed
        // one is counted.
        let in_time = stream::iter(page.ids).take_while(|_| ready(!is_late()));
        // Boxed, because otherwise the compiler cannot prove that the whole future is `Send`.
        let mut deletes = in_time.map(|id| store.delete_due(id, now)).buffer_unordered(DELETES_AT_ONCE).boxed();
        let mut failed = Ok(());
        while let Some(deleted) = deletes.next().await {
            match deleted {
                Ok(Some(Deletion::Expired)) => report.expired += 1,
                Ok(Some(Deletion::Revoked)) => report.revoked += 1,
                Ok(None) => {}
                Err(error) => failed = failed.and(Err(error)),
            }
        }
        failed?;
        next = page.next;
        if next.is_none() {
            return Ok(!is_late());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Mutex;

    use super::*;
    use crate::store::DuePage;

    /// A store whose shards have no end, so that a run comes no further than the first; with the shards that were read.
    #[derive(Default)]
    struct Endless(Mutex<BTreeSet<u8>>);

    impl ListDue for Endless {
        type PageStart = ();

        async fn list_due(&self, shard: u8, _: Timestamp, _: Option<()>) -> Result<DuePage<()>, StorageError> {
            self.0.lock().unwrap().insert(shard);
            Ok(DuePage { ids: Vec::new(), next: Some(()), read_capacity_units: 0.0 })
        }
    }

    impl DeleteDue for Endless {
        async fn delete_due(&self, _: SigilId, _: Timestamp) -> Result<Option<Deletion>, StorageError> {
            unreachable!("no entry is listed")
        }
    }

    #[tokio::test]
    async fn no_shard_starves_while_others_take_all_the_time() {
        let store = Endless::default();
        for _ in 0..300 {
            let deadline = Instant::now() + MARGIN + Duration::from_millis(1);
            let (report, result) = sweep(&store, Timestamp::now(), deadline).await;
            assert!(result.is_ok() && !report.finished, "{report:?}");
        }
        assert_eq!(store.0.into_inner().unwrap(), (0..GC_SHARDS).collect());
    }

    /// A store that fails, and then refuses calls because it has failed.
    #[derive(Default)]
    struct Failing(Mutex<Vec<u8>>);

    impl ListDue for Failing {
        type PageStart = ();

        async fn list_due(&self, shard: u8, _: Timestamp, _: Option<()>) -> Result<DuePage<()>, StorageError> {
            let mut asked = self.0.lock().unwrap();
            asked.push(shard);
            match asked.len() {
                1 => Err(StorageError::Unavailable("it is gone".into())),
                _ => Err(StorageError::CircuitOpen { retry_after: Duration::from_secs(5) }),
            }
        }
    }

    impl DeleteDue for Failing {
        async fn delete_due(&self, _: SigilId, _: Timestamp) -> Result<Option<Deletion>, StorageError> {
            unreachable!("no entry is listed")
        }
    }

    #[tokio::test]
    async fn a_failure_keeps_no_other_shard_from_being_swept_and_the_first_one_is_reported() {
        let store = Failing::default();
        let deadline = Instant::now() + Duration::from_secs(60);
        let (report, result) = sweep(&store, Timestamp::now(), deadline).await;
        assert!(matches!(result, Err(StorageError::Unavailable(_))), "{result:?}");
        assert!(!report.finished);
        assert_eq!(store.0.into_inner().unwrap().len(), usize::from(GC_SHARDS));
    }

    /// A store in which one record of each shard is due, but that lets nobody delete it.
    struct ReadOnly;

    impl ListDue for ReadOnly {
        type PageStart = ();

        async fn list_due(&self, _: u8, _: Timestamp, _: Option<()>) -> Result<DuePage<()>, StorageError> {
            Ok(DuePage { ids: vec![SigilId::random()], next: None, read_capacity_units: 0.5 })
        }
    }

    impl DeleteDue for ReadOnly {
        async fn delete_due(&self, _: SigilId, _: Timestamp) -> Result<Option<Deletion>, StorageError> {
            Err(StorageError::Unavailable("it is not allowed".into()))
        }
    }

    #[tokio::test]
    async fn a_sweep_that_can_delete_nothing_fails() {
        let (report, result) = sweep(&ReadOnly, Timestamp::now(), Instant::now() + Duration::from_secs(60)).await;
        assert!(matches!(result, Err(StorageError::Unavailable(_))), "{result:?}");
        let expected = SweepReport { found: GC_SHARDS.into(), read_capacity_units: 4.0, ..SweepReport::default() };
        assert_eq!(report, expected);
    }
}
