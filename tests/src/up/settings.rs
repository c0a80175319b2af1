//! Reads the settings of `make up`.

use env_settings::{EnvReader, SettingsError, parse};

use crate::kit::variables::DEFAULT_METRICS_TOKEN;

/// The settings of a local bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `PORT`: port of the routes. 9000 by default.
    pub port: u16,
    /// `INDEX_PORT`: port of the page that links everything. By default the one after `PORT`.
    pub index_port: u16,
    /// `DYNAMODB_PORT`: port of DynamoDB Local. 8000 by default.
    pub dynamodb_port: u16,
    /// `METRICS_TOKEN`: token that a scrape must present.
    pub metrics_token: String,
    /// `CONCURRENCY`: largest number of processes that each function may have. 1 by default.
    pub concurrency: u16,
    /// `PERSIST`: set if data and keys survive a restart. 0 by default.
    pub persist: bool,
    /// `OBSERVE`: set if Prometheus runs beside the bundle, with the dashboards' pages. 0 by default.
    pub observe: bool,
    /// `PROMETHEUS_PORT`: port of Prometheus if it runs. 9090 by default.
    pub prometheus_port: u16,
}

impl Settings {
    /// Reads the process's environment.
    pub fn from_env() -> Result<Self, SettingsError> {
        Self::read(EnvReader::from_process())
    }

    fn read(mut env: EnvReader) -> Result<Self, SettingsError> {
        let port = env.with_default("PORT", 9000, parse::in_range(1..=u16::MAX));
        let after_port = port.map_or(0, |port| port.checked_add(1).unwrap_or(port - 1));
        let index_port = env.with_default("INDEX_PORT", after_port, parse::in_range(1..=u16::MAX));
        let dynamodb_port = env.with_default("DYNAMODB_PORT", 8000, parse::in_range(1..=u16::MAX));
        let metrics_token = env.optional_secret("METRICS_TOKEN", token);
        let concurrency = env.with_default("CONCURRENCY", 1, parse::in_range(1..=16));
        let persist = env.with_default("PERSIST", 0, parse::in_range(0..=1));
        let observe = env.with_default("OBSERVE", 0, parse::in_range(0..=1));
        let prometheus_port = env.with_default("PROMETHEUS_PORT", 9090, parse::in_range(1..=u16::MAX));

        let mut chosen = vec![("PORT", port), ("INDEX_PORT", index_port), ("DYNAMODB_PORT", dynamodb_port)];
        if observe == Some(1) {
            chosen.push(("PROMETHEUS_PORT", prometheus_port));
        }
        for (index, (variable, port)) in chosen.iter().enumerate() {
            if let Some((first, port)) = chosen[..index].iter().find(|(_, other)| other == port && other.is_some()) {
                let port = port.expect("there is one");
                env.refuse(variable, format!("must differ from {first}, which is {port} too"));
            }
        }
        env.finish(|| {
            Some(Self {
                port: port?,
                index_port: index_port?,
                dynamodb_port: dynamodb_port?,
                metrics_token: metrics_token?.unwrap_or_else(|| DEFAULT_METRICS_TOKEN.to_owned()),
                concurrency: concurrency?,
                persist: persist? == 1,
                observe: observe? == 1,
                prometheus_port: prometheus_port?,
            })
        })
    }

    /// Returns the ports that the bundle will listen on, with their variables.
    pub fn ports(&self) -> Vec<(&'static str, u16)> {
        let observed = self.observe.then_some(("PROMETHEUS_PORT", self.prometheus_port));
        [("PORT", self.port), ("INDEX_PORT", self.index_port), ("DYNAMODB_PORT", self.dynamodb_port)]
            .into_iter()
            .chain(observed)
            .collect()
    }
}

/// Accepts exactly the tokens that the metrics function accepts; with any other it would end at its start.
fn token(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~+/=".contains(c);
    if text.chars().all(allowed) {
        Ok(text.to_owned())
    } else {
        Err("only the characters A-Z a-z 0-9 - . _ ~ + / = are allowed (RFC 6750)".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_named_at_once() {
        let wrong = [
            ("PORT", "http"),
            ("INDEX_PORT", "-1"),
            ("DYNAMODB_PORT", "70000"),
            ("METRICS_TOKEN", "two words"),
            ("CONCURRENCY", "0"),
            ("PERSIST", "yes"),
            ("OBSERVE", "2"),
            ("PROMETHEUS_PORT", "0"),
        ];
        let error = Settings::read(EnvReader::from_pairs(wrong)).unwrap_err();
        let names: Vec<_> = error.faults().iter().map(|fault| fault.name()).collect();
        assert_eq!(names, wrong.map(|(name, _)| name));
    }

    #[test]
    fn two_servers_cannot_share_a_port() {
        for (pairs, said) in [
            (vec![("PORT", "8000")], "DYNAMODB_PORT is not set: must differ from PORT, which is 8000 too"),
            (vec![("PORT", "7999")], "DYNAMODB_PORT is not set: must differ from INDEX_PORT, which is 8000 too"),
            (vec![("INDEX_PORT", "9000")], "INDEX_PORT is \"9000\": must differ from PORT, which is 9000 too"),
            (
                vec![("PORT", "9090"), ("OBSERVE", "1")],
                "PROMETHEUS_PORT is not set: must differ from PORT, which is 9090 too",
            ),
        ] {
            let error = Settings::read(EnvReader::from_pairs(pairs)).unwrap_err();
            assert_eq!(error.to_string(), format!("a setting is wrong: {said}"));
        }
    }

    #[test]
    fn a_server_that_is_not_started_needs_no_port() {
        assert!(Settings::read(EnvReader::from_pairs([("PORT", "9090")])).is_ok());
    }

    #[test]
    fn the_last_port_has_one_beside_it() {
        assert_eq!(Settings::read(EnvReader::from_pairs([("PORT", "65535")])).unwrap().index_port, 65534);
    }
}
