//! A circuit breaker as a state machine without a clock: the caller passes in the time.
//!
//! ```text
//!            FAILURES in a row                 open_for is over
//! closed ───────────────────────▶ open ───────────────────────▶ half open
//!    ▲                             ▲                             │  one call, the probe, goes through
//!    │                             └──────────── it fails ───────┤
//!    └───────────────────────────────────────── it succeeds ─────┘
//! ```
//!
//! Only calls that reached the store count. A call that was refused before it was sent changes nothing. If a probe is
//! refused that way, or its caller gave up, the breaker stays half open for the next call.

use std::ops::Add;
use std::time::{Duration, Instant, SystemTime};

use strum::{AsRefStr, VariantArray};

/// Number of failures in a row that opens the breaker.
pub(super) const FAILURES: u32 = 5;

/// The state of a circuit breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray, AsRefStr)]
#[strum(serialize_all = "snake_case")]
pub enum BreakerState {
    /// Calls go through.
    Closed,
    /// Calls are refused.
    Open,
    /// One call at a time goes through, and its outcome decides the next state.
    HalfOpen,
}

/// A moment by both clocks.
///
/// Between requests Lambda freezes an environment, and the monotonic clock may stand still meanwhile. The system's clock
/// does not, but may be set. So a breaker is open no longer than either clock says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    monotonic: Instant,
    system: SystemTime,
}

impl Moment {
    /// Returns the present moment.
    pub(super) fn now() -> Self {
        Self { monotonic: Instant::now(), system: SystemTime::now() }
    }

    /// Returns the time from this moment until `later`: zero if either clock says that it is over.
    fn until(self, later: Self) -> Duration {
        let monotonic = later.monotonic.saturating_duration_since(self.monotonic);
        monotonic.min(later.system.duration_since(self.system).unwrap_or_default())
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self { monotonic: self.monotonic + duration, system: self.system + duration }
    }
}

/// Outcome of a call, as far as it concerns the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The store answered.
    Answered,
    /// The store failed, or did not answer in time.
    Failed,
    /// The call was not sent to the store, or its answer was not awaited.
    Unknown,
}

/// Permission to make one call, whose outcome must be [recorded](Breaker::record).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Admission {
    /// Period, between two changes of phase, in which the call began.
    period: u64,
}

/// A circuit breaker.
#[derive(Debug)]
pub(super) struct Breaker {
    open_for: Duration,
    phase: Phase,
    /// Number of changes of phase. An outcome of a call from an earlier period is ignored: a success that was sent
    /// before the store failed must not close the breaker, and a failure from then must not undo a successful probe.
    period: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Closed { failures_in_a_row: u32 },
    Open { until: Moment },
    Probing,
}

impl Breaker {
    /// Creates a closed breaker, which stays open for `open_for` once it opens.
    pub(super) fn new(open_for: Duration) -> Self {
        Self { open_for, phase: Phase::Closed { failures_in_a_row: 0 }, period: 0 }
    }

    /// Returns the state at this time.
    pub(super) fn state(&self, now: Moment) -> BreakerState {
        match self.phase {
            Phase::Closed { .. } => BreakerState::Closed,
            Phase::Open { until } if !now.until(until).is_zero() => BreakerState::Open,
            Phase::Open { .. } | Phase::Probing => BreakerState::HalfOpen,
        }
    }

    /// Admits a call.
    ///
    /// # Errors
    ///
    /// Returns the time until the breaker lets a call through, if it is open. The time is zero while a probe is under
    /// way.
    pub(super) fn admit(&mut self, now: Moment) -> Result<Admission, Duration> {
        match self.phase {
            Phase::Closed { .. } => {}
            Phase::Open { until } => match now.until(until) {
                Duration::ZERO => self.enter(Phase::Probing),
                left => return Err(left),
            },
            Phase::Probing => return Err(Duration::ZERO),
        }
        Ok(Admission { period: self.period })
    }

