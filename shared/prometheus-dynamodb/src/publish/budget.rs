//! Bounds the share of its time that an environment spends on publishing.
//!
//! An environment that publishes after a response takes no event meanwhile, so a table that is slow or hangs would take the
//! service down with it. A bucket of time fills by a share of the time that passes, and each publish that held the environment
//! takes out what it took, whether it succeeded or not. While nothing is left, responses are not followed by a publish.

use std::time::Duration;

use tokio::time::Instant;

/// Size of the bucket, which is full at first. With a publish of [`LONGEST_HOLD`], it allows at most 1.25 s beyond the
/// share: with 2 %, 4.1 % of any minute.
const CAPACITY: Duration = Duration::from_millis(250);

/// Longest time that a publish may take, and so the most that one publish takes out of the bucket: a freeze in the middle of
/// a publish must not count as hours of work.
pub(super) const LONGEST_HOLD: Duration = Duration::from_secs(1);

/// A bucket of time to spend.
#[derive(Debug)]
pub(super) struct Budget {
    /// Share of the passing time that may be spent, from 0 to 1.
    share: f64,
    /// Time that is left, in seconds; negative after a publish that took longer than was left.
    left: f64,
    /// Time at which `left` was last computed.
    at: Instant,
}

impl Budget {
    /// Creates a full bucket that fills by this percentage of the time that passes.
    pub(super) fn new(percent: u8, now: Instant) -> Self {
        Self { share: f64::from(percent) / 100.0, left: CAPACITY.as_secs_f64(), at: now }
    }

    /// Returns whether any time is left to spend.
    pub(super) fn has_some(&mut self, now: Instant) -> bool {
        self.fill(now, CAPACITY.as_secs_f64());
        self.left > 0.0
    }

    /// Takes out the time that a publish took.
    pub(super) fn spend(&mut self, took: Duration, now: Instant) {
        let took = took.min(LONGEST_HOLD).as_secs_f64();
        // Time that came in during the publish is not cut off before it is spent. So a share of 100 % is no bound.
        self.fill(now, CAPACITY.as_secs_f64() + self.share * took);
        self.left -= took;
    }

    fn fill(&mut self, now: Instant, most: f64) {
        let passed = now.saturating_duration_since(self.at);
        self.left = (self.left + self.share * passed.as_secs_f64()).min(most);
        self.at = self.at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spends as often as allowed for a minute, and returns the share of the minute that was spent.
    fn spent_in_a_minute(percent: u8, each: Duration) -> f64 {
        let start = Instant::now();
        let mut budget = Budget::new(percent, start);
        let (mut now, mut spent) = (start, Duration::ZERO);
        while now < start + Duration::from_secs(60) {
            if budget.has_some(now) {
                now += each;
                spent += each;
                budget.spend(each, now);
            }
            now += Duration::from_millis(10);
        }
        spent.as_secs_f64() / 60.0
    }

    #[test]
    fn an_empty_bucket_allows_nothing() {
        let now = Instant::now();
        let mut budget = Budget::new(2, now);
        assert!(budget.has_some(now));
        budget.spend(CAPACITY, now);
        assert!(!budget.has_some(now));
        assert!(budget.has_some(now + Duration::from_millis(1)));
    }

    #[test]
    fn the_share_is_kept_however_long_a_publish_takes() {
        for each in [5, 50, 300, 1000].map(Duration::from_millis) {
            let share = spent_in_a_minute(2, each);
            assert!((0.015..0.05).contains(&share), "{share} with {each:?} each");
        }
        assert!(spent_in_a_minute(100, Duration::from_millis(300)) > 0.9, "100 percent is no bound");
    }

    #[test]
    fn a_publish_that_was_frozen_counts_as_the_longest_one() {
        let start = Instant::now();
        let mut budget = Budget::new(2, start);
        let thawed = start + Duration::from_secs(3600);
        budget.spend(Duration::from_secs(3600), thawed);
        assert!(!budget.has_some(thawed + Duration::from_secs(36)));
        assert!(budget.has_some(thawed + Duration::from_secs(38)));
    }

    #[test]
    fn a_publish_that_was_told_late_leaves_no_more_than_a_full_bucket() {
        let start = Instant::now();
        let mut budget = Budget::new(2, start);
        let thawed = start + Duration::from_secs(3600);
        budget.spend(Duration::from_millis(5), thawed);
        budget.spend(CAPACITY - Duration::from_millis(4), thawed);
        assert!(!budget.has_some(thawed));
    }
}
