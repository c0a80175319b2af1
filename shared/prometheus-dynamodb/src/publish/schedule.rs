//! Decides when an environment publishes, apart from clocks and tasks.
//!
//! A publish holds the environment after its response, so a hot environment must not publish after every response. A token
//! bucket (see `STATS_PUBLISH_INTERVAL` and `STATS_PUBLISH_BURST`) lets a quiet environment publish after each response and
//! a hot one once an interval. A [`Budget`] bounds the time that all of these publishes may take. While publishes fail, the
//! pauses between them grow. Changes that are held back go with the next publish, or by a timer where the process runs on.
//!
//! The timer also serves requests that are still in flight: it publishes what was counted meanwhile at the same pace, and
//! once shortly before the deadline, at which Lambda kills the environment. The timer holds up no response, so it costs no
//! budget.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::publish::budget::Budget;

/// Interval of the timer's publishes where the pace has no interval, and pause after the first failure.
const USUAL_PAUSE: Duration = Duration::from_secs(1);

/// Shortest pause of the timer, whatever the pace: each time it gathers all metrics.
const LEAST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause between failing publishes.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Time before a request's deadline at which its counts are published. A put to DynamoDB takes about 10 ms, and even a slow
/// one should be done in time.
const BEFORE_DEADLINE: Duration = Duration::from_millis(300);

/// Size and pace of the token bucket, and the budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    /// Time that a token takes to come back; zero for a publish after every response.
    pub interval: Duration,
    /// Maximum number of tokens.
    pub burst: u32,
    /// Share of its time that an environment may spend on publishing after its responses, in percent. 100 is no bound.
    pub budget_percent: u8,
}

/// Cause of a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// A response that is out. The environment takes no event during the publish.
    Response,
    /// The timer, which publishes beside whatever else the environment does.
    Timer,
    /// A caller, who publishes whatever the schedule says: the environment ends, or a loop publishes by itself.
    Caller,
}

/// Decision about what the timer does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnTimer {
    /// Publish now, then ask again.
    Publish,
    /// Publish now if anything has changed since the last publish, then ask again.
    PublishChanges,
    /// Sleep until then, then ask again.
    SleepUntil(Instant),
    /// End: there is nothing left to do.
    End,
}

/// Action that the timer needs after something has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arm {
    /// The timer must be started. It then asks [`Schedule::on_timer`] until the answer is [`OnTimer::End`].
    Start,
    /// The timer sleeps for too long and must be woken.
    Wake,
    /// Nothing.
    Nothing,
}

/// A schedule, which decides when to publish.
#[derive(Debug)]
pub(crate) struct Schedule {
    pace: Pace,
    tokens: u32,
    /// Time up to which refills are counted in `tokens`.
    refilled_at: Instant,
    budget: Budget,
    /// Requests whose response is not out yet, each with the latest time at which the timer must publish for it.
    in_flight: BTreeMap<u64, Option<Instant>>,
    requests: u64,
    /// `true` while something is unpublished.
    pending: bool,
    /// Time at which the publish began that follows a response, while there is one.
    response_publishes_since: Option<Instant>,
    timer_publishes: bool,
    failures: u32,
    /// Time before which neither a response nor the timer tries again after a failure, unless a deadline comes near.
    not_before: Instant,
    /// Time at which the timer publishes next, if there is something to publish.
    timer_due: Instant,
    /// Time until which the timer sleeps, if it runs.
    timer_sleeps_until: Option<Instant>,
    /// `true` once the environment ends.
    is_closed: bool,
}

impl Schedule {
    /// Creates a schedule with a full bucket.
    pub(crate) fn new(pace: Pace, now: Instant) -> Self {
        Self {
            pace,
            tokens: pace.burst,
            refilled_at: now,
            budget: Budget::new(pace.budget_percent, now),
            in_flight: BTreeMap::new(),
            requests: 0,
            pending: false,
            response_publishes_since: None,
            timer_publishes: false,
            failures: 0,
            not_before: now,
            timer_due: now,
            timer_sleeps_until: None,
            is_closed: false,
        }
    }

    /// Notes that the environment ends, or that it goes on in a copy. Once it ends, the timer has nothing to do.
    pub(crate) fn set_closed(&mut self, is_closed: bool) {
        self.is_closed = is_closed;
    }

    /// Notes that a request has arrived, which Lambda ends at the deadline. Returns the request's number.
    pub(crate) fn begin_request(&mut self, now: Instant, deadline: Option<Instant>) -> u64 {
        if self.in_flight.is_empty() && !self.pending {
            self.timer_due = now + self.timer_pause();
        }
        let latest = deadline.map(|deadline| {
            let left = deadline.saturating_duration_since(now);
            now + left.saturating_sub(BEFORE_DEADLINE.min(left / 2))
        });
        self.requests += 1;
        self.in_flight.insert(self.requests, latest);
        self.requests
    }

