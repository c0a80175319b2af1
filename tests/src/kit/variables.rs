//! Holds the functions' settings as environment variables.

use std::collections::BTreeMap;
use std::process::Command;

use crate::kit::{credentials, tables};

/// Default token for scrapes. It guards only a loopback port, so it may be public.
pub const DEFAULT_METRICS_TOKEN: &str = "local-metrics-token";

/// Variables that the functions read at their start.
#[derive(Debug, Clone)]
pub struct FunctionVariables {
    variables: BTreeMap<String, String>,
}

impl FunctionVariables {
    /// Returns all variables that must be set, for a DynamoDB at `dynamodb_url`.
    pub fn new(dynamodb_url: &str, signing_keys: &str, metrics_token: &str) -> Self {
        let variables = [
            ("SIGILS_TABLE", tables::SIGILS),
            ("STATS_TABLE", tables::STATS),
            ("SIGNING_KEYS", signing_keys),
            ("METRICS_TOKEN", metrics_token),
            ("AWS_ENDPOINT_URL_DYNAMODB", dynamodb_url),
            ("AWS_REGION", credentials::REGION),
            ("AWS_ACCESS_KEY_ID", credentials::ACCESS_KEY_ID),
            ("AWS_SECRET_ACCESS_KEY", credentials::SECRET_ACCESS_KEY),
        ];
        Self { variables: variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect() }
    }

    /// Returns these variables, and those that the SDK needs to reach stand-ins of the services at these URLs.
    pub fn of(variables: BTreeMap<String, String>, dynamodb_url: &str, secrets_manager_url: &str) -> Self {
        let mut this = Self { variables };
        this.set("AWS_ENDPOINT_URL_DYNAMODB", dynamodb_url);
        this.set("AWS_ENDPOINT_URL_SECRETS_MANAGER", secrets_manager_url);
        this.set("AWS_REGION", credentials::REGION);
        this.set("AWS_ACCESS_KEY_ID", credentials::ACCESS_KEY_ID);
        this.set("AWS_SECRET_ACCESS_KEY", credentials::SECRET_ACCESS_KEY);
        this
    }

    /// Adds a variable, or changes its value.
    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.insert(name.to_owned(), value.to_owned());
    }

    /// Sets a variable unless it is set already.
    pub fn set_default(&mut self, name: &str, value: &str) {
        self.variables.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    }

    /// Removes a variable.
    pub fn remove(&mut self, name: &str) {
        self.variables.remove(name);
    }

    /// Puts the variables into a command's environment, and removes inherited ones that the functions would read.
    pub fn apply(&self, command: &mut Command) {
        clear(command);
        command.envs(&self.variables);
    }
}

/// Removes from a command's environment everything that the functions would read as their settings.
pub fn clear(command: &mut Command) {
    const PREFIXES: [&str; 6] = ["AWS_", "METRICS_", "SIGIL_", "SIGILS_", "SIGNING_", "STATS_"];
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| PREFIXES.iter().any(|prefix| name.starts_with(prefix))) {
            command.env_remove(&name);
        }
    }
}
