//! Decides how often a failure that repeats itself is logged.
//!
//! A hot environment whose table is gone fails many times an hour, and there may be a thousand such environments. The log
//! names each cause when it first comes, and rarely after that.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// Times for which a cause is not named again after it was named: the first, the second, and every further time.
const SILENCES: [Duration; 3] = [Duration::from_mins(1), Duration::from_mins(10), Duration::from_hours(1)];

/// Maximum number of causes that are told apart. All further causes count as one.
const MOST_CAUSES: usize = 16;

/// A filter that decides which failures are logged.
#[derive(Debug, Default)]
pub(super) struct FailureLog {
    causes: BTreeMap<String, Cause>,
    /// `true` if a failure was logged and nothing has succeeded since.
    failing: bool,
}

#[derive(Debug)]
struct Cause {
    named: usize,
    silent_until: Instant,
    last: Instant,
    unnamed: u64,
}

impl FailureLog {
    /// Notes a failure for this cause. If that is to be logged, returns the number of failures for this
    /// cause since it was last logged, this one included.
    pub(super) fn failed(&mut self, cause: &str, now: Instant) -> Option<u64> {
        // A cause that has not come back for as long as the longest silence is new again.
        self.causes.retain(|_, cause| now.saturating_duration_since(cause.last) <= SILENCES[SILENCES.len() - 1]);
        let known = self.causes.contains_key(cause) || self.causes.len() < MOST_CAUSES;
        let key = if known { cause } else { "other" };
        let cause =
            self.causes.entry(key.to_owned()).or_insert(Cause { named: 0, silent_until: now, last: now, unnamed: 0 });
        cause.last = now;
        cause.unnamed += 1;
        if now < cause.silent_until {
            return None;
        }
        cause.silent_until = now + SILENCES[cause.named.min(SILENCES.len() - 1)];
        cause.named += 1;
        self.failing = true;
        Some(std::mem::take(&mut cause.unnamed))
    }

    /// Notes a success. Returns whether that is to be logged.
    pub(super) fn succeeded(&mut self) -> bool {
        std::mem::take(&mut self.failing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_named_at_once_and_then_after_1_10_and_60_minutes() {
        let (mut log, start) = (FailureLog::default(), Instant::now());
        let second = |second: u64| start + Duration::from_secs(second);
        let named: Vec<_> =
            (0..4 * 3600).filter_map(|at| Some((at, log.failed("no such table", second(at))?))).collect();
        assert_eq!(named, [(0, 1), (60, 60), (660, 600), (4260, 3600), (7860, 3600), (11460, 3600)]);
        assert_eq!(log.failed("access denied", second(14400)), Some(1), "another cause");
        assert_eq!(log.failed("no such table", second(14400)), None, "and back");
        assert_eq!(log.failed("access denied", second(14401)), None);
        assert_eq!(log.failed("no such table", second(14400 + 3601)), Some(1), "it was quiet for an hour");
    }

    #[test]
    fn an_end_is_logged_once_also_if_failures_come_and_go() {
        let (mut log, now) = (FailureLog::default(), Instant::now());
        assert!(!log.succeeded());
        assert!(log.failed("throttled", now).is_some());
        assert!(log.succeeded());
        assert!(log.failed("throttled", now).is_none());
        assert!(!log.succeeded());
    }

    #[test]
    fn causes_without_end_are_not_told_apart_for_ever() {
        let (mut log, now) = (FailureLog::default(), Instant::now());
        let named = (0..1000).filter(|cause| log.failed(&cause.to_string(), now).is_some()).count();
        assert_eq!(named, MOST_CAUSES + 1);
    }
}