    /// Notes that a request was abandoned before its response was out.
    pub(crate) fn abandon_request(&mut self, request: u64) {
        self.in_flight.remove(&request);
        self.pending = true;
    }

    /// Notes that a response is out. Returns whether a publish is to follow it.
    pub(crate) fn end_request(&mut self, request: u64, now: Instant) -> bool {
        self.in_flight.remove(&request);
        self.pending = true;
        // Only one publish runs at a time. Waiting for the timer's publish is worth it only where the environment may
        // be frozen next.
        let another = self.response_publishes_since.is_some() || (self.timer_publishes && !self.in_flight.is_empty());
        // The token is taken last, when it is certain that the publish follows.
        let publishes = !another && now >= self.not_before && self.budget.has_some(now) && self.take_token(now);
        if publishes {
            self.response_publishes_since = Some(now);
            self.begin_publish(now);
        }
        publishes
    }

    /// Notes that a publish has ended. `jitter`, from 0 to 1, spreads the pauses of environments that fail together.
    pub(crate) fn published(&mut self, by: By, succeeded: bool, now: Instant, jitter: f64) {
        match by {
            By::Timer => self.timer_publishes = false,
            By::Response => {
                let since = self.response_publishes_since.take().unwrap_or(now);
                self.budget.spend(now.saturating_duration_since(since), now);
            }
            By::Caller => {}
        }
        if succeeded {
            self.failures = 0;
        } else {
            self.pending = true;
            let pause = USUAL_PAUSE.saturating_mul(2u32.saturating_pow(self.failures)).min(LONGEST_PAUSE);
            self.not_before = now + pause.mul_f64(0.5 + jitter / 2.0);
            self.failures += 1;
        }
    }

    /// Decides, after something has happened, whether the timer must be started or woken so that it asks in time.
    pub(crate) fn arm_timer(&mut self, now: Instant) -> Arm {
        let Some(at) = self.timer_at() else { return Arm::Nothing };
        match self.timer_sleeps_until.replace(at.max(now)) {
            None => Arm::Start,
            Some(sleeps_until) if sleeps_until > at => Arm::Wake,
            Some(sleeps_until) => {
                self.timer_sleeps_until = Some(sleeps_until);
                Arm::Nothing
            }
        }
    }

    /// Notes that the timer does not run any more, although it may have something to do.
    pub(crate) fn timer_was_lost(&mut self) {
        self.timer_sleeps_until = None;
    }

    /// Decides what the timer does now.
    pub(crate) fn on_timer(&mut self, now: Instant) -> OnTimer {
        let at = self.timer_at();
        self.timer_sleeps_until = at.map(|at| at.max(now));
        match at {
            None => OnTimer::End,
            Some(at) if at > now => OnTimer::SleepUntil(at),
            Some(_) => {
                self.in_flight.values_mut().for_each(|latest| *latest = latest.filter(|latest| *latest > now));
                self.take_token(now);
                self.timer_publishes = true;
                let pending = self.pending;
                self.begin_publish(now);
                if pending { OnTimer::Publish } else { OnTimer::PublishChanges }
            }
        }
    }

    /// Returns the time at which the timer has something to do, if it has anything to do.
    fn timer_at(&self) -> Option<Instant> {
        if self.is_closed {
            return None;
        }
        let to_publish = self.pending || !self.in_flight.is_empty();
        let regularly = to_publish.then(|| self.timer_due.max(self.not_before));
        // A deadline ignores pace and pauses: whatever is unpublished at the deadline would be lost.
        self.in_flight.values().copied().flatten().chain(regularly).min()
    }

    /// Notes that a publish begins, which carries everything that is unpublished.
    pub(crate) fn begin_publish(&mut self, now: Instant) {
        self.pending = false;
        self.timer_due = now + self.timer_pause();
    }

    fn timer_pause(&self) -> Duration {
        if self.pace.interval.is_zero() { USUAL_PAUSE } else { self.pace.interval.max(LEAST_PAUSE) }
    }

    fn take_token(&mut self, now: Instant) -> bool {
        self.refill(now);
        let taken = self.tokens > 0;
        self.tokens -= u32::from(taken);
        taken
    }