    /// Records the outcome of an admitted call.
    pub(super) fn record(&mut self, admission: Admission, outcome: Outcome, now: Moment) {
        if admission.period != self.period {
            return;
        }
        match (self.phase, outcome) {
            (Phase::Closed { failures_in_a_row }, Outcome::Failed) if failures_in_a_row + 1 < FAILURES => {
                self.phase = Phase::Closed { failures_in_a_row: failures_in_a_row + 1 };
            }
            (Phase::Closed { .. } | Phase::Probing, Outcome::Failed) => {
                self.enter(Phase::Open { until: now + self.open_for });
            }
            (Phase::Closed { .. }, Outcome::Answered) => self.phase = Phase::Closed { failures_in_a_row: 0 },
            (Phase::Probing, Outcome::Answered) => self.enter(Phase::Closed { failures_in_a_row: 0 }),
            // The opening is over already, so the next call is the probe.
            (Phase::Probing, Outcome::Unknown) => self.enter(Phase::Open { until: now }),
            (Phase::Closed { .. }, Outcome::Unknown) | (Phase::Open { .. }, _) => {}
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.period += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OPEN_FOR: Duration = Duration::from_secs(5);
    const TICK: Duration = Duration::from_secs(1);

    fn opened(now: Moment) -> Breaker {
        let mut breaker = Breaker::new(OPEN_FOR);
        for _ in 0..FAILURES {
            assert_eq!(breaker.state(now), BreakerState::Closed);
            let admission = breaker.admit(now).unwrap();
            breaker.record(admission, Outcome::Failed, now);
        }
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_it_says_for_how_long() {
        let now = Moment::now();
        let mut breaker = opened(now);
        assert_eq!(breaker.state(now), BreakerState::Open);
        assert_eq!(breaker.admit(now + TICK), Err(OPEN_FOR - TICK));
    }

    #[test]
    fn neither_a_freeze_nor_a_clock_that_is_set_back_prolongs_it() {
        let now = Moment::now();
        let mut breaker = opened(now);
        let set_back = Moment { system: now.system - TICK * 3600, ..now };
        assert_eq!(breaker.admit(set_back + TICK), Err(OPEN_FOR - TICK));
        let frozen = Moment { system: now.system + TICK * 2, ..now };
        assert_eq!(breaker.admit(frozen), Err(OPEN_FOR - TICK * 2), "the monotonic clock stood still");
        let thawed = Moment { system: now.system + OPEN_FOR, ..now };
        assert_eq!(breaker.state(thawed), BreakerState::HalfOpen);
        assert!(breaker.admit(thawed).is_ok());
        let mut breaker = opened(now);
        assert!(breaker.admit(set_back + OPEN_FOR).is_ok());
    }

    #[test]
    fn the_probe_decides() {
        let now = Moment::now();
        let later = now + OPEN_FOR;
        for (outcome, state) in [
            (Outcome::Answered, BreakerState::Closed),
            (Outcome::Failed, BreakerState::Open),
            (Outcome::Unknown, BreakerState::HalfOpen),
        ] {
            let mut breaker = opened(now);
            assert_eq!(breaker.state(later), BreakerState::HalfOpen);
            let probe = breaker.admit(later).unwrap();
            assert_eq!((breaker.state(later), breaker.admit(later)), (BreakerState::HalfOpen, Err(Duration::ZERO)));
            breaker.record(probe, outcome, later);
            assert_eq!(breaker.state(later), state, "{outcome:?}");
            assert_eq!(breaker.admit(later).is_ok(), state != BreakerState::Open, "{outcome:?}");
        }
    }

    #[test]
    fn what_began_before_it_opened_says_nothing_later() {
        let now = Moment::now();
        let mut breaker = Breaker::new(OPEN_FOR);
        let slow = breaker.admit(now).unwrap();
        for _ in 0..FAILURES {
            let admission = breaker.admit(now).unwrap();
            breaker.record(admission, Outcome::Failed, now);
        }
        breaker.record(slow, Outcome::Answered, now + TICK);
        assert_eq!(breaker.state(now + TICK), BreakerState::Open);
    }

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Call,
        /// The call under way at this index, in the order in which they began (modulo their number), ends with this
        /// outcome.
        End(usize, Outcome),
        Wait(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        let outcome = prop_oneof![Just(Outcome::Answered), Just(Outcome::Failed), Just(Outcome::Unknown)];
        prop_oneof![
            3 => Just(Step::Call),
            5 => (any::<usize>(), outcome).prop_map(|(call, outcome)| Step::End(call, outcome)),
            1 => (0..8_u8).prop_map(Step::Wait),
        ]
    }

    proptest! {
        /// Holds for any sequence of events: an unknown outcome changes no state; at most one call is under way that
        /// began while the breaker was half open; no refusal lasts longer than `open_for`; and once all calls have
        /// ended and that time has passed, the next call is admitted.
        #[test]
        fn it_never_sticks(steps in prop::collection::vec(step(), 0..200)) {
            let mut now = Moment::now();
            let mut breaker = Breaker::new(OPEN_FOR);
            let mut under_way: Vec<(Admission, bool)> = Vec::new();
            for step in steps {
                match step {
                    Step::Call => {
                        let probe = breaker.state(now) == BreakerState::HalfOpen;
                        match breaker.admit(now) {
                            Ok(admission) => under_way.push((admission, probe)),
                            Err(left) => prop_assert!(left <= OPEN_FOR),
                        }
                    }
                    Step::End(_, _) if under_way.is_empty() => {}
                    Step::End(call, outcome) => {
                        let before = breaker.state(now);
                        let (admission, _) = under_way.remove(call % under_way.len());
                        breaker.record(admission, outcome, now);
                        prop_assert!(outcome != Outcome::Unknown || breaker.state(now) == before);
                    }
                    Step::Wait(seconds) => now = now + TICK * u32::from(seconds),
                }
                prop_assert!(under_way.iter().filter(|(_, probe)| *probe).count() <= 1);
            }
            for (admission, _) in under_way {
                breaker.record(admission, Outcome::Unknown, now);
            }
            prop_assert!(breaker.admit(now + OPEN_FOR).is_ok());
        }
    }
}
