//! What a writer does next.
//!
//! A publish is a few steps, of which nearly always only the first is taken:
//!
//! ```text
//!            ┌────────── fresh id, what is sealed becomes the baseline ◀────────────┐
//!            ▼                                                                      │
//!        first put ──stored──▶ established ──put refused: sealed or gone──▶ read the grave
//!            │                    ▲    └─put stored─┘                           ▲   │
//!      outcome unheard            │                                             └───┘ sealed or fenced
//!            ▼                    │
//!         unheard ──next put──────┤ stored: the first one had landed
//!            └─refused: nothing there─▶ fence ─refused: it landed just now─▶ next put
//! ```
//!
//! A writer whose first put was not acknowledged cannot know whether it landed, is under way, or landed long ago and was
//! buried since. It must not simply put again on condition that nothing is stored, for in the last case its counts would
//! be there twice. So it *fences*: it puts an empty sealed snapshot under its id. Then the first put cannot land any
//! more, the grave tells whether it ever did, and the writer starts anew under a fresh id.

use crate::protocol::condition::{PutCondition, StoredHead};
use crate::table::item::WriterId;

/// What is counted: families in production.
pub trait Content: Clone + Default {
    /// Adds `other`.
    fn add(&mut self, other: Self);
}

/// The next thing to do for a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Put the present values, less the writer's [baseline](Writer::baseline), unsealed. With [`PutCondition::Absent`] it
    /// must be sent once and not repeated by the layers below: a repetition much later could bring a buried writer back.
    Put {
        /// The snapshot's `seq`.
        seq: u64,
        /// The put's condition.
        condition: PutCondition,
    },
    /// Put an empty sealed snapshot with this `seq` on condition that nothing is stored.
    Fence {
        /// The snapshot's `seq`.
        seq: u64,
    },
    /// Read the writer's grave.
    ReadGrave,
    /// Nothing: what was current at the last put is in the table.
    Done,
}

/// How a put ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutOutcome<C> {
    /// It was stored.
    Stored,
    /// Its condition did not hold; this is what was stored instead, if anything.
    Refused(Option<(StoredHead, C)>),
}

/// One writer's side of publishing. An error in between leaves it as it is; the next publish begins with
/// [`begin`](Self::begin) again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Writer<C> {
    id: WriterId,
    seq: u64,
    phase: Phase<C>,
    baseline: C,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Phase<C> {
    /// Nothing was sent under this id.
    Unborn,
    /// The first put was sent, and its outcome was not heard.
    Unheard,
    /// A put was acknowledged.
    Established,
    /// The id is dead. This was found sealed under it, unless nothing was found: then it is in the grave.
    Superseded { sealed: Option<C> },
}

impl<C: Content> Writer<C> {
    /// A writer that has published nothing yet.
    pub fn new(id: WriterId) -> Self {
        Self { id, seq: 0, phase: Phase::Unborn, baseline: C::default() }
    }

    /// The id under which it publishes.
    pub fn id(&self) -> &WriterId {
        &self.id
    }

    /// What was published under earlier ids, and so is not to be published again.
    pub fn baseline(&self) -> &C {
        &self.baseline
    }

    /// Begins a publish.
    pub fn begin(&mut self) -> Step {
        match self.phase {
            Phase::Unborn => {
                // From here on it may land, whatever is heard of it.
                self.phase = Phase::Unheard;
                self.put(PutCondition::Absent)
            }
            // Every attempt has a `seq` of its own: one whose outcome is unknown may still land, and must then not be
            // taken for this one.
            Phase::Unheard | Phase::Established => self.put(PutCondition::Older),
            Phase::Superseded { .. } => Step::ReadGrave,
        }
    }

    /// The put ended so.
    pub fn after_put(&mut self, outcome: PutOutcome<C>) -> Step {
        match outcome {
            PutOutcome::Stored => {
                self.phase = Phase::Established;
                Step::Done
            }
            PutOutcome::Refused(Some((stored, content))) if stored.sealed => self.superseded(Some(content)),
            // The same put was sent before, by a repetition below us, and its response was lost.
            PutOutcome::Refused(Some(_)) => {
                self.phase = Phase::Established;
                Step::Done
            }
            PutOutcome::Refused(None) if matches!(self.phase, Phase::Unheard) => Step::Fence { seq: self.seq },
            PutOutcome::Refused(None) => self.superseded(None),
        }
    }

