//! Compacts the stats table: one gc run.
//!
//! ```text
//! compact ─▶ shard: base, then page after page of snapshots: seal, add, bury ─▶ commit ─▶ parts that no base names
//! ```

mod calls;
mod compactor;
mod metrics;
mod shard;

pub use compactor::{CompactError, Compactor};

use calls::{Calls, LAST_MOMENT};
use tokio::time::Instant;

use crate::base::{BaseError, WRITERS_IN_ITEM};
use crate::settings::TableSettings;
use crate::structures::Structures;
use crate::table::item::WriterId;
use crate::table::wire::TooLarge;
use crate::table::{CompactStats, TableError};

/// Report of what a run of a [`Compactor`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct CompactReport {
    /// Snapshots that were sealed.
    pub sealed: u64,
    /// Writers whose content was added to a base.
    pub folded: u64,
    /// Snapshots that were moved to their graves.
    pub buried: u64,
    /// Writers that a base no longer names.
    pub forgotten: u64,
    /// Sealed writers that were not folded because a series of theirs could outgrow an item. They count all the same, but each
    /// scrape reads them one by one.
    pub base_full: u64,
    /// Items that could not be read, and were left alone.
    pub unreadable: u64,
    /// `true` if all work that was due was done. If not, the next run goes on.
    pub finished: bool,
}

/// Error returned when a run could not be finished.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The table could not be used.
    #[error("a call to the table failed")]
    Table(#[from] TableError),
    /// A base cannot be decoded, so nothing can be added to it.
    #[error("the base of shard {shard} cannot be decoded")]
    Base {
        /// The base's shard.
        shard: u32,
        /// The fault of the base.
        source: BaseError,
    },
    /// A series of a base that an earlier version has stored has outgrown an item.
    #[error("the base of shard {shard} cannot be stored")]
    TooLarge {
        /// The base's shard.
        shard: u32,
        /// Its size.
        source: TooLarge,
    },
}

/// Does the work that is due, until it is done or the deadline comes near. The report says what was done, even if a step
/// failed.
pub async fn compact<T: CompactStats>(
    table: &T,
    settings: &TableSettings,
    deadline: std::time::Instant,
) -> (CompactReport, Result<(), Fault>) {
    let deadline = Instant::from_std(deadline);
    let mut run = Run::new(table, settings, deadline, WRITERS_IN_ITEM);
    let ended = tokio::time::timeout_at(deadline - LAST_MOMENT, run.all_shards()).await;
    run.report.finished &= run.fault.is_none() && matches!(ended, Ok(Ok(())));
    let ended = ended.unwrap_or(Ok(())).map_err(Fault::from);
    // The first fault is reported: those after it may only follow from it.
    (run.report, run.fault.map_or(ended, Err))
}

/// Compacts as [`compact`] does, but without a deadline, and with at most `writers_in_item` writers named in an item. For
/// the model check.
#[cfg(test)]
pub(crate) async fn compact_whole<T: CompactStats>(
    table: &T,
    settings: &TableSettings,
    writers_in_item: usize,
) -> Result<(), Fault> {
    let deadline = Instant::now() + std::time::Duration::from_secs(3600);
    let mut run = Run::new(table, settings, deadline, writers_in_item);
    run.all_shards().await?;
    run.fault.map_or(Ok(()), Err)
}

struct Run<'a, T> {
    table: &'a T,
    settings: &'a TableSettings,
    calls: Calls,
    writers_in_item: usize,
    structures: Structures,
    report: CompactReport,
    /// The first fault of a shard.
    fault: Option<Fault>,
}

impl<'a, T: CompactStats> Run<'a, T> {
    fn new(table: &'a T, settings: &'a TableSettings, deadline: Instant, writers_in_item: usize) -> Self {
        let report = CompactReport { finished: true, ..Default::default() };
        let (calls, structures) = (Calls::until(deadline), Structures::default());
        Self { table, settings, calls, writers_in_item, structures, report, fault: None }
    }

    /// Compacts all shards. A fault of one shard keeps no other from being compacted: an item of it may be damaged, or its
    /// partition throttled.
    async fn all_shards(&mut self) -> Result<(), TableError> {
        let table = self.table;
        let shards = self.calls.patiently(|| self.calls.margin(), || table.shards()).await?;
        // The first shard is left to chance, so that a shard that takes all the time does not starve the others.
        let first = WriterId::random().shard(shards);
        for shard in (first..shards).chain(0..first) {
            if self.is_late() {
                break;
            }
            if let Err(fault) = self.shard(shard).await {
                let error: &dyn std::error::Error = &fault;
                tracing::warn!(error, shard, "a shard of the stats table cannot be compacted");
                self.fault.get_or_insert(fault);
            }
        }
        Ok(())
    }

    /// Returns whether the deadline is too near for a further step, and if so, notes that work is left.
    fn is_late(&mut self) -> bool {
        let late = self.calls.are_late();
        self.report.finished &= !late;
        late
    }

    /// Counts and logs an item that cannot be compacted. One bad item does not keep the others from being compacted; a later
    /// version of this crate may be able to read it.
    fn leave_alone(&mut self, error: &(dyn std::error::Error + 'static)) {
        self.report.unreadable += 1;
        tracing::warn!(error, "an item of the stats table cannot be compacted");
    }
}
