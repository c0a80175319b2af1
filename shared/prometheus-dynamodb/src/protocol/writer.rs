//! Decides what a writer does next.
//!
//! A publish can take several steps, but nearly always the first one is the only one:
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
//! A writer whose first put was not acknowledged does not know whether the put landed, is still under way, or landed
//! long ago and was buried since. It must not simply put again on condition that nothing is stored: if the first put
//! was buried, its counts would be there twice. So the writer *fences*: it puts an empty sealed snapshot under its id.
//! From then on the first put can no longer land, the grave tells whether it ever did, and the writer starts anew under
//! a fresh id.
//!
//! Graves expire. A writer that finds neither its snapshot nor a grave goes on from the last content that it sent and
//! whose refusal it did not hear, so acknowledged counts are not counted a second time. If the very last put was not
//! acknowledged, no one can tell whether it landed. It then counts as landed: counts that were never acknowledged may
//! be lost, but none may be there twice.

use std::time::Duration;

use crate::protocol::condition::{PutCondition, StoredHead};
use crate::table::item::WriterId;

/// Time for which a grave is kept. It is far longer than Lambda keeps an environment, so an environment that thaws
/// finds its own grave. DynamoDB deletes the item some days later.
pub const GRAVE_LIFE: Duration = Duration::from_hours(30 * 24);

/// Age of a writer from which a missing grave proves nothing. It is far less than the life of a grave, because it is
/// measured by the writer's clock.
const GRAVES_ARE_RELIED_ON: Duration = Duration::from_hours(15 * 24);

/// Content that is counted: metrics in production, a number in the model check.
pub trait Content: Clone + Default {
    /// Adds `other`.
    fn add(&mut self, other: Self);
}

/// Next step of a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Put the present values minus the writer's [baseline](Writer::baseline), unsealed. With [`PutCondition::Absent`],
    /// the layers below must send the put once and never repeat it: a much later repetition could bring a buried writer
    /// back.
    Put {
        /// The snapshot's `seq`.
        seq: u64,
        /// The put's condition.
        condition: PutCondition,
    },
    /// Put an empty sealed snapshot with this `seq`, on condition that nothing is stored.
    Fence {
        /// The snapshot's `seq`.
        seq: u64,
    },
    /// Read the writer's grave.
    ReadGrave,
    /// Do nothing more: the values that were current at the last put are in the table.
    Done,
}

/// Outcome of a put.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PutOutcome<C> {
    /// The snapshot was stored.
    Stored,
    /// The condition did not hold. Holds the snapshot that is stored instead, if there is one.
    Refused(Option<(StoredHead, C)>),
}

/// One writer's side of publishing.
///
/// An error between two steps leaves the writer as it is. The next publish calls [`begin`](Self::begin) again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Writer<C> {
    id: WriterId,
    seq: u64,
    phase: Phase<C>,
    baseline: C,
    /// Time at which the writer began to publish under its id, in milliseconds since the epoch.
    born_at_ms: u64,
    /// The content of the put that is under way, or that ended without an answer.
    under_way: Option<C>,
    /// Content of the last earlier put that may be stored.
    sent: Option<C>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Phase<C> {
    /// Nothing was sent under this id.
    Unborn,
    /// The first put was sent, and its outcome is unknown.
    Unheard,
    /// A put was acknowledged.
    Established,
    /// The id is dead. `sealed` is the content that was found sealed under it, or `None` if nothing was found: then the
    /// content is in the grave.
    Superseded {
        sealed: Option<C>,
        /// `true` if a put was ever acknowledged under the id. Otherwise the content that was found can be the writer's
        /// own fence.
        heard: bool,
    },
}

impl<C: Content> Writer<C> {
    /// Creates a writer that has published nothing yet.
    pub fn new(id: WriterId) -> Self {
        Self { id, seq: 0, phase: Phase::Unborn, baseline: C::default(), born_at_ms: 0, under_way: None, sent: None }
    }

    /// Creates a writer that has published nothing yet, in a process that was copied while it ran. What the process had
    /// counted before the copy is not this writer's to publish.
    pub fn of_copy(id: WriterId, counted_before: C) -> Self {
        Self { baseline: counted_before, ..Self::new(id) }
    }

    /// Returns the id under which the writer publishes.
    pub fn id(&self) -> &WriterId {
        &self.id
    }

    /// Returns the counts that the writer must not publish, because they were published under earlier ids or belong to
    /// the process that was copied.
    pub fn baseline(&self) -> &C {
        &self.baseline
    }

