//! Reads the function's settings from environment variables.

use env_settings::{EnvReader, SettingsError};
use prometheus_dynamodb::WriterSettings;
use secrets::Source;
use sigil::keys::VerifyingKeys;

/// The function's settings.
#[derive(Debug)]
pub struct Settings {
    /// `SIGILS_TABLE`: name of the table of sigils.
    pub sigils_table: String,
    /// `SIGNING_KEYS` or `SIGNING_KEYS_SECRET_ARN`: the keys, of which only the public parts are kept.
    pub keys: Source<VerifyingKeys>,
    /// `STATS_…`: the settings of publishing metrics.
    pub stats: WriterSettings,
}

impl Settings {
    /// Reads the settings from the process's environment, or reports every fault at once.
    pub fn read(mut env: EnvReader) -> Result<Self, SettingsError> {
        let sigils_table = sigil::settings::table(&mut env);
        let keys = sigil::settings::verifying_keys(&mut env);
        let stats = function_runtime::settings::writer(&mut env);
        env.finish(|| Some(Self { sigils_table: sigils_table?, keys: keys?, stats: stats? }))
    }
}
