//! Settings of the fleet: its size and its seed.

use std::time::Duration;

use env_settings::{EnvReader, SettingsError, parse};

/// The size of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// `FLEET_REQUESTS`: smallest number of requests that clients send.
    pub requests: u32,
    /// `FLEET_ENVIRONMENTS`: number of environments that are born to answer them.
    pub environments: u32,
    /// `FLEET_SEED`: decides what happens to which environment, how often environments publish, and on how many shards.
    /// The same seed has the same effect, as far as the machine's timing allows.
    pub seed: u64,
    /// Set if snapshots are put without their condition: such a run must fail.
    pub blind_puts: bool,
}

impl Settings {
    /// A run that fits into a test.
    pub const SHORT: Self = Self { requests: 2000, environments: 40, seed: 0, blind_puts: false };
    /// A run that takes minutes.
    pub const LONG: Self = Self { requests: 20_000, environments: 200, ..Self::SHORT };

    /// Silence after which a writer may be compacted.
    pub const WRITER_IDLE: Duration = Duration::from_secs(2);
    /// Time for which burial and forgetting wait. It must outlast every put, and so exceed
    /// [`SIGNATURE_VALIDITY`](Self::SIGNATURE_VALIDITY) by more than the database takes for a put. In AWS it is 35
    /// minutes, since a copy of a put can be accepted for 30. Here no clock is ahead, so there are 2 seconds of
    /// reserve.
    pub const GRACE: Duration = Duration::from_secs(5);
    /// Time for which a signed request is accepted. See [`crate::kit::fault_proxy::Options::signature_validity`].
    pub const SIGNATURE_VALIDITY: Duration = Duration::from_secs(3);
    /// Number of environments at a time, without those that collect garbage and are scraped.
    pub const AT_ONCE: u32 = 20;
    /// Calls to DynamoDB that meet a fault, of a thousand.
    pub const FAULTS_PER_MILLE: u16 = 80;

    /// Returns `STATS_PUBLISH_INTERVAL`, which the seed chooses: environments either publish after every response, or
    /// use a token bucket and its timer.
    pub fn publish_interval(&self) -> Duration {
        if self.publishes_every_response() { Duration::ZERO } else { Duration::from_millis(100) }
    }

    /// Returns `true` if a publish follows each response. The timer then publishes only after a publish that failed.
    pub fn publishes_every_response(&self) -> bool {
        self.seed.is_multiple_of(2)
    }

    /// Returns `STATS_SHARDS`, which the seed chooses.
    pub fn shards(&self) -> u64 {
        1 + self.seed % 4
    }

    /// Reads the process's environment. Missing values are taken from `defaults`, except for the seed, which is then
    /// random.
    pub fn from_env(defaults: Self) -> Result<Self, SettingsError> {
        Self::read(EnvReader::from_process(), defaults)
    }

    fn read(mut env: EnvReader, defaults: Self) -> Result<Self, SettingsError> {
        let environments =
            env.with_default("FLEET_ENVIRONMENTS", defaults.environments, parse::in_range(Self::AT_ONCE..=10_000));
        let requests = env.with_default("FLEET_REQUESTS", defaults.requests, parse::in_range(1..=10_000_000));
        let seed = env.with_default("FLEET_SEED", fastrand::u64(..1_000_000), parse::in_range(0..=u64::MAX));
        if let (Some(environments), Some(requests)) = (environments, requests)
            && requests < environments.saturating_mul(4)
        {
            env.refuse("FLEET_REQUESTS", "four requests for each of FLEET_ENVIRONMENTS are needed");
        }
        env.finish(|| Some(Self { requests: requests?, environments: environments?, seed: seed?, ..defaults }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_named_at_once() {
        let wrong = [("FLEET_REQUESTS", "many"), ("FLEET_ENVIRONMENTS", "19"), ("FLEET_SEED", "-1")];
        let error = Settings::read(EnvReader::from_pairs(wrong), Settings::SHORT).unwrap_err();
        let names: Vec<_> = error.faults().iter().map(|fault| fault.name()).collect();
        assert_eq!(names, ["FLEET_ENVIRONMENTS", "FLEET_REQUESTS", "FLEET_SEED"]);
    }

    #[test]
    fn each_environment_needs_requests() {
        let few = [("FLEET_REQUESTS", "100"), ("FLEET_ENVIRONMENTS", "40")];
        let error = Settings::read(EnvReader::from_pairs(few), Settings::SHORT).unwrap_err();
        assert_eq!(error.faults()[0].name(), "FLEET_REQUESTS");
    }
}
