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

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::protocol::reading::WriterLife;
use crate::table::item::{PartId, Snapshot, StoredPart, WriterId};

/// The writers of which a base has the content, and when they were found buried, in milliseconds since the epoch.
pub type Folded = BTreeMap<WriterId, Option<u64>>;

/// Whether this snapshot is to be sealed.
pub fn is_to_be_sealed(snapshot: &Snapshot, now_ms: u64, idle: Duration) -> bool {
    match WriterLife::of(snapshot, now_ms, idle) {
        WriterLife::Closed | WriterLife::Idle => true,
        WriterLife::Live | WriterLife::Sealed => false,
    }
}

/// Whether this snapshot's content is to be added to a base that has folded these.
pub fn is_to_be_folded(snapshot: &Snapshot, folded: &Folded) -> bool {
    snapshot.sealed_at_ms.is_some() && !folded.contains_key(&snapshot.writer)
}

/// Whether this snapshot is to be buried, given that a base that is stored has folded these.
pub fn is_to_be_buried(snapshot: &Snapshot, folded: &Folded, now_ms: u64, grace: Duration) -> bool {
    snapshot.sealed_at_ms.is_some_and(|at_ms| is_over(at_ms, now_ms, grace)) && folded.contains_key(&snapshot.writer)
}

/// Whom the next base names as folded before anyone is added: all whom this one names, less those who were found buried a
/// grace period ago. Those whose snapshot is gone by now are noted as buried now.
///
/// `present` are the writers of the snapshots, read **after** the base: only so does a snapshot's absence mean that it was
/// buried. Read before, it might have been written in between.
pub fn still_folded(folded: &Folded, present: &BTreeSet<WriterId>, now_ms: u64, grace: Duration) -> Folded {
    folded
        .iter()
        .filter(|(_, buried_at_ms)| !buried_at_ms.is_some_and(|at_ms| is_over(at_ms, now_ms, grace)))
        .map(|(writer, buried_at_ms)| {
            let found_gone = (!present.contains(writer)).then_some(now_ms);
            (*writer, buried_at_ms.or(found_gone))
        })
        .collect()
}

/// Whether no base names this part, or ever will: a part may be named by the base of its version alone, and the stored one
/// is of that version or a later one.
pub fn is_unnamed(part: &StoredPart, base_version: u64, named: &[PartId]) -> bool {
    part.version <= base_version && !named.contains(&part.id)
}

/// Whether a grace has passed since.
pub fn is_over(since_ms: u64, now_ms: u64, grace: Duration) -> bool {
    u128::from(now_ms.saturating_sub(since_ms)) > grace.as_millis()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_millis(100);

    #[test]
    fn a_folded_writer_is_noted_as_buried_when_its_snapshot_is_gone_and_forgotten_a_grace_later() {
        let writer = WriterId::random();
        let here = BTreeSet::from([writer]);
        let gone = BTreeSet::new();
        let folded = Folded::from([(writer, None)]);
        assert_eq!(still_folded(&folded, &here, 1000, GRACE), folded);
        let noted = still_folded(&folded, &gone, 1000, GRACE);
        assert_eq!(noted, Folded::from([(writer, Some(1000))]));
        assert_eq!(still_folded(&noted, &gone, 1100, GRACE), noted, "the time of the burial stays");
        assert_eq!(still_folded(&noted, &gone, 1101, GRACE), Folded::new());
    }
}
