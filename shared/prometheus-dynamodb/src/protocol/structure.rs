//! The life of a structure: what many snapshots have in common, stored once for all of them.
//!
//! Nothing that can still be read may name a structure that is gone. Only snapshots name structures; a base, its parts, and
//! graves hold families as they are, for they stay when the snapshots are long gone. So:
//!
//! - a writer sees to it that its structure is stored, and was renewed lately, before its first put that names it: when it
//!   begins, when its structure changes, when it goes on under a fresh id, and now and then while it lives. If it must, it puts
//!   it, which renews it. From then on its snapshot names it;
//! - a gc run deletes a structure that was last renewed [`STRUCTURE_LIFE`] before it began to read the snapshots of the shard,
//!   and that none of them names, on condition that it was not renewed since. Whoever names it without a snapshot that does so
//!   already has renewed it lately, or found that someone has; that outlasts every put that is still under way.
//!
//! A scrape that finds a structure missing reads the shard once more: the snapshot that named it may name another one by now.
//! If it is still missing, or damaged, then the scrape fails, for without the snapshots that name it counters would fall.

use std::time::Duration;

use crate::protocol::compaction::is_over;

/// How long a structure that no snapshot names is kept after it was last renewed. It outlasts [`RENEW_AFTER`],
/// [`LOOK_AGAIN_AFTER`] and the time that a put can be under way together, and by far.
pub const STRUCTURE_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// A structure that was renewed longer ago is renewed by whoever wants to name it.
pub const RENEW_AFTER: Duration = Duration::from_secs(6 * 60 * 60);

/// After this time a writer looks again whether its structure is stored.
pub const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(6 * 60 * 60);

/// Whether a structure that was last renewed then may be named without renewing it. Times are in milliseconds since the epoch.
pub fn may_be_named(renewed_at_ms: u64, now_ms: u64) -> bool {
    !is_over(renewed_at_ms, now_ms, RENEW_AFTER)
}

/// Whether a writer that has looked for its structure then need not look again.
pub fn is_seen(looked_at_ms: u64, now_ms: u64) -> bool {
    !is_over(looked_at_ms, now_ms, LOOK_AGAIN_AFTER)
}

/// Whether a structure that no snapshot names is to be deleted, given when it was last renewed, and when reading the snapshots
/// began.
pub fn is_to_be_deleted(renewed_at_ms: u64, read_from_ms: u64) -> bool {
    is_over(renewed_at_ms, read_from_ms, STRUCTURE_LIFE)
}
