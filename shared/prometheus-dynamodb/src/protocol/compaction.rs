//! Decides what a gc run does with the items of a shard.
//!
//! A writer that is closed, or has long been silent, is *sealed*, *folded* into the base, *buried*, and finally
//! *forgotten* by the base. Each step is one conditional write. It may be repeated, and another run may do it at the
//! same time:
//!
//! - a sealed snapshot never changes, so every run that folds it adds the same content;
//! - folding replaces exactly the base that was read. The new base names the writers that it adds, so no content is
//!   added twice;
//! - burial waits for a grace after the sealing. The grace outlasts every put still under way, so none can arrive after
//!   the burial and find nothing stored;
//! - forgetting waits for another grace after the burial. It outlasts every scrape that may have read the snapshot
//!   before it was deleted.
//!
//! All times are the table's, as its answers tell them, because the clocks of two runs differ.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::protocol::reading::WriterLife;
use crate::table::item::{Folded, PartId, Snapshot, StoredPart, WriterId};

/// Returns whether the snapshot must be sealed: its writer is closed, or has been silent for longer than `idle`.
pub fn is_to_be_sealed(snapshot: &Snapshot, now_ms: u64, idle: Duration) -> bool {
    match WriterLife::of(snapshot, now_ms, idle) {
        WriterLife::Closed | WriterLife::Idle => true,
        WriterLife::Live | WriterLife::Sealed => false,
    }
}

/// Returns whether the snapshot's content must be added to a base that names `folded` as its folded writers.
pub fn is_to_be_folded(snapshot: &Snapshot, folded: &Folded) -> bool {
    snapshot.sealed_at_ms.is_some() && !folded.contains_key(&snapshot.writer)
}

/// Returns whether the snapshot must be buried, given the writers that a stored base has folded.
pub fn is_to_be_buried(snapshot: &Snapshot, folded: &Folded, now_ms: u64, grace: Duration) -> bool {
    snapshot.sealed_at_ms.is_some_and(|at_ms| is_over(at_ms, now_ms, grace)) && folded.contains_key(&snapshot.writer)
}

/// The writers whose snapshots a run has found.
///
/// The snapshots must be read in the order of their writers' ids, and **after** the base. Only then does a missing
/// snapshot mean that it was buried. If the snapshots were read first, a missing one might have been written in
/// between.
#[derive(Debug, Default)]
pub struct Present {
    /// The writers that were found.
    pub writers: BTreeSet<WriterId>,
    /// Set if the run has read to the end. Otherwise nothing is known about writers behind the last one that was found.
    pub complete: bool,
}

impl Present {
    fn lacks(&self, writer: &WriterId) -> bool {
        self.writers.range(writer..).next().map_or(self.complete, |next| next != writer)
    }
}

/// Returns the writers that the next base names as folded before new ones are added: all that the current base names,
/// except those that were found buried a grace ago.
///
/// A writer whose snapshot is now gone is noted as buried at `now_ms`.
pub fn still_folded(folded: &Folded, present: &Present, now_ms: u64, grace: Duration) -> Folded {
    folded
        .iter()
        .filter(|(_, buried_at_ms)| !buried_at_ms.is_some_and(|at_ms| is_over(at_ms, now_ms, grace)))
        .map(|(writer, buried_at_ms)| {
            let found_gone = present.lacks(writer).then_some(now_ms);
            (*writer, buried_at_ms.or(found_gone))
        })
        .collect()
}

/// Returns whether no base names the part, or ever will.
///
/// Only the base of the part's own version may name it. So the part is unnamed if the stored base does not name it and
/// has that version or a later one.
pub fn is_unnamed(part: &StoredPart, base_version: u64, named: &[PartId]) -> bool {
    part.version <= base_version && !named.contains(&part.id)
}

