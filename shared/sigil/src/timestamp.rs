//! Points in time, to the second.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Serialize, Serializer};

/// Whole seconds since the epoch, as in a JWT's `NumericDate` (RFC 7519, section 2) and in DynamoDB's TTL attribute.
/// Displayed and serialized as RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// Latest time that RFC 3339 can express: the end of the year 9999.
    pub const MAX: Self = Self(253_402_300_799);

    /// Returns the present time by the environment's clock.
    pub fn now() -> Self {
        Self(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
    }

    /// Creates a time from seconds since the epoch. Returns `None` beyond [`MAX`](Self::MAX).
    pub fn from_seconds(seconds: u64) -> Option<Self> {
        Some(Self(seconds)).filter(|this| *this <= Self::MAX)
    }

    /// Returns the seconds since the epoch.
    pub fn seconds(self) -> u64 {
        self.0
    }

    /// Returns the time `seconds` later, but at most [`MAX`](Self::MAX).
    #[must_use]
    pub fn after(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds)).min(Self::MAX)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(self.0)).fmt(f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_as_rfc_3339() {
        assert_eq!(Timestamp(0).to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(Timestamp::MAX.to_string(), "9999-12-31T23:59:59Z");
        assert_eq!(Timestamp(5).after(u64::MAX), Timestamp::MAX);
    }
}