    /// Begins a publish at `now_ms`.
    pub fn begin(&mut self, now_ms: u64) -> Step {
        self.sent = self.under_way.take().or(self.sent.take());
        match self.phase {
            Phase::Unborn => {
                self.born_at_ms = now_ms;
                // From here on the put may land, even if its outcome is never heard.
                self.phase = Phase::Unheard;
                self.put(PutCondition::Absent)
            }
            // Every attempt has its own `seq`. An attempt whose outcome is unknown may still land, and must not be
            // mistaken for this one.
            Phase::Unheard | Phase::Established => self.put(PutCondition::Older),
            Phase::Superseded { .. } => Step::ReadGrave,
        }
    }

    /// Notes the content that is about to be put, and returns it. From now on it may be stored, even if no answer
    /// comes.
    pub fn sending(&mut self, content: C) -> &C {
        self.under_way.insert(content)
    }

    /// Returns the step that follows a put with this outcome.
    pub fn after_put(&mut self, outcome: PutOutcome<C>) -> Step {
        let put = self.under_way.take();
        match outcome {
            PutOutcome::Refused(Some((stored, content))) if stored.sealed => self.superseded(Some(content)),
            // An unsealed snapshot refused the put: a layer below had already sent the same put, and its response was
            // lost.
            PutOutcome::Stored | PutOutcome::Refused(Some(_)) => {
                self.phase = Phase::Established;
                self.sent = put;
                Step::Done
            }
            PutOutcome::Refused(None) if matches!(self.phase, Phase::Unheard) => Step::Fence { seq: self.seq },
            PutOutcome::Refused(None) => self.superseded(None),
        }
    }

    /// Returns the step that follows a fence with this outcome.
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

    /// Returns the step that follows the reading of the grave. The writer goes on under the id `fresh`.
    ///
    /// A grave takes precedence over content that was found sealed. If there are both, they are equal, except that a
    /// fence can stand where the writer was buried before.
    pub fn after_grave(&mut self, grave: Option<C>, now_ms: u64, fresh: WriterId) -> Step {
        let Phase::Superseded { sealed, heard } = std::mem::replace(&mut self.phase, Phase::Unborn) else {
            unreachable!("a grave is read only by a writer that was superseded");
        };
        // A first put that landed unheard can have been buried so long ago that its grave has expired. A grave that is
        // found then can be that of the fence.
        let age_ms = u128::from(now_ms.saturating_sub(self.born_at_ms));
        let says_something = heard || age_ms < GRAVES_ARE_RELIED_ON.as_millis();
        let found = grave.or(sealed).filter(|_| says_something);
        let counted = found.or(self.sent.take()).unwrap_or_default();
        self.baseline.add(counted);
        self.id = fresh;
        self.seq = 0;
        self.begin(now_ms)
    }

    /// Forgets what the writer has sent: a flaw that the model check must find.
    #[cfg(test)]
    pub(crate) fn forget_what_was_sent(&mut self) {
        (self.under_way, self.sent) = (None, None);
    }

    fn put(&mut self, condition: PutCondition) -> Step {
        self.seq += 1;
        Step::Put { seq: self.seq, condition }
    }

    fn superseded(&mut self, sealed: Option<C>) -> Step {
        let heard = matches!(self.phase, Phase::Established);
        self.phase = Phase::Superseded { sealed, heard };
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
        assert_eq!(writer.begin(0), Step::Put { seq: 1, condition: Absent });
        assert_eq!(writer.after_put(PutOutcome::Stored), Step::Done);
        assert_eq!(writer.begin(0), Step::Put { seq: 2, condition: Older });
        // A layer below repeated the put after the response was lost.
        assert_eq!(writer.after_put(refused(2, false, 7)), Step::Done);
        assert_eq!(writer.begin(0), Step::Put { seq: 3, condition: Older });
    }

    #[test]
    fn a_first_put_that_landed_unheard_is_replaced() {
        let mut writer = writer();
        writer.begin(0);
        assert_eq!(writer.begin(0), Step::Put { seq: 2, condition: Older });
        assert_eq!(writer.after_put(PutOutcome::Stored), Step::Done);
        assert_eq!(*writer.baseline(), 0);
    }

    #[test]
    fn a_first_put_that_did_not_land_is_fenced_off() {
        let mut writer = writer();
        let first = *writer.id();
        writer.begin(0);
        writer.begin(0);
        assert_eq!(writer.after_put(PutOutcome::Refused(None)), Step::Fence { seq: 2 });
        assert_eq!(writer.after_fence(PutOutcome::Stored), Step::ReadGrave);
        assert_eq!(writer.after_grave(None, 0, WriterId::random()), Step::Put { seq: 1, condition: Absent });
        assert_ne!(*writer.id(), first);
        assert_eq!(*writer.baseline(), 0);
    }

