//! What a gc run does with the items of a shard.
//!
//! A writer that is closed or long silent is *sealed*, *folded* into the base, *buried*, and finally *forgotten* by the
//! base. Each step is one conditional write, and each may be done again or by another run at the same time:
//!
//! - from its sealing on, a snapshot's content never changes, so whoever folds it folds the same;
//! - folding replaces exactly the base that was read, and names in it whose content came in, so nothing comes in twice;
//! - burial waits for a grace period after the sealing, which outlasts any put still under way, so that none arrives after
//!   it and finds the place empty;
//! - forgetting waits for another one after the burial, which outlasts any scrape that may have read the snapshot before
//!   it was gone.
//!
//! All times are the table's own, as its answers tell them, for the clocks of two runs differ.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::protocol::reading::WriterLife;
use crate::table::item::{Folded, PartId, Snapshot, StoredPart, WriterId};

/// Tells whether this snapshot is to be sealed.
pub fn is_to_be_sealed(snapshot: &Snapshot, now_ms: u64, idle: Duration) -> bool {
    match WriterLife::of(snapshot, now_ms, idle) {
        WriterLife::Closed | WriterLife::Idle => true,
        WriterLife::Live | WriterLife::Sealed => false,
    }
}

/// Tells whether this snapshot's content is to be added to a base that has folded these.
pub fn is_to_be_folded(snapshot: &Snapshot, folded: &Folded) -> bool {
    snapshot.sealed_at_ms.is_some() && !folded.contains_key(&snapshot.writer)
}

/// Tells whether this snapshot is to be buried, given that a base that is stored has folded these.
pub fn is_to_be_buried(snapshot: &Snapshot, folded: &Folded, now_ms: u64, grace: Duration) -> bool {
    snapshot.sealed_at_ms.is_some_and(|at_ms| is_over(at_ms, now_ms, grace)) && folded.contains_key(&snapshot.writer)
}

/// The writers whose snapshots a run has found, read in the order of their ids and **after** the base: only so does a
/// snapshot's absence mean that it was buried. Read before, it might have been written in between.
#[derive(Debug, Default)]
pub struct Present {
    /// The writers that were found.
    pub writers: BTreeSet<WriterId>,
    /// Tells that the run has read to the end. Of writers behind the last that was found nothing is known otherwise.
    pub complete: bool,
}

impl Present {
    fn lacks(&self, writer: &WriterId) -> bool {
        !self.writers.contains(writer) && (self.complete || Some(writer) < self.writers.last())
    }
}

/// Returns the writers that the next base names as folded before any is added: all that this one names, less those that
/// were found buried a grace ago. Notes those whose snapshot is gone by now as buried now.
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

/// Tells whether no base names this part, or ever will: a part may be named by the base of its version alone, and the stored one
/// is of that version or a later one.
pub fn is_unnamed(part: &StoredPart, base_version: u64, named: &[PartId]) -> bool {
    part.version <= base_version && !named.contains(&part.id)
}

/// Tells whether a grace has passed since.
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
