//! Defines a due time that a freeze cannot delay.
//!
//! Between requests Lambda freezes an environment, and with SnapStart it keeps an image of one for days. Whether the
//! monotonic clock runs on meanwhile is not documented. The system's clock is right again afterwards, but may be set
//! back. So a time has come once either clock says so.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// A due time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DueTime {
    monotonic: Instant,
    system: SystemTime,
}

impl DueTime {
    /// Returns the time that comes after `delay`.
    pub(crate) fn after(delay: Duration) -> Self {
        Self { monotonic: Instant::now() + delay, system: SystemTime::now() + delay }
    }

    /// Returns whether the time has come.
    pub(crate) fn has_come(self) -> bool {
        Instant::now() >= self.monotonic || SystemTime::now() >= self.system
    }

    /// Returns what this time is after a freeze during which the monotonic clock stood still.
    #[cfg(test)]
    pub(crate) fn after_freeze(self, length: Duration) -> Self {
        Self { system: self.system - length, ..self }
    }
}
