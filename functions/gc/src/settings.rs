//! What the environment says.

use env_settings::{EnvReader, SettingsError};
use prometheus_dynamodb::{TableSettings, WriterSettings};

/// The function's settings.
#[derive(Debug)]
pub struct Settings {
    /// `SIGILS_TABLE`.
    pub sigils_table: String,
    /// `STATS_…`, as far as the whole table is concerned.
    pub stats_table: TableSettings,
    /// `STATS_…`, as far as this function's own metrics are.
    pub stats: WriterSettings,
}

impl Settings {
    /// Reads them, and reports every fault.
    pub fn read(mut env: EnvReader) -> Result<Self, SettingsError> {
        let sigils_table = sigil::settings::table(&mut env);
        let stats_table = function_kit::settings::table(&mut env);
        let stats = function_kit::settings::writer(&mut env);
        env.finish(|| Some(Self { sigils_table: sigils_table?, stats_table: stats_table?, stats: stats? }))
    }
}