    fn refill(&mut self, now: Instant) {
        if self.pace.interval.is_zero() {
            self.tokens = self.pace.burst;
            return;
        }
        let passed = now.saturating_duration_since(self.refilled_at).as_nanos() / self.pace.interval.as_nanos();
        let missing = self.pace.burst - self.tokens;
        match u32::try_from(passed) {
            Ok(passed) if passed < missing => {
                self.tokens += passed;
                self.refilled_at += self.pace.interval * passed;
            }
            _ => {
                self.tokens = self.pace.burst;
                // A full bucket starts to refill when a token is taken from it.
                self.refilled_at = now;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn schedule(burst: u32) -> (Schedule, Instant) {
        let start = Instant::now();
        (Schedule::new(Pace { interval: SECOND, burst, budget_percent: 2 }, start), start)
    }

    /// Handles a request that takes no time. Returns whether it is followed by a publish, which takes no time either.
    fn request(schedule: &mut Schedule, now: Instant) -> bool {
        let request = schedule.begin_request(now, None);
        let publishes = schedule.end_request(request, now);
        if publishes {
            schedule.published(By::Response, true, now, 1.0);
        }
        publishes
    }

    #[test]
    fn a_quiet_environment_publishes_after_every_response() {
        let (mut schedule, start) = schedule(1);
        for second in 0..10 {
            assert!(request(&mut schedule, start + SECOND * second));
            assert_eq!(schedule.arm_timer(start + SECOND * second), Arm::Nothing, "nothing is left");
        }
    }

    #[test]
    fn a_hot_one_publishes_its_burst_and_then_once_an_interval() {
        let (mut schedule, start) = schedule(10);
        let publishes = |schedule: &mut Schedule, from: u32, to: u32| {
            (from..to).filter(|i| request(schedule, start + SECOND / 100 * *i)).count()
        };
        assert_eq!(publishes(&mut schedule, 0, 50), 10);
        assert_eq!(publishes(&mut schedule, 50, 1050), 10);
    }

    #[test]
    fn a_bucket_fills_by_one_publish_an_interval_up_to_its_burst() {
        let (mut schedule, start) = schedule(10);
        let publishes = |schedule: &mut Schedule, now| (0..20).filter(|_| request(schedule, now)).count();
        assert!(request(&mut schedule, start));
        assert_eq!(publishes(&mut schedule, start + SECOND * 5), 10, "it was full");
        assert_eq!(publishes(&mut schedule, start + SECOND * 13), 8);
        assert_eq!(publishes(&mut schedule, start + SECOND * 1000), 10);
    }

    #[test]
    fn a_full_bucket_begins_to_fill_when_a_publish_is_taken_out() {
        let (mut schedule, start) = schedule(1);
        for (tenths, publishes) in [(0, true), (15, true), (20, false), (24, false), (25, true)] {
            assert_eq!(request(&mut schedule, start + SECOND / 10 * tenths), publishes, "after {tenths} tenths");
        }
    }

    #[test]
    fn what_was_held_back_goes_with_the_timer() {
        let (mut schedule, start) = schedule(1);
        assert!(request(&mut schedule, start));
        assert!(!request(&mut schedule, start));
        assert_eq!(schedule.arm_timer(start), Arm::Start);
        assert_eq!(schedule.on_timer(start), OnTimer::SleepUntil(start + SECOND));
        assert_eq!(schedule.on_timer(start + SECOND), OnTimer::Publish);
        schedule.published(By::Timer, true, start + SECOND, 1.0);
        assert_eq!(schedule.on_timer(start + SECOND), OnTimer::End);
    }

    #[test]
    fn the_pauses_between_failures_grow_to_a_minute() {
        let (mut schedule, start) = schedule(10);
        let (mut now, mut pauses) = (start, Vec::new());
        let first = schedule.begin_request(now, None);
        assert!(schedule.end_request(first, now));
        schedule.published(By::Response, false, now, 1.0);
        assert_eq!(schedule.arm_timer(now), Arm::Start);
        for _ in 0..9 {
            assert!(!request(&mut schedule, now), "a response does not try again either");
            let OnTimer::SleepUntil(at) = schedule.on_timer(now) else { panic!("it tries again at once") };
            pauses.push((at - now).as_secs());
            now = at;
            assert_eq!(schedule.on_timer(now), OnTimer::Publish);
            schedule.published(By::Timer, false, now, 1.0);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        schedule.published(By::Timer, false, now, 0.0);
        assert_eq!(schedule.on_timer(now), OnTimer::SleepUntil(now + SECOND * 30), "half as long at least");
        schedule.published(By::Timer, true, now + SECOND * 30, 0.0);
        schedule.published(By::Timer, false, now + SECOND * 30, 1.0);
        assert_eq!(schedule.on_timer(now + SECOND * 30), OnTimer::SleepUntil(now + SECOND * 31), "and from the start");
    }

    #[test]
    fn of_many_requests_at_once_one_publishes_and_none_waits() {
        let (mut schedule, start) = schedule(10);
        let requests: Vec<_> = (0..64).map(|_| schedule.begin_request(start, None)).collect();
        let publish = |schedule: &mut Schedule, request: &u64| schedule.end_request(*request, start);
        assert_eq!(requests.iter().filter(|request| publish(&mut schedule, request)).count(), 1);
        schedule.published(By::Response, true, start, 1.0);
        assert_eq!(schedule.arm_timer(start), Arm::Start, "what the others counted goes with the timer");
        assert_eq!(schedule.on_timer(start + SECOND), OnTimer::Publish);
        // Only the last request to end waits for the timer's publish, since the environment may be frozen then.
        let (one, other) = (schedule.begin_request(start + SECOND, None), schedule.begin_request(start + SECOND, None));
        assert!(!schedule.end_request(one, start + SECOND));
        assert!(schedule.end_request(other, start + SECOND));
    }

    #[test]
    fn a_long_request_is_looked_after_at_the_pace_and_before_its_deadline() {
        let (mut schedule, start) = schedule(10);
        schedule.begin_request(start, Some(start + SECOND * 3));
        assert_eq!(schedule.arm_timer(start), Arm::Start);
        for at in [SECOND, SECOND * 2, SECOND * 3 - BEFORE_DEADLINE].map(|after| start + after) {
            assert_eq!(schedule.on_timer(at - SECOND / 10), OnTimer::SleepUntil(at));
            assert_eq!(schedule.on_timer(at), OnTimer::PublishChanges);
            schedule.published(By::Timer, true, at, 1.0);
        }
        assert_eq!(schedule.on_timer(start + SECOND * 3), OnTimer::SleepUntil(start + SECOND * 4 - BEFORE_DEADLINE));
    }

    #[test]
    fn requests_that_keep_coming_put_nothing_off() {
        let (mut schedule, start) = schedule(10);
        schedule.begin_request(start, None);
        let now = start + SECOND * 9 / 10;
        let second = schedule.begin_request(now, None);
        assert_eq!(schedule.on_timer(now), OnTimer::SleepUntil(start + SECOND), "one was in flight");
        schedule.abandon_request(second);
        schedule.begin_request(now, None);
        assert_eq!(schedule.on_timer(now), OnTimer::SleepUntil(start + SECOND), "what one counted is unpublished");
    }

    #[test]
    fn what_an_abandoned_request_counted_goes_with_the_timer() {
        let (mut schedule, start) = schedule(10);
        let request = schedule.begin_request(start, None);
        schedule.abandon_request(request);
        assert_eq!(schedule.on_timer(start + SECOND), OnTimer::Publish);
        schedule.published(By::Timer, true, start + SECOND, 1.0);
        assert_eq!(schedule.on_timer(start + SECOND), OnTimer::End);
    }

    #[test]
    fn once_the_environment_ends_the_timer_has_nothing_to_do_unless_it_goes_on_in_a_copy() {
        let (mut schedule, start) = schedule(10);
        schedule.begin_request(start, None);
        schedule.set_closed(true);
        assert_eq!(schedule.arm_timer(start), Arm::Nothing);
        assert_eq!(schedule.on_timer(start + SECOND), OnTimer::End);
        schedule.set_closed(false);
        assert_eq!(schedule.arm_timer(start), Arm::Start);
    }

    #[test]
    fn a_deadline_takes_no_heed_of_pauses_and_wakes_a_timer_that_sleeps_longer() {
        let (mut schedule, start) = schedule(10);
        schedule.failures = 6;
        let first = schedule.begin_request(start, None);
        assert!(schedule.end_request(first, start));
        schedule.published(By::Response, false, start, 1.0);
        assert_eq!(schedule.arm_timer(start), Arm::Start);
        assert_eq!(schedule.on_timer(start), OnTimer::SleepUntil(start + SECOND * 60));
        schedule.begin_request(start, Some(start + SECOND / 5));
        assert_eq!(schedule.arm_timer(start), Arm::Wake);
        assert_eq!(schedule.arm_timer(start), Arm::Nothing);
        assert_eq!(schedule.on_timer(start), OnTimer::SleepUntil(start + SECOND / 10), "half of what is left");
        assert_eq!(schedule.on_timer(start + SECOND / 10), OnTimer::Publish);
    }

    #[test]
    fn the_timer_takes_its_time_however_short_the_interval_is() {
        let start = Instant::now();
        let pace = Pace { interval: Duration::from_micros(1), burst: 1, budget_percent: 100 };
        let mut schedule = Schedule::new(pace, start);
        schedule.begin_request(start, None);
        let now = start + LEAST_PAUSE;
        assert_eq!(schedule.on_timer(now), OnTimer::PublishChanges);
        assert_eq!(schedule.on_timer(now), OnTimer::SleepUntil(now + LEAST_PAUSE));
    }

    #[test]
    fn without_an_interval_every_response_is_followed_by_a_publish() {
        let start = Instant::now();
        let mut schedule = Schedule::new(Pace { interval: Duration::ZERO, burst: 1, budget_percent: 2 }, start);
        assert!((0..5).all(|_| request(&mut schedule, start)));
    }
}
