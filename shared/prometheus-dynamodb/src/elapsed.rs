//! A clock that a freeze cannot stop.
//!
//! Between requests Lambda freezes an environment. Whether the monotonic clock runs on meanwhile is not documented; the
//! system's clock is right again after the freeze. An environment that is invoked once a minute must not look as if it were
//! invoked without a pause.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// Largest difference between the clocks that is not taken for a freeze. It covers corrections of the system's clock, and
/// the time between reading both clocks.
const SLACK: Duration = Duration::from_millis(500);

/// A clock that follows the monotonic clock, or the system's clock where that has gone further.
#[derive(Debug)]
pub(crate) struct ElapsedClock {
    now: Instant,
    monotonic: Instant,
    system: SystemTime,
}

impl ElapsedClock {
    /// Creates a clock that starts now.
    pub(crate) fn new() -> Self {
        let monotonic = Instant::now();
        Self { now: monotonic, monotonic, system: SystemTime::now() }
    }

    /// Returns the present time. It never goes back. A jump of the system's clock forward looks like a freeze.
    pub(crate) fn now(&mut self) -> Instant {
        self.at(Instant::now(), SystemTime::now())
    }

    fn at(&mut self, monotonic: Instant, system: SystemTime) -> Instant {
        let passed = monotonic.saturating_duration_since(self.monotonic);
        let by_system = system.duration_since(self.system).unwrap_or_default();
        self.now += if by_system > passed + SLACK { by_system } else { passed };
        (self.monotonic, self.system) = (monotonic, system);
        self.now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freeze_passes_whether_or_not_the_monotonic_clock_runs_on() {
        let second = Duration::from_secs(1);
        for (monotonic, system, passed) in [
            (second, second, second),
            (second * 600, second * 600, second * 600),
            (Duration::ZERO, second * 600, second * 600),
            (second, Duration::ZERO, second),
        ] {
            let mut clock = ElapsedClock::new();
            let start = clock.now;
            assert_eq!(clock.at(clock.monotonic + monotonic, clock.system + system), start + passed);
        }
        let mut clock = ElapsedClock::new();
        let (start, set_back) = (clock.now, clock.system - second * 3600);
        assert_eq!(clock.at(clock.monotonic + second, set_back), start + second);
        assert_eq!(clock.at(clock.monotonic + second, set_back + second), start + second * 2);
    }
}
