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
    /// `OBSERVE`: whether Prometheus runs beside it, with the dashboards' pages. 0 by default.
    pub observe: bool,
    /// `PROMETHEUS_PORT`: where Prometheus is if it runs. 9090 by default.
    pub prometheus_port: u16,
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
        let observe = env.with_default("OBSERVE", 0, parse::in_range(0..=1));
        let prometheus_port = env.with_default("PROMETHEUS_PORT", 9090, parse::in_range(1..=u16::MAX));
        if port.is_some() && port == dynamodb_port {
            env.refuse("DYNAMODB_PORT", "another port than PORT is needed");
        }
        if prometheus_port.is_some() && [port, dynamodb_port].contains(&prometheus_port) {
            env.refuse("PROMETHEUS_PORT", "another port than PORT and DYNAMODB_PORT is needed");
        }
        env.finish(|| {
            Some(Self {
                port: port?,
                dynamodb_port: dynamodb_port?,
                metrics_token: metrics_token?.unwrap_or_else(|| DEFAULT_METRICS_TOKEN.to_owned()),
                concurrency: concurrency?,
                persist: persist? == 1,
                observe: observe? == 1,
                prometheus_port: prometheus_port?,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_named_at_once() {
        let wrong = [
            ("PORT", "http"),
            ("DYNAMODB_PORT", "70000"),
            ("CONCURRENCY", "0"),
            ("PERSIST", "yes"),
            ("OBSERVE", "2"),
            ("PROMETHEUS_PORT", "0"),
        ];
        let error = Settings::read(EnvReader::from_pairs(wrong)).unwrap_err();
        let names: Vec<_> = error.faults().iter().map(|fault| fault.name()).collect();
        assert_eq!(names, ["PORT", "DYNAMODB_PORT", "CONCURRENCY", "PERSIST", "OBSERVE", "PROMETHEUS_PORT"]);
    }

    #[test]
    fn two_servers_cannot_share_a_port() {
        for (port, refused) in [("8000", "DYNAMODB_PORT"), ("9090", "PROMETHEUS_PORT")] {
            let error = Settings::read(EnvReader::from_pairs([("PORT", port)])).unwrap_err();
            assert_eq!(error.faults()[0].name(), refused);
        }
    }
}
