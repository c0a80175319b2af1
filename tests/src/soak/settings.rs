//! Settings of the soak: its duration and its seed.

use std::time::Duration;

use env_settings::{EnvReader, SettingsError, parse};

const RANGE: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(24 * 60 * 60);

/// The size of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// `SOAK_DURATION`: time within which new rounds of troubles begin.
    pub duration: Duration,
    /// `SOAK_SEED`: decides what clients ask for, and in which order troubles come. The same seed has the same effect,
    /// as far as the machine's timing allows.
    pub seed: u64,
}

impl Settings {
    /// One round, short enough for a test.
    pub const SHORT: Self = Self { duration: Duration::from_secs(1), seed: 0 };

    /// Ten minutes.
    pub const LONG: Self = Self { duration: Duration::from_secs(600), ..Self::SHORT };

    /// Longest time that the last round and the audit after it take on a busy machine.
    pub const OVERTIME: Duration = Duration::from_secs(300);

    /// Reads the process's environment. Missing values are taken from `defaults`.
    pub fn from_env(defaults: Self) -> Result<Self, SettingsError> {
        Self::read(EnvReader::from_process(), defaults)
    }

    fn read(mut env: EnvReader, defaults: Self) -> Result<Self, SettingsError> {
        let duration = env.with_default("SOAK_DURATION", defaults.duration, parse::duration(RANGE));
        let seed = env.with_default("SOAK_SEED", defaults.seed, parse::in_range(0..=u64::MAX));
        env.finish(|| Some(Self { duration: duration?, seed: seed? }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_named_at_once() {
        let wrong = [("SOAK_DURATION", "25h"), ("SOAK_SEED", "-1")];
        let error = Settings::read(EnvReader::from_pairs(wrong), Settings::LONG).unwrap_err();
        let names: Vec<_> = error.faults().iter().map(|fault| fault.name()).collect();
        assert_eq!(names, ["SOAK_DURATION", "SOAK_SEED"]);
    }
}
