//! Compacting the stats table: one gc run.

pub mod metrics;

use std::collections::BTreeSet;
use std::future::ready;
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt};

use crate::clock::now_ms;
use crate::families::Families;
use crate::protocol::compaction::{Folded, is_to_be_buried, is_to_be_folded, is_to_be_sealed, still_folded};
use crate::protocol::reading::{WriterLife, count};
use crate::settings::TableSettings;
use crate::table::item::{Base, Snapshot, WriterId};
use crate::table::wire::{self, DecodeError, TooLarge};
use crate::table::{CompactStats, TableError};

/// How many conditional writes are under way at once.
const WRITES_AT_ONCE: usize = 16;

/// No write is begun within this time before the deadline: one that was begun has a time budget of its own.
const MARGIN: Duration = Duration::from_millis(500);

/// What a run did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct CompactReport {
    /// Snapshots that were sealed.
    pub sealed: u64,
    /// Writers whose content was added to a base.
    pub folded: u64,
    /// Snapshots that were moved to their graves.
    pub buried: u64,
    /// Writers that a base no longer names.
    pub forgotten: u64,
    /// Sealed writers that were not folded because the base would have outgrown an item. They count all the same, but each
    /// scrape reads them one by one.
    pub base_full: u64,
    /// Items that could not be read, and were left alone.
    pub unreadable: u64,
    /// Whether all was done that was due. If not, the next run goes on.
    pub finished: bool,
}

/// Why a run could not be finished.
#[derive(Debug, thiserror::Error)]
pub enum CompactError {
    /// The table could not be used.
    #[error("the stats table could not be compacted")]
    Table(#[from] TableError),
    /// A base cannot be decoded, so nothing can be added to it.
    #[error("the base of shard {shard} cannot be decoded")]
    Base {
        /// The base's shard.
        shard: u32,
        /// What is wrong with it.
        source: DecodeError,
    },
}

/// Does what is due, until it is done or the deadline comes near. What was done is in the report even when a step failed.
pub async fn compact<T: CompactStats>(
    table: &T,
    settings: &TableSettings,
    deadline: Instant,
) -> (CompactReport, Result<(), CompactError>) {
    compact_by(table, settings, deadline, now_ms).await
}

/// The same by another clock.
pub(crate) async fn compact_by<T: CompactStats>(
    table: &T,
    settings: &TableSettings,
    deadline: Instant,
    now_ms: fn() -> u64,
) -> (CompactReport, Result<(), CompactError>) {
    let report = CompactReport { finished: true, ..Default::default() };
    let mut run = Run { table, settings, deadline, now_ms, report };
    let result = run.all_shards().await;
    run.report.finished &= result.is_ok();
    (run.report, result)
}

struct Run<'a, T> {
    table: &'a T,
    settings: &'a TableSettings,
    deadline: Instant,
    now_ms: fn() -> u64,
    report: CompactReport,
}

