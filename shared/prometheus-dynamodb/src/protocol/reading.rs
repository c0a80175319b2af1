//! Which of the stored items count in a scrape, and as what.

use std::time::Duration;

use crate::families::Families;
use crate::families::merge::{merge, retire};
use crate::table::item::Snapshot;

/// What a reader takes a writer for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WriterLife {
    /// It publishes.
    Live,
    /// It has been silent for longer than `STATS_WRITER_IDLE`: frozen, or gone without a word.
    Idle,
    /// It said that it ends.
    Closed,
    /// It was taken for dead, and is being folded.
    Sealed,
}

impl WriterLife {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Live, Self::Idle, Self::Closed, Self::Sealed];

    /// The state as a label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Idle => "idle",
            Self::Closed => "closed",
            Self::Sealed => "sealed",
        }
    }

    /// What the writer of this snapshot is at `now_ms`.
    pub fn of(snapshot: &Snapshot, now_ms: u64, idle: Duration) -> Self {
        let silent_ms = now_ms.saturating_sub(snapshot.updated_at_ms);
        if snapshot.sealed_at_ms.is_some() {
            Self::Sealed
        } else if snapshot.closed {
            Self::Closed
        // Clocks differ: a snapshot from the future is a fresh one.
        } else if u128::from(silent_ms) > idle.as_millis() {
            Self::Idle
        } else {
            Self::Live
        }
    }
}

/// Adds one writer's families to a scrape or to a base.
pub fn count(total: &mut Families, families: Families, life: WriterLife) {
    match life {
        WriterLife::Live => merge(total, families),
        WriterLife::Idle | WriterLife::Closed | WriterLife::Sealed => merge(total, retire(families)),
    }
}
