//! Reads the function's settings from environment variables.

use env_settings::{EnvReader, SettingsError};
use prometheus_dynamodb::{TableSettings, WriterSettings};

/// The function's settings.
#[derive(Debug)]
pub(crate) struct Settings {
    /// `SIGILS_TABLE`: name of the table of sigils.
    pub sigils_table: String,
    /// `STATS_…`: the settings of compacting the stats table.
    pub stats_table: TableSettings,
    /// `STATS_…`: the settings of publishing this function's own metrics.
    pub stats: WriterSettings,
}

impl Settings {
    /// Reads the settings from the process's environment, or reports every fault at once.
    pub(crate) fn read(mut env: EnvReader) -> Result<Self, SettingsError> {
        let sigils_table = sigil::settings::table(&mut env);
        let stats_table = function_runtime::settings::table(&mut env);
        let stats = function_runtime::settings::writer(&mut env);
        env.finish(|| Some(Self { sigils_table: sigils_table?, stats_table: stats_table?, stats: stats? }))
    }
}
