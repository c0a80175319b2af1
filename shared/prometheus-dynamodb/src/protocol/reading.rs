//! Decides which of the stored items count in a scrape, and how.

use std::time::Duration;

use strum::{AsRefStr, VariantArray};

use crate::families::Families;
use crate::families::merge::{alive, merge, retire};
use crate::table::item::Snapshot;

/// State of a writer, as a reader sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, VariantArray, AsRefStr)]
#[strum(serialize_all = "snake_case")]
pub enum WriterLife {
    /// The writer publishes.
    Live,
    /// The writer has been silent for longer than `STATS_WRITER_IDLE`: it is frozen, or ended without saying so.
    Idle,
    /// The writer said that it ends.
    Closed,
    /// The writer was taken for dead: its snapshot is sealed, and is being folded.
    Sealed,
}

impl WriterLife {
    /// Returns the state of this snapshot's writer at `now_ms`.
    pub fn of(snapshot: &Snapshot, now_ms: u64, idle: Duration) -> Self {
        let silent_ms = now_ms.saturating_sub(snapshot.updated_at_ms);
        if snapshot.sealed_at_ms.is_some() {
            Self::Sealed
        } else if snapshot.closed {
            Self::Closed
        // Clocks differ, so a snapshot from the future counts as fresh.
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
        WriterLife::Live => merge(total, alive(families)),
        WriterLife::Idle | WriterLife::Closed | WriterLife::Sealed => merge(total, retire(families)),
    }
}