    /// The fence's put ended so.
    pub fn after_fence(&mut self, outcome: PutOutcome<C>) -> Step {
        match outcome {
            PutOutcome::Stored => self.superseded(Some(C::default())),
            PutOutcome::Refused(Some((stored, content))) if stored.sealed => self.superseded(Some(content)),
            // The first put has landed just now.
            PutOutcome::Refused(_) => {
                self.phase = Phase::Established;
                self.put(PutCondition::Older)
            }
        }
    }

    /// The grave was read; `fresh` is the id to go on with.
    ///
    /// A grave counts before what was found sealed: where both are, they are equal, except that a fence can stand where
    /// the writer was buried before.
    pub fn after_grave(&mut self, grave: Option<C>, fresh: WriterId) -> Step {
        let Phase::Superseded { sealed } = std::mem::replace(&mut self.phase, Phase::Unborn) else {
            unreachable!("a grave is read only by a writer that was superseded");
        };
        // Neither: someone has emptied the table, and with it all that was counted. There is nothing to subtract.
        self.baseline.add(grave.or(sealed).unwrap_or_default());
        self.id = fresh;
        self.seq = 0;
        self.begin()
    }

    fn put(&mut self, condition: PutCondition) -> Step {
        self.seq += 1;
        Step::Put { seq: self.seq, condition }
    }

    fn superseded(&mut self, sealed: Option<C>) -> Step {
        self.phase = Phase::Superseded { sealed };
        Step::ReadGrave
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use PutCondition::{Absent, Older};

    impl Content for u64 {
        fn add(&mut self, other: Self) {
            *self += other;
        }
    }

    fn writer() -> Writer<u64> {
        Writer::new(WriterId::random())
    }

    fn refused(seq: u64, sealed: bool, content: u64) -> PutOutcome<u64> {
        PutOutcome::Refused(Some((StoredHead { seq, sealed }, content)))
    }

    #[test]
    fn as_a_rule_a_publish_is_one_put() {
        let mut writer = writer();
        assert_eq!(writer.begin(), Step::Put { seq: 1, condition: Absent });
        assert_eq!(writer.after_put(PutOutcome::Stored), Step::Done);
        assert_eq!(writer.begin(), Step::Put { seq: 2, condition: Older });
        // Repeated below us after the response was lost.
        assert_eq!(writer.after_put(refused(2, false, 7)), Step::Done);
        assert_eq!(writer.begin(), Step::Put { seq: 3, condition: Older });
    }

    #[test]
    fn a_first_put_that_landed_unheard_is_replaced() {
        let mut writer = writer();
        writer.begin();
        assert_eq!(writer.begin(), Step::Put { seq: 2, condition: Older });
        assert_eq!(writer.after_put(PutOutcome::Stored), Step::Done);
        assert_eq!(*writer.baseline(), 0);
    }

    #[test]
    fn a_first_put_that_did_not_land_is_fenced_off() {
        let mut writer = writer();
        let first = *writer.id();
        writer.begin();
        writer.begin();
        assert_eq!(writer.after_put(PutOutcome::Refused(None)), Step::Fence { seq: 2 });
        assert_eq!(writer.after_fence(PutOutcome::Stored), Step::ReadGrave);
        assert_eq!(writer.after_grave(None, WriterId::random()), Step::Put { seq: 1, condition: Absent });
        assert_ne!(*writer.id(), first);
        assert_eq!(*writer.baseline(), 0);
    }

    #[test]
    fn a_first_put_that_landed_and_was_buried_unheard_is_not_counted_again() {
        let mut writer = writer();
        writer.begin();
        writer.begin();
        writer.after_put(PutOutcome::Refused(None));
        writer.after_fence(PutOutcome::Stored);
        writer.after_grave(Some(5), WriterId::random());
        assert_eq!(*writer.baseline(), 5);
    }

    #[test]
    fn a_writer_that_was_taken_for_dead_goes_on_from_what_was_sealed() {
        let mut writer = writer();
        writer.begin();
        writer.after_put(PutOutcome::Stored);
        writer.begin();
        assert_eq!(writer.after_put(refused(1, true, 3)), Step::ReadGrave);
        // The read fails; the next publish tries it again.
        assert_eq!(writer.begin(), Step::ReadGrave);
        writer.after_grave(None, WriterId::random());
        assert_eq!(*writer.baseline(), 3);
        writer.after_put(PutOutcome::Stored);
        writer.begin();
        assert_eq!(writer.after_put(PutOutcome::Refused(None)), Step::ReadGrave);
        writer.after_grave(Some(4), WriterId::random());
        assert_eq!(*writer.baseline(), 7);
    }
}
