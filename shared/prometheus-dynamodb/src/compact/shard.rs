//! Compacts one shard.

use std::collections::BTreeSet;
use std::future::ready;
use std::time::Duration;

use futures::stream::{self, StreamExt, TryStreamExt};
use tokio::time::Instant;

use super::calls::LAST_MOMENT;
use super::{Fault, Run};
use crate::base::{self, Content};
use crate::families::Families;
use crate::families::merge::merge;
use crate::protocol::compaction::{
    Present, is_over, is_to_be_buried, is_to_be_folded, is_to_be_sealed, is_unnamed, still_folded,
};
use crate::protocol::reading::{WriterLife, count};
use crate::protocol::structure::is_to_be_deleted;
use crate::structures::{Named, decode};
use crate::table::item::{Folded, PartId, Snapshot, StoredPart, StoredStructure, StructureId, WriterId};
use crate::table::{CompactStats, Listed, TableError, wire};

/// Maximum number of conditional writes that are under way at once.
const WRITES_AT_ONCE: usize = 16;

/// Number of snapshots that are sealed before their content is added. A page can hold thousands, and if each write takes a
/// second, a run does not seal them all in its time.
const SNAPSHOTS_AT_ONCE: usize = 256;

/// Number of added writers after which the base is committed, so that a run that crashes has not worked in vain.
const COMMIT_AFTER: usize = 16_384;

/// Time after which the base is committed. With a large base, whatever is left for the end of a run's time may not be done in
/// time, and the next run would begin anew.
const COMMIT_EVERY: Duration = Duration::from_secs(10);

/// Base of a shard as it is stored, and what the next commit adds to it.
struct Progress {
    /// Time of the last commit, or of the beginning.
    since: Instant,
    version: u64,
    base: Content,
    parts: Vec<PartId>,
    families: Families,
    writers: Vec<WriterId>,
}

impl Progress {
    /// Returns whether what was added must be committed before more is added.
    fn is_to_be_committed(&self) -> bool {
        self.writers.len() >= COMMIT_AFTER || (!self.writers.is_empty() && self.since.elapsed() >= COMMIT_EVERY)
    }
}

/// What a run has found in a shard.
#[derive(Default)]
struct Found {
    present: Present,
    named: NamedIds,
}

/// Ids of the structures that the snapshots of a shard name.
#[derive(Default)]
struct NamedIds {
    ids: BTreeSet<StructureId>,
    /// `true` if there may be snapshots that name structures beyond `ids`.
    unknown: bool,
}

impl NamedIds {
    fn extend(&mut self, snapshots: &[Snapshot]) {
        for snapshot in snapshots {
            match wire::structure_of(&snapshot.families) {
                Ok(id) => self.ids.extend(id),
                Err(_) => self.unknown = true,
            }
        }
    }
}

