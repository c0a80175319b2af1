//! Reads the function's settings from environment variables.

use env_settings::{EnvReader, SettingsError};
use prometheus_dynamodb::WriterSettings;
use secrets::Source;
use sigil::encode::Lifetimes;
use sigil::keys::SigningKeys;

/// The function's settings.
#[derive(Debug)]
pub struct Settings {
    /// `SIGILS_TABLE`: name of the table of sigils.
    pub sigils_table: String,
    /// `SIGNING_KEYS` or `SIGNING_KEYS_SECRET_ARN`: the keys, or the secret that holds them.
    pub keys: Source<SigningKeys>,
    /// `SIGIL_MAX_TTL_SECONDS` and `SIGIL_RETENTION_SECONDS`: the longest life of sigils, and the retention of their
    /// records after it.
    pub lifetimes: Lifetimes,
    /// `STATS_…`: the settings of publishing metrics.
    pub stats: WriterSettings,
}

impl Settings {
    /// Reads the settings from the process's environment, or reports every fault at once.
    pub fn read(mut env: EnvReader) -> Result<Self, SettingsError> {
        let sigils_table = sigil::settings::table(&mut env);
        let keys = sigil::settings::signing_keys(&mut env);
        let lifetimes = sigil::settings::lifetimes(&mut env);
        let stats = function_runtime::settings::writer(&mut env);
        env.finish(|| Some(Self { sigils_table: sigils_table?, keys: keys?, lifetimes: lifetimes?, stats: stats? }))
    }
}