/// Returns whether more than a grace has passed since `since_ms`.
pub fn is_over(since_ms: u64, now_ms: u64, grace: Duration) -> bool {
    u128::from(now_ms.saturating_sub(since_ms)) > grace.as_millis()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::item::Encoded;

    const GRACE: Duration = Duration::from_millis(100);

    fn present(writers: impl IntoIterator<Item = WriterId>) -> Present {
        Present { writers: writers.into_iter().collect(), complete: true }
    }

    #[test]
    fn a_folded_writer_is_noted_as_buried_when_its_snapshot_is_gone_and_forgotten_a_grace_later() {
        let writer = WriterId::random();
        let (here, gone) = (present([writer]), present([]));
        let folded = Folded::from([(writer, None)]);
        assert_eq!(still_folded(&folded, &here, 1000, GRACE), folded);
        let noted = still_folded(&folded, &gone, 1000, GRACE);
        assert_eq!(noted, Folded::from([(writer, Some(1000))]));
        assert_eq!(still_folded(&noted, &gone, 1100, GRACE), noted, "the time of the burial stays");
        assert_eq!(still_folded(&noted, &gone, 1101, GRACE), Folded::new());
    }

    #[test]
    fn a_run_that_did_not_read_to_the_end_takes_no_writer_behind_for_buried() {
        let [first, second, third] = [1, 2, 3].map(|byte| WriterId::from_bytes([byte; 16]));
        let folded = Folded::from([first, second, third].map(|writer| (writer, None)));
        let read = |writers: &[WriterId], complete| {
            let present = Present { writers: writers.iter().copied().collect(), complete };
            let kept = still_folded(&folded, &present, 1000, GRACE);
            [first, second, third].map(|writer| kept[&writer].is_some())
        };
        assert_eq!(read(&[second], false), [true, false, false]);
        assert_eq!(read(&[second], true), [true, false, true]);
        assert_eq!(read(&[], false), [false; 3]);
        assert_eq!(read(&[], true), [true; 3]);
    }

    #[test]
    fn a_part_is_unnamed_once_no_base_can_name_it_any_more() {
        let [id, other] = [1, 2].map(|byte| PartId::from_bytes([byte; 16]));
        let part = StoredPart { id, version: 7, unnamed_at_ms: None };
        for (base_version, named, expected) in
            [(6, [other], false), (7, [id], false), (7, [other], true), (8, [other], true)]
        {
            assert_eq!(is_unnamed(&part, base_version, &named), expected, "{base_version}");
        }
    }

    fn snapshot(sealed_at_ms: Option<u64>) -> Snapshot {
        Snapshot {
            writer: WriterId::from_bytes([1; 16]),
            shard: 0,
            seq: 1,
            function: "encode".to_owned(),
            version: "1".to_owned(),
            updated_at_ms: 1000,
            sealed_at_ms,
            closed: false,
            families: Encoded { format: 1, bytes: Vec::new() },
        }
    }

    #[test]
    fn a_snapshot_is_sealed_once_it_is_closed_or_silent_and_never_again() {
        let sealed = |snapshot: &Snapshot, now_ms| is_to_be_sealed(snapshot, now_ms, GRACE);
        assert!(!sealed(&snapshot(None), 1100));
        assert!(sealed(&snapshot(None), 1101));
        assert!(sealed(&Snapshot { closed: true, ..snapshot(None) }, 1000));
        assert!(!sealed(&snapshot(Some(1000)), 5000));
        assert!(!sealed(&Snapshot { closed: true, ..snapshot(Some(1000)) }, 5000));
    }

    #[test]
    fn what_is_sealed_is_folded_once_and_buried_once_it_is_folded_and_a_grace_is_over() {
        let writer = snapshot(None).writer;
        let (nobody, folded) = (Folded::new(), Folded::from([(writer, None)]));
        assert!(!is_to_be_folded(&snapshot(None), &nobody));
        assert!(is_to_be_folded(&snapshot(Some(1000)), &nobody));
        assert!(!is_to_be_folded(&snapshot(Some(1000)), &folded));

        assert!(!is_to_be_buried(&snapshot(Some(1000)), &folded, 1100, GRACE), "a delayed put may still arrive");
        assert!(is_to_be_buried(&snapshot(Some(1000)), &folded, 1101, GRACE));
        assert!(!is_to_be_buried(&snapshot(Some(1000)), &nobody, 1101, GRACE), "its counts would be lost");
        assert!(!is_to_be_buried(&snapshot(None), &folded, 5000, GRACE));
    }
}
