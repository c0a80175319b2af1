//! The protocol's decisions, apart from all input and output.
//!
//! Each step is one conditional write of one item. What the conditions are, and what follows from their outcome, is here;
//! the adapters translate it for DynamoDB and for memory.

use std::time::Duration;

use crate::family::Families;
use crate::item::{Snapshot, WriterId};
use crate::merge::{merge, retire};

/// What a put's condition looks at in the stored item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredHead {
    /// The stored snapshot's `seq`.
    pub seq: u64,
    /// Whether it is sealed.
    pub sealed: bool,
}

/// The condition of putting a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutCondition {
    /// Until a put was acknowledged: nothing is stored, or what is stored is unsealed and of a smaller `seq`. The latter
    /// is an earlier attempt of this writer that landed although its outcome was not heard.
    MayBeFirst,
    /// Once a put was acknowledged: something is stored, unsealed and of a smaller `seq`. If nothing is stored any more,
    /// the writer was buried, and a put that brought it back would count it twice.
    MustReplace,
}

impl PutCondition {
    /// Whether a put of `seq` may replace what is stored.
    pub fn admits(self, stored: Option<StoredHead>, seq: u64) -> bool {
        match stored {
            None => self == Self::MayBeFirst,
            // A delayed put of an older snapshot must not undo a newer one, and nothing may change a sealed one: its
            // content may already be in the base.
            Some(stored) => !stored.sealed && stored.seq < seq,
        }
    }
}

/// How a put ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutOutcome {
    /// It was stored.
    Stored,
    /// Its condition did not hold; this is what was stored instead, if anything.
    Refused(Option<StoredHead>),
}

/// What a put's outcome means to its writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// The snapshot, or a later one of this writer, is in the table.
    Yes,
    /// The writer was sealed or buried in the meantime: it was silent for so long that it was taken for dead.
    Superseded,
}

/// One writer's side of publishing.
#[derive(Debug, Clone)]
pub struct WriterState {
    id: WriterId,
    last_seq: u64,
    acknowledged: bool,
}

impl WriterState {
    /// A writer that has published nothing yet.
    pub fn new(id: WriterId) -> Self {
        Self { id, last_seq: 0, acknowledged: false }
    }

    /// The writer's id.
    pub fn id(&self) -> &WriterId {
        &self.id
    }

    /// Begins a publish: its `seq` and the condition of its put. Every attempt has a `seq` of its own, because one whose
    /// outcome is unknown may still land, and must then not be taken for this one.
    pub fn begin(&mut self) -> (u64, PutCondition) {
        self.last_seq += 1;
        let condition = if self.acknowledged { PutCondition::MustReplace } else { PutCondition::MayBeFirst };
        (self.last_seq, condition)
    }

    /// What it means that the put of `seq` ended so.
    pub fn settle(&mut self, seq: u64, outcome: PutOutcome) -> Published {
        let landed = match outcome {
            PutOutcome::Stored => true,
            // The same put was sent before, by a retry below us, and its response was lost.
            PutOutcome::Refused(Some(stored)) => !stored.sealed && stored.seq >= seq,
            PutOutcome::Refused(None) => false,
        };
        self.acknowledged |= landed;
        if landed { Published::Yes } else { Published::Superseded }
    }
}

/// What a reader takes a writer for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WriterLife {
    /// It publishes.
    Live,
    /// It has been silent for longer than `STATS_WRITER_IDLE`: frozen, or gone without a word.
    Idle,
    /// It said that it ends.
    Closed,
}

impl WriterLife {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Live, Self::Idle, Self::Closed];

    /// The state as a label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Idle => "idle",
            Self::Closed => "closed",
        }
    }

    /// What the writer of this snapshot is at `now_ms`.
    pub fn of(snapshot: &Snapshot, now_ms: u64, idle: Duration) -> Self {
        if snapshot.closed {
            Self::Closed
        // Clocks differ: a snapshot from the future is a fresh one.
        } else if u128::from(now_ms.saturating_sub(snapshot.updated_at_ms)) > idle.as_millis() {
            Self::Idle
        } else {
            Self::Live
        }
    }
}

/// Adds one writer's families to a scrape, or to a base when it is folded.
pub fn count(total: &mut Families, families: Families, life: WriterLife) {
    match life {
        WriterLife::Live => merge(total, families),
        WriterLife::Idle | WriterLife::Closed => merge(total, retire(families)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(seq: u64) -> Option<StoredHead> {
        Some(StoredHead { seq, sealed: false })
    }

    fn sealed(seq: u64) -> Option<StoredHead> {
        Some(StoredHead { seq, sealed: true })
    }

    #[test]
    fn a_put_never_undoes_a_newer_one_nor_touches_a_sealed_one() {
        for condition in [PutCondition::MayBeFirst, PutCondition::MustReplace] {
            assert!(condition.admits(stored(1), 2));
            assert!(!condition.admits(stored(2), 2));
            assert!(!condition.admits(stored(3), 2));
            assert!(!condition.admits(sealed(1), 2));
        }
    }

    #[test]
    fn only_a_writer_that_was_never_acknowledged_may_create_its_item() {
        let mut writer = WriterState::new(WriterId::random());
        let (seq, condition) = writer.begin();
        assert!(condition.admits(None, seq));
        // The outcome of that put is never heard; the next one must get through whether it landed or not.
        let (seq, condition) = writer.begin();
        assert!(condition.admits(None, seq) && condition.admits(stored(1), seq));
        assert_eq!(writer.settle(seq, PutOutcome::Stored), Published::Yes);
        let (seq, condition) = writer.begin();
        assert!(!condition.admits(None, seq), "it was buried");
        assert_eq!(writer.settle(seq, PutOutcome::Refused(None)), Published::Superseded);
    }

    #[test]
    fn a_refusal_by_ones_own_earlier_attempt_is_a_success() {
        let mut writer = WriterState::new(WriterId::random());
        let (seq, _) = writer.begin();
        assert_eq!(writer.settle(seq, PutOutcome::Refused(stored(seq))), Published::Yes);
        assert_eq!(writer.begin().1, PutCondition::MustReplace);
        assert_eq!(writer.settle(seq, PutOutcome::Refused(sealed(seq))), Published::Superseded);
    }
}
