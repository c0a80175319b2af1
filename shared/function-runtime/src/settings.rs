//! Reads the settings of the stats table together with those of a function.

use env_settings::EnvReader;
use prometheus_dynamodb::{SettingsError, TableSettings, WriterSettings};

/// Reads the settings of publishing. `None` means that faults were recorded.
pub fn writer(env: &mut EnvReader) -> Option<WriterSettings> {
    env.delegate(|variable| WriterSettings::from_variables(variable).map_err(told))
}

/// Reads the settings of scraping and compacting. `None` means that faults were recorded.
pub fn table(env: &mut EnvReader) -> Option<TableSettings> {
    env.delegate(|variable| TableSettings::from_variables(variable).map_err(told))
}

fn told(error: SettingsError) -> Vec<(&'static str, String)> {
    error.faults().iter().map(|fault| (fault.variable(), fault.problem().to_owned())).collect()
}
