//! When an environment publishes: a decision, apart from clocks and tasks.
//!
//! A publish holds the environment after its response, so a hot environment must not publish after every one. A token
//! bucket (see `STATS_PUBLISH_INTERVAL` and `STATS_PUBLISH_BURST`) lets a quiet environment publish after each response and
//! a hot one once an interval. What the bucket holds back goes with the next publish, or by a timer where the process runs
//! on between requests.

use std::time::Duration;

use tokio::time::Instant;

/// How long a failed publish waits before the timer tries again, where publishes have no interval.
const SHORTEST_RETRY: Duration = Duration::from_secs(1);

/// The token bucket's size and pace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// How long a token takes to come back; zero for a publish after every response.
    pub interval: Duration,
    /// How many tokens there are at most.
    pub burst: u32,
}

/// What is to be done after a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterResponse {
    /// Publish now.
    Publish,
    /// Start the timer: see [`Schedule::on_timer`] at that time.
    StartTimer(Instant),
    /// Nothing: a timer is running.
    Wait,
}

/// What is to be done when the timer fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnTimer {
    /// Publish now, then ask again.
    Publish,
    /// Sleep until then, then ask again.
    SleepUntil(Instant),
    /// Nothing: the timer has ended.
    End,
}

/// Decides when to publish.
#[derive(Debug)]
pub struct Schedule {
    pace: Pace,
    tokens: u32,
    /// When the bucket was last as full as `tokens` says.
    refilled_at: Instant,
    /// Requests whose response is not out yet.
    in_flight: u32,
    /// Whether something is unpublished.
    pending: bool,
    timer_runs: bool,
    /// After a failure, the timer does not try again before this.
    not_before: Instant,
}

impl Schedule {
    /// A schedule with a full bucket.
    pub fn new(pace: Pace, now: Instant) -> Self {
        Self {
            pace,
            tokens: pace.burst,
            refilled_at: now,
            in_flight: 0,
            pending: false,
            timer_runs: false,
            not_before: now,
        }
    }

    /// A request has arrived.
    pub fn begin_request(&mut self) {
        self.in_flight += 1;
    }

    /// A request was abandoned before its response was out.
    pub fn abandon_request(&mut self) {
        self.in_flight -= 1;
        self.pending = true;
    }

    /// A response is out.
    pub fn end_request(&mut self, now: Instant) -> AfterResponse {
        self.in_flight -= 1;
        self.pending = true;
        if self.take_token(now) {
            self.pending = false;
            AfterResponse::Publish
        } else {
            self.timer_needed(now).map_or(AfterResponse::Wait, AfterResponse::StartTimer)
        }
    }

    /// A publish has ended. Gives the time at which a timer must be started, if one must.
    pub fn published(&mut self, succeeded: bool, now: Instant) -> Option<Instant> {
        if !succeeded {
            self.pending = true;
            self.not_before = now + self.pace.interval.max(SHORTEST_RETRY);
        }
        if self.pending { self.timer_needed(now) } else { None }
    }

    /// The timer has fired.
    pub fn on_timer(&mut self, now: Instant) -> OnTimer {
        // While a request is in flight, a publish would take time from its client; its end decides anew. This is also what
        // meets a timer that slept through a freeze: it wakes together with a request.
        if !self.pending || self.in_flight > 0 {
            self.timer_runs = false;
            OnTimer::End
        } else if now >= self.not_before && self.take_token(now) {
            self.pending = false;
            OnTimer::Publish
        } else {
            OnTimer::SleepUntil(self.next_chance(now))
        }
    }

    fn timer_needed(&mut self, now: Instant) -> Option<Instant> {
        (!std::mem::replace(&mut self.timer_runs, true)).then(|| self.next_chance(now))
    }

    fn next_chance(&mut self, now: Instant) -> Instant {
        self.refill(now);
        let token_at = if self.tokens > 0 { now } else { self.refilled_at + self.pace.interval };
        token_at.max(self.not_before)
    }

    fn take_token(&mut self, now: Instant) -> bool {
        if self.pace.interval.is_zero() {
            return true;
        }
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
        (Schedule::new(Pace { interval: SECOND, burst }, start), start)
    }

    fn request(schedule: &mut Schedule, now: Instant) -> AfterResponse {
        schedule.begin_request();
        schedule.end_request(now)
    }

    #[test]
    fn a_quiet_environment_publishes_after_every_response() {
        let (mut schedule, start) = schedule(1);
        for second in 0..10 {
            assert_eq!(request(&mut schedule, start + SECOND * second), AfterResponse::Publish);
            assert_eq!(schedule.published(true, start + SECOND * second), None);
        }
    }

    #[test]
    fn a_hot_one_publishes_its_burst_and_then_once_an_interval() {
        let (mut schedule, start) = schedule(10);
        let publishes = |schedule: &mut Schedule, from: u32, to: u32| {
            (from..to).filter(|i| request(schedule, start + SECOND / 100 * *i) == AfterResponse::Publish).count()
        };
        assert_eq!(publishes(&mut schedule, 0, 50), 10);
        assert_eq!(publishes(&mut schedule, 50, 1050), 10);
    }

    #[test]
    fn what_was_held_back_goes_with_the_timer_when_no_request_is_in_flight() {
        let (mut schedule, start) = schedule(1);
        assert_eq!(request(&mut schedule, start), AfterResponse::Publish);
        assert_eq!(request(&mut schedule, start), AfterResponse::StartTimer(start + SECOND));
        assert_eq!(request(&mut schedule, start), AfterResponse::Wait);
        schedule.begin_request();
        assert_eq!(schedule.on_timer(start + SECOND), OnTimer::End);
        assert_eq!(schedule.end_request(start + SECOND), AfterResponse::Publish);
        assert_eq!(schedule.published(true, start + SECOND), None, "nothing is left");
    }

    #[test]
    fn a_failed_publish_is_tried_again_by_the_timer() {
        let (mut schedule, start) = schedule(10);
        assert_eq!(request(&mut schedule, start), AfterResponse::Publish);
        assert_eq!(schedule.published(false, start), Some(start + SECOND));
        assert_eq!(schedule.on_timer(start + SECOND), OnTimer::Publish);
        assert_eq!(schedule.published(false, start + SECOND), None, "the timer runs already");
        assert_eq!(schedule.on_timer(start + SECOND), OnTimer::SleepUntil(start + SECOND * 2));
        assert_eq!(schedule.on_timer(start + SECOND * 2), OnTimer::Publish);
        schedule.published(true, start + SECOND * 2);
        assert_eq!(schedule.on_timer(start + SECOND * 2), OnTimer::End);
    }

    #[test]
    fn without_an_interval_every_response_is_followed_by_a_publish() {
        let start = Instant::now();
        let mut schedule = Schedule::new(Pace { interval: Duration::ZERO, burst: 1 }, start);
        for _ in 0..5 {
            assert_eq!(request(&mut schedule, start), AfterResponse::Publish);
        }
        assert_eq!(schedule.published(false, start), Some(start + SHORTEST_RETRY));
    }
}