impl<T: CompactStats> Run<'_, T> {
    /// Compacts a shard. It never holds more than one page of snapshots.
    pub(super) async fn shard(&mut self, shard: u32) -> Result<(), Fault> {
        let table = self.table;
        // The base must be read before the snapshots: see `Present`.
        let stored = self.calls.patiently(|| self.calls.margin(), || base::read(table, shard)).await?;
        let (version, parts) =
            stored.as_ref().map_or((0, Vec::new()), |base| (base.root.version, base.root.parts.clone()));
        let base = stored.map(|base| base.content()).transpose();
        let base = base.map_err(|source| Fault::Base { shard, source })?.unwrap_or_default();
        let (families, writers) = (Families::new(), Vec::new());
        let mut progress = Progress { since: Instant::now(), version, base, parts, families, writers };
        let stored_parts = self.calls.patiently(|| self.calls.margin(), || table.parts(shard)).await?;
        let stored_parts = self.readable(stored_parts);
        let stored_structures = self.calls.patiently(|| self.calls.margin(), || table.structures(shard)).await?;
        let stored_structures = self.readable(stored_structures);
        let read_from_ms = table.answered_at_ms();

        let mut found = Found::default();
        let read = self.pages(shard, &mut progress, &mut found).await;
        if matches!(read, Ok(false)) {
            return Ok(());
        }
        let Found { present, mut named } = found;
        named.unknown |= !present.complete;

        // What was added before a failure is committed all the same. Otherwise a table that fails at some point of each run
        // would never be compacted.
        let kept = still_folded(&progress.base.folded, &present, table.answered_at_ms(), self.settings.grace);
        // A part that an earlier run has left behind might still be named by that run's delayed root, unless another root
        // comes first.
        let overtakes = stored_parts.iter().any(|part| part.version > progress.version);
        let due = kept != progress.base.folded || !progress.writers.is_empty() || overtakes;
        let committed = if due { self.commit(shard, kept, &mut progress).await } else { Ok(true) };
        read?;
        if !committed? {
            return Ok(());
        }
        if !self.is_late() {
            self.sweep_parts(shard, stored_parts, &progress).await?;
        }
        if !named.unknown && !self.is_late() {
            self.sweep_structures(shard, stored_structures, &named.ids, read_from_ms).await?;
        }
        Ok(())
    }

    /// Seals, adds and buries the snapshots of a shard, page after page, as long as there is time. Returns `false` if another
    /// run has replaced the base.
    async fn pages(&mut self, shard: u32, progress: &mut Progress, found: &mut Found) -> Result<bool, Fault> {
        let table = self.table;
        let mut after = None;
        loop {
            let page = self.calls.step(|| table.snapshot_page(shard, after.as_ref())).await?;
            after = page.next;
            found.present.complete = after.is_none();
            let mut snapshots = self.found(page.snapshots, found).into_iter();
            while !snapshots.as_slice().is_empty() && !self.is_late() {
                if progress.is_to_be_committed() {
                    let folded = progress.base.folded.clone();
                    if !self.commit(shard, folded, progress).await? {
                        return Ok(false);
                    }
                }
                let some = snapshots.by_ref().take(SNAPSHOTS_AT_ONCE).collect();
                self.seal_add_bury(shard, some, progress).await?;
            }
            if found.present.complete || self.is_late() {
                return Ok(true);
            }
        }
    }

    /// Notes what a page has, and returns the snapshots that can be read.
    fn found(&mut self, page: Listed<Snapshot>, found: &mut Found) -> Vec<Snapshot> {
        let mut snapshots = Vec::with_capacity(page.len());
        for snapshot in page {
            match snapshot {
                Ok(snapshot) => {
                    found.present.writers.insert(snapshot.writer);
                    snapshots.push(snapshot);
                }
                Err(error) => {
                    // The item's key still tells whose it is. So this writer is not taken for buried, and no other writer's
                    // burial has to wait until the item can be read.
                    found.present.writers.extend(error.writer());
                    found.named.unknown = true;
                    self.leave_alone(&error);
                }
            }
        }
        found.named.extend(&snapshots);
        snapshots
    }

    /// Seals those of these snapshots that are due, adds those that are sealed, and buries those that are folded.
    async fn seal_add_bury(
        &mut self,
        shard: u32,
        mut snapshots: Vec<Snapshot>,
        progress: &mut Progress,
    ) -> Result<(), TableError> {
        let table = self.table;
        let sealed = self.seal(&mut snapshots).await;
        let named = || snapshots.iter().filter(|snapshot| snapshot.sealed_at_ms.is_some());
        let structures = self.calls.step(|| self.structures.of(table, shard, named())).await?;
        // What was sealed is added even if another seal or a burial fails.
        self.add(&snapshots, &structures, progress);
        sealed?;
        self.bury(&snapshots, &structures, &progress.base.folded).await
    }

    /// Returns the items that can be read, and leaves the others alone.
    fn readable<I>(&mut self, items: Listed<I>) -> Vec<I> {
        items.into_iter().filter_map(|item| item.inspect_err(|error| self.leave_alone(error)).ok()).collect()
    }

    /// Seals the snapshots that are due, and marks them in `snapshots` as sealed, even if a call fails after them.
    async fn seal(&mut self, snapshots: &mut [Snapshot]) -> Result<(), TableError> {
        let (table, idle, calls) = (self.table, self.settings.writer_idle, &self.calls);
        // The table's time at which the snapshots were read, or a later one: whatever was under way then is older.
        let now_ms = table.answered_at_ms();
        let due: Vec<_> = snapshots.iter_mut().filter(|snapshot| is_to_be_sealed(snapshot, now_ms, idle)).collect();
        // Boxed, here and below, since otherwise the compiler cannot tell that the whole future is `Send`.
        let mut sealing = stream::iter(due)
            .take_while(|_| ready(!calls.are_late()))
            .map(|snapshot| async move {
                let sealed = calls.step(|| table.seal(snapshot, now_ms)).await?;
                snapshot.sealed_at_ms = sealed.then_some(now_ms);
                Ok::<_, TableError>(sealed)
            })
            .buffer_unordered(WRITES_AT_ONCE)
            .boxed();
        while let Some(sealed) = sealing.next().await {
            self.report.sealed += u64::from(sealed?);
        }
        Ok(())
    }

    /// Buries the snapshots whose writers the stored base has folded and whose grace is over.
    async fn bury(&mut self, snapshots: &[Snapshot], structures: &Named, folded: &Folded) -> Result<(), TableError> {
        let table = self.table;
        let (now_ms, grace) = (table.answered_at_ms(), self.settings.grace);
        let mut due = Vec::new();
        for snapshot in snapshots.iter().filter(|snapshot| is_to_be_buried(snapshot, folded, now_ms, grace)) {
            match standing_alone(snapshot, structures) {
                Ok(snapshot) => due.push(snapshot),
                Err(error) => self.leave_alone(&*error),
            }
        }
        let calls = &self.calls;
        let mut burials = stream::iter(due)
            .take_while(|_| ready(!calls.are_late()))
            .map(|snapshot| async move {
                // The grave is put first: a writer that thaws in between must find its content in one place or the other.
                calls.step(|| table.put_grave(&snapshot, now_ms)).await?;
                calls.step(|| table.delete_snapshot(&snapshot)).await
            })
            .buffer_unordered(WRITES_AT_ONCE)
            .boxed();
        while let Some(buried) = burials.next().await {
            self.report.buried += u64::from(buried?);
        }
        Ok(())
    }

    /// Adds up the content of the snapshots that are sealed and not folded, for the next commit.
    fn add(&mut self, snapshots: &[Snapshot], structures: &Named, progress: &mut Progress) {
        for snapshot in snapshots {
            if !is_to_be_folded(snapshot, &progress.base.folded) {
                continue;
            }
            match decode(snapshot, structures) {
                Ok(families) if !can_be_folded(&families) => {
                    let Snapshot { shard, writer, .. } = snapshot;
                    tracing::warn!(shard, %writer, "a series can outgrow an item, so its writer stays unfolded");
                    self.report.base_full += 1;
                }
                Ok(families) => {
                    count(&mut progress.families, families, WriterLife::Sealed);
                    progress.writers.push(snapshot.writer);
                }
                Err(error) => self.leave_alone(&error),
            }
        }
    }

    /// Replaces the base by one that names the writers in `kept` as folded, adds what was added up since the last commit,
    /// and names its writers too. Returns `false` if another run was faster; the next run then does the work that is left.
    async fn commit(&mut self, shard: u32, kept: Folded, progress: &mut Progress) -> Result<bool, Fault> {
        let version = progress.version + 1;
        let forgotten = progress.base.folded.len() - kept.len();
        let mut next = Content { families: progress.base.families.clone(), folded: kept };
        merge(&mut next.families, progress.families.clone());
        next.folded.extend(progress.writers.iter().map(|writer| (*writer, None)));
        let (root, parts) =
            next.pack(version, self.writers_in_item).map_err(|source| Fault::TooLarge { shard, source })?;
        let (table, calls) = (self.table, &self.calls);
        // The parts are put first, since a root may name only what is stored. A part that is stored already is the same one.
        stream::iter(&parts)
            .map(|part| calls.patiently(|| LAST_MOMENT, move || table.put_part(shard, part)))
            .buffer_unordered(WRITES_AT_ONCE)
            .boxed()
            .try_for_each(|_| ready(Ok(())))
            .await?;
        if !calls.patiently(|| LAST_MOMENT, || table.put_base(shard, &root)).await? {
            self.report.finished = false;
            return Ok(false);
        }
        self.report.folded += progress.writers.len() as u64;
        self.report.forgotten += forgotten as u64;
        (progress.since, progress.version) = (Instant::now(), version);
        (progress.base, progress.parts) = (next, root.parts);
        // Only now, so that what a failed commit leaves may be committed by the next.
        progress.families.clear();
        progress.writers.clear();
        Ok(true)
    }

    /// Notes the parts that no base names any more, and deletes those that were noted a grace ago.
    async fn sweep_parts(
        &mut self,
        shard: u32,
        stored: Vec<StoredPart>,
        progress: &Progress,
    ) -> Result<(), TableError> {
        let (table, calls) = (self.table, &self.calls);
        let now_ms = table.answered_at_ms();
        for part in stored.iter().filter(|part| is_unnamed(part, progress.version, &progress.parts)) {
            match part.unnamed_at_ms {
                None => drop(calls.step(|| table.note_unnamed(shard, part.id, now_ms)).await?),
                Some(at_ms) if is_over(at_ms, now_ms, self.settings.grace) => {
                    calls.step(|| table.delete_part(shard, part.id)).await?;
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Deletes the structures that no snapshot names and that no writer has renewed for a long time.
    async fn sweep_structures(
        &mut self,
        shard: u32,
        stored: Vec<StoredStructure>,
        named: &BTreeSet<StructureId>,
        read_from_ms: u64,
    ) -> Result<(), TableError> {
        let (table, calls) = (self.table, &self.calls);
        for StoredStructure { id, renewed_at_ms } in stored {
            if !named.contains(&id) && is_to_be_deleted(renewed_at_ms, read_from_ms) {
                calls.step(|| table.delete_structure(shard, id, renewed_at_ms)).await?;
            }
        }
        Ok(())
    }
}

/// Returns whether each series fits into an item whatever its numbers become: a base could not be stored with one that does
/// not, and no writer of its shard could be folded any more.
fn can_be_folded(families: &Families) -> bool {
    families.iter().all(|(key, family)| {
        family.series.keys().all(|label_values| wire::always_fits(key, &family.help, label_values))
    })
}

/// Returns the snapshot with its families in full, without a structure: a grave stays when structures are long gone.
fn standing_alone(snapshot: &Snapshot, structures: &Named) -> Result<Snapshot, Box<dyn std::error::Error>> {
    if wire::structure_of(&snapshot.families)?.is_none() {
        return Ok(snapshot.clone());
    }
    let families = wire::encode(&decode(snapshot, structures)?, 0)?;
    Ok(Snapshot { families, ..snapshot.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::WRITERS_IN_ITEM;
    use crate::settings::TableSettings;
    use crate::table::MemoryStatsTable;

    #[tokio::test]
    async fn what_was_added_is_committed_every_ten_seconds() {
        let ten_seconds_ago = Instant::now().checked_sub(COMMIT_EVERY).unwrap();
        let mut progress = Progress {
            since: ten_seconds_ago,
            version: 0,
            base: Content::default(),
            parts: Vec::new(),
            families: Families::new(),
            writers: Vec::new(),
        };
        assert!(!progress.is_to_be_committed(), "there is nothing to commit");
        progress.writers.push(WriterId::random());
        assert!(progress.is_to_be_committed());

        let (table, settings) = (MemoryStatsTable::default(), TableSettings::builder("stats").build().unwrap());
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut run = Run::new(&table, &settings, deadline, WRITERS_IN_ITEM);
        assert!(run.commit(0, Folded::new(), &mut progress).await.unwrap());
        progress.writers.push(WriterId::random());
        assert!(!progress.is_to_be_committed(), "the next ten seconds have just begun");
        progress.writers = vec![WriterId::random(); COMMIT_AFTER];
        assert!(progress.is_to_be_committed());
    }
}
