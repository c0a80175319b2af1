//! What `make up` can be told.

use env_settings::{EnvReader, SettingsError, parse};

/// The token that scrapes are asked for where none is chosen. It guards nothing but a loopback port, so it may be known.
pub const DEFAULT_METRICS_TOKEN: &str = "local-metrics-token";

/// The settings of the bundle on a desk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `PORT`: where the routes are. 9000 by default.
    pub port: u16,
    /// `DYNAMODB_PORT`: where DynamoDB Local is. 8000 by default.
    pub dynamodb_port: u16,
    /// `METRICS_TOKEN`: what a scrape must present.
    pub metrics_token: String,
    /// `CONCURRENCY`: the most processes that each function may have. 1 by default.
    pub concurrency: u16,
    /// `PERSIST`: whether data and keys survive a restart. 0 by default.
    pub persist: bool,
}

impl Settings {
    /// Reads the process's environment.
    pub fn from_env() -> Result<Self, SettingsError> {
        Self::read(EnvReader::from_process())
    }

    fn read(mut env: EnvReader) -> Result<Self, SettingsError> {
        let port = env.with_default("PORT", 9000, parse::in_range(1..=u16::MAX));
        let dynamodb_port = env.with_default("DYNAMODB_PORT", 8000, parse::in_range(1..=u16::MAX));
        let metrics_token = env.optional_secret("METRICS_TOKEN", parse::non_empty);
        let concurrency = env.with_default("CONCURRENCY", 1, parse::in_range(1..=16));
        let persist = env.with_default("PERSIST", 0, parse::in_range(0..=1));
        if port.is_some() && port == dynamodb_port {
            env.refuse("DYNAMODB_PORT", "another port than PORT is needed");
        }
        env.finish(|| {
            Some(Self {
                port: port?,
                dynamodb_port: dynamodb_port?,
                metrics_token: metrics_token?.unwrap_or_else(|| DEFAULT_METRICS_TOKEN.to_owned()),
                concurrency: concurrency?,
                persist: persist? == 1,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_named_at_once() {
        let wrong = [("PORT", "http"), ("DYNAMODB_PORT", "70000"), ("CONCURRENCY", "0"), ("PERSIST", "yes")];
        let error = Settings::read(EnvReader::from_pairs(wrong)).unwrap_err();
        let names: Vec<_> = error.faults().iter().map(|fault| fault.name()).collect();
        assert_eq!(names, ["PORT", "DYNAMODB_PORT", "CONCURRENCY", "PERSIST"]);
    }

    #[test]
    fn two_servers_cannot_share_a_port() {
        let error = Settings::read(EnvReader::from_pairs([("PORT", "8000")])).unwrap_err();
        assert_eq!(error.faults()[0].name(), "DYNAMODB_PORT");
    }
}