    #[test]
    fn a_fence_that_finds_the_first_put_goes_on_from_it() {
        let fenced = || {
            let mut writer = writer();
            writer.begin(0);
            writer.begin(0);
            assert_eq!(writer.after_put(PutOutcome::Refused(None)), Step::Fence { seq: 2 });
            writer
        };
        let mut writer = fenced();
        assert_eq!(writer.after_fence(refused(1, false, 5)), Step::Put { seq: 3, condition: Older }, "it landed late");
        assert_eq!(writer.after_put(PutOutcome::Stored), Step::Done);
        assert_eq!(*writer.baseline(), 0);
        // It landed late and was sealed at once.
        let mut writer = fenced();
        assert_eq!(writer.after_fence(refused(1, true, 5)), Step::ReadGrave);
        writer.after_grave(None, 0, WriterId::random());
        assert_eq!(*writer.baseline(), 5);
    }

    #[test]
    fn a_first_put_that_landed_and_was_buried_unheard_is_not_counted_again() {
        let mut writer = writer();
        writer.begin(0);
        writer.begin(0);
        writer.after_put(PutOutcome::Refused(None));
        writer.after_fence(PutOutcome::Stored);
        writer.after_grave(Some(5), 0, WriterId::random());
        assert_eq!(*writer.baseline(), 5);
    }

    #[test]
    fn a_writer_that_was_taken_for_dead_goes_on_from_what_was_sealed() {
        let mut writer = writer();
        writer.begin(0);
        writer.after_put(PutOutcome::Stored);
        writer.begin(0);
        assert_eq!(writer.after_put(refused(1, true, 3)), Step::ReadGrave);
        // Reading the grave fails. The next publish tries again.
        assert_eq!(writer.begin(0), Step::ReadGrave);
        writer.after_grave(None, 0, WriterId::random());
        assert_eq!(*writer.baseline(), 3);
        writer.after_put(PutOutcome::Stored);
        writer.begin(0);
        assert_eq!(writer.after_put(PutOutcome::Refused(None)), Step::ReadGrave);
        writer.after_grave(Some(4), 0, WriterId::random());
        assert_eq!(*writer.baseline(), 7);
    }

    const MONTH_MS: u64 = 30 * 24 * 60 * 60 * 1000;

    fn put(writer: &mut Writer<u64>, now_ms: u64, content: u64, outcome: PutOutcome<u64>) -> Step {
        writer.begin(now_ms);
        writer.sending(content);
        writer.after_put(outcome)
    }

    #[test]
    fn without_item_and_grave_it_goes_on_from_what_was_acknowledged() {
        let mut writer = writer();
        put(&mut writer, 0, 2, PutOutcome::Stored);
        put(&mut writer, 0, 3, PutOutcome::Stored);
        // The refused put is not stored, so the counts that it adds are still to be published.
        assert_eq!(put(&mut writer, MONTH_MS, 4, PutOutcome::Refused(None)), Step::ReadGrave);
        writer.after_grave(None, MONTH_MS, WriterId::random());
        assert_eq!(*writer.baseline(), 3);
    }

    #[test]
    fn without_item_and_grave_what_was_sent_last_counts_as_stored() {
        let mut writer = writer();
        put(&mut writer, 0, 2, PutOutcome::Stored);
        writer.begin(0);
        writer.sending(3);
        put(&mut writer, MONTH_MS, 4, PutOutcome::Refused(None));
        writer.after_grave(None, MONTH_MS, WriterId::random());
        assert_eq!(*writer.baseline(), 3);
    }

    #[test]
    fn what_can_be_its_own_fence_says_nothing_once_graves_expire() {
        // A grave is relied on for half of the month for which it is kept.
        let half_ms = MONTH_MS / 2;
        for (now_ms, grave, baseline) in
            [(half_ms - 1, None, 0), (half_ms, None, 5), (MONTH_MS, None, 5), (MONTH_MS, Some(0), 5)]
        {
            let mut writer = writer();
            writer.begin(0);
            writer.sending(5);
            put(&mut writer, now_ms, 6, PutOutcome::Refused(None));
            writer.after_fence(PutOutcome::Stored);
            writer.after_grave(grave, now_ms, WriterId::random());
            assert_eq!(*writer.baseline(), baseline);
        }
    }
}
