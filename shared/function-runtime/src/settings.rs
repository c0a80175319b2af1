//! The settings of the stats table, read among those of a function.

use env_settings::EnvReader;
use prometheus_dynamodb::{SettingsError, TableSettings, WriterSettings};

/// Reads what publishing needs. `None` means that faults were noted.
pub fn writer(env: &mut EnvReader) -> Option<WriterSettings> {
    env.delegate(|variable| WriterSettings::from_variables(variable).map_err(told))
}

/// Reads what scraping and compacting need. `None` means that faults were noted.
pub fn table(env: &mut EnvReader) -> Option<TableSettings> {
    env.delegate(|variable| TableSettings::from_variables(variable).map_err(told))
}

fn told(error: SettingsError) -> Vec<(&'static str, String)> {
    error.faults().iter().map(|fault| (fault.variable(), fault.problem().to_owned())).collect()
}
