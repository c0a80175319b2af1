//! Decides how long a structure is kept. A structure holds what many snapshots have in common, stored once for all of
//! them.
//!
//! Nothing that can still be read may name a structure that is gone. Only snapshots name structures. Bases, parts and
//! graves hold whole families, because they stay long after the snapshots are gone. So:
//!
//! - before its first put that names a structure, a writer makes sure that the structure is stored and was renewed
//!   recently. It does so when it begins, when its structure changes, when it goes on under a fresh id, and every
//!   [`LOOK_AGAIN_AFTER`] while it lives. If the structure is missing or was renewed too long ago, the writer puts it,
//!   which renews it. From then on the writer's snapshot names it;
//! - a gc run deletes a structure that none of the shard's snapshots names, if it was last renewed more than
//!   [`STRUCTURE_LIFE`] before the run began to read these snapshots, on condition that it was not renewed since. A
//!   writer that is about to name the structure, but whose snapshot does not name it yet, has renewed it recently or
//!   found that another writer has. The structure's life outlasts every put that is still under way.
//!
//! A scrape that finds a structure missing reads the shard once more, because the snapshot that named it may name
//! another one by now. If the structure is still missing, or is damaged, the scrape fails: without the snapshots that
//! name it, counters would fall.

use std::time::Duration;

use crate::protocol::compaction::is_over;

/// Time for which a structure that no snapshot names is kept after it was last renewed. It is much longer than
/// [`RENEW_AFTER`], [`LOOK_AGAIN_AFTER`] and the time that a put can be under way together.
pub const STRUCTURE_LIFE: Duration = Duration::from_hours(24);

/// Time after the last renewal from which a writer that wants to name a structure must renew it first.
pub const RENEW_AFTER: Duration = Duration::from_hours(6);

/// Time after which a writer checks again that its structure is stored.
pub const LOOK_AGAIN_AFTER: Duration = Duration::from_hours(6);

/// Returns whether a structure may be named without renewing it. Times are in milliseconds since the epoch.
pub fn may_be_named(renewed_at_ms: u64, now_ms: u64) -> bool {
    !is_over(renewed_at_ms, now_ms, RENEW_AFTER)
}

/// Returns whether a writer that checked its structure at `looked_at_ms` need not check it again yet.
pub fn is_seen(looked_at_ms: u64, now_ms: u64) -> bool {
    !is_over(looked_at_ms, now_ms, LOOK_AGAIN_AFTER)
}

/// Returns whether a structure that no snapshot names must be deleted, given the time at which it was last renewed and
/// the time at which the reading of the snapshots began.
pub fn is_to_be_deleted(renewed_at_ms: u64, read_from_ms: u64) -> bool {
    is_over(renewed_at_ms, read_from_ms, STRUCTURE_LIFE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: u64 = 3_600_000;

    #[test]
    fn a_structure_is_looked_at_and_renewed_every_six_hours_and_kept_for_a_day_after() {
        let at_ms = 1_763_985_600_000;
        for (passed_ms, seen, may_be_named, to_be_deleted) in [
            (0, true, true, false),
            (6 * HOUR_MS, true, true, false),
            (6 * HOUR_MS + 1, false, false, false),
            (24 * HOUR_MS, false, false, false),
            (24 * HOUR_MS + 1, false, false, true),
        ] {
            let now_ms = at_ms + passed_ms;
            assert_eq!(is_seen(at_ms, now_ms), seen, "{passed_ms}");
            assert_eq!(super::may_be_named(at_ms, now_ms), may_be_named, "{passed_ms}");
            assert_eq!(is_to_be_deleted(at_ms, now_ms), to_be_deleted, "{passed_ms}");
        }
        // The clock jumped back.
        assert!(is_seen(at_ms, 0) && may_be_named(at_ms, 0) && !is_to_be_deleted(at_ms, 0));
    }
}