impl<T: CompactStats> Run<'_, T> {
    async fn all_shards(&mut self) -> Result<(), CompactError> {
        for shard in 0..self.table.shards().await? {
            if self.is_late() {
                break;
            }
            self.shard(shard).await?;
        }
        Ok(())
    }

    /// Whether the deadline is too near for a further step. Notes that something is left.
    fn is_late(&mut self) -> bool {
        let late = is_late(self.deadline)();
        self.report.finished &= !late;
        late
    }

    async fn shard(&mut self, shard: u32) -> Result<(), CompactError> {
        // First the base, then the snapshots: see `still_folded`.
        let base = self.table.base(shard).await?;
        let folded = base.as_ref().map(|base| base.folded.clone()).unwrap_or_default();
        let mut snapshots = Vec::new();
        let mut present = BTreeSet::new();
        for snapshot in self.table.snapshots(shard).await? {
            match snapshot {
                Ok(snapshot) => {
                    present.insert(snapshot.writer);
                    snapshots.push(snapshot);
                }
                Err(error) => {
                    self.leave_alone(&error);
                    // It may be anyone's, so no one is known to be gone.
                    present.extend(folded.keys());
                }
            }
        }
        self.seal(&mut snapshots).await?;
        if self.is_late() {
            return Ok(());
        }
        let folded = self.fold(shard, base, folded, &snapshots, &present).await?;
        self.bury(&snapshots, &folded).await
    }

    /// One bad item does not keep the others from being compacted; a later version of this crate may be able to read it.
    fn leave_alone(&mut self, error: &(dyn std::error::Error + 'static)) {
        self.report.unreadable += 1;
        tracing::warn!(error, "an item of the stats table cannot be compacted");
    }

    /// Seals whom it is time to seal, and marks in `snapshots` who is.
    async fn seal(&mut self, snapshots: &mut [Snapshot]) -> Result<(), TableError> {
        let now_ms = (self.now_ms)();
        let (table, idle) = (self.table, self.settings.writer_idle);
        let due: Vec<_> = snapshots.iter_mut().filter(|snapshot| is_to_be_sealed(snapshot, now_ms, idle)).collect();
        let late = is_late(self.deadline);
        let mut sealing = stream::iter(due)
            .take_while(|_| ready(!late()))
            .map(|snapshot| async move {
                let sealed = table.seal(snapshot, now_ms).await?;
                snapshot.sealed_at_ms = sealed.then_some(now_ms);
                Ok::<_, TableError>(sealed)
            })
            .buffer_unordered(WRITES_AT_ONCE);
        while let Some(sealed) = sealing.next().await {
            self.report.sealed += u64::from(sealed?);
        }
        Ok(())
    }

    /// Adds the sealed to the base, and forgets whom it may. Gives whom the stored base has folded.
    async fn fold(
        &mut self,
        shard: u32,
        base: Option<Base>,
        before: Folded,
        snapshots: &[Snapshot],
        present: &BTreeSet<WriterId>,
    ) -> Result<Folded, CompactError> {
        let kept = still_folded(&before, present, (self.now_ms)(), self.settings.grace);
        let mut due = Vec::new();
        for snapshot in snapshots.iter().filter(|snapshot| is_to_be_folded(snapshot, &before)) {
            match wire::decode(&snapshot.families) {
                Ok(families) => due.push((snapshot.writer, families)),
                Err(error) => self.leave_alone(&error),
            }
        }
        if due.is_empty() && kept == before {
            return Ok(before);
        }
        let (version, families) = match &base {
            None => (1, Families::new()),
            Some(base) => {
                let families = wire::decode(&base.families).map_err(|source| CompactError::Base { shard, source })?;
                (base.version + 1, families)
            }
        };
        let all = due.len();
        let next = loop {
            match with_folded(version, &families, &kept, &due) {
                Ok(next) => break next,
                // Even without anyone more: the base was written by a version that allowed more. It stays as it is.
                Err(error) if due.is_empty() => {
                    tracing::warn!(
                        shard,
                        error = &error as &dyn std::error::Error,
                        "a base is too full to be rewritten"
                    );
                    self.report.base_full += all as u64;
                    return Ok(before);
                }
                Err(error) => {
                    tracing::warn!(
                        shard,
                        error = &error as &dyn std::error::Error,
                        "a base is full, and writers stay unfolded"
                    );
                    due.truncate(due.len() / 2);
                }
            }
        };
        self.report.base_full += (all - due.len()) as u64;
        if due.is_empty() && kept == before {
            return Ok(before);
        }
        if !self.table.put_base(shard, &next).await? {
            // Another run was faster. What it left, the next one does.
            self.report.finished = false;
            return Ok(before);
        }
        self.report.folded += due.len() as u64;
        self.report.forgotten += (before.len() - kept.len()) as u64;
        Ok(next.folded)
    }

    async fn bury(&mut self, snapshots: &[Snapshot], folded: &Folded) -> Result<(), CompactError> {
        let now_ms = (self.now_ms)();
        let grace = self.settings.grace;
        let due: Vec<_> =
            snapshots.iter().filter(|snapshot| is_to_be_buried(snapshot, folded, now_ms, grace)).collect();
        let table = self.table;
        let late = is_late(self.deadline);
        let mut burials = stream::iter(due)
            .take_while(|_| ready(!late()))
            .map(|snapshot| async move {
                // The grave first: a writer that thaws in between must find its content in one place or the other.
                table.put_grave(snapshot, now_ms).await?;
                table.delete_snapshot(snapshot).await
            })
            .buffer_unordered(WRITES_AT_ONCE);
        while let Some(buried) = burials.next().await {
            self.report.buried += u64::from(buried?);
        }
        self.is_late();
        Ok(())
    }
}

/// Tells whether the deadline is too near for a further step.
fn is_late(deadline: Instant) -> impl Fn() -> bool {
    move || Instant::now() + MARGIN >= deadline
}

/// The base of this version with the content of these writers added, if it fits into an item.
fn with_folded(
    version: u64,
    families: &Families,
    folded: &Folded,
    due: &[(WriterId, Families)],
) -> Result<Base, TooLarge> {
    let (mut families, mut folded) = (families.clone(), folded.clone());
    for (writer, content) in due {
        count(&mut families, content.clone(), WriterLife::Sealed);
        folded.insert(*writer, None);
    }
    let families = wire::encode(&families, wire::encode_folded(&folded).len())?;
    Ok(Base { version, folded, families })
}
