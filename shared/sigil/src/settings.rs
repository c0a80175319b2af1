//! Reads the settings of sigils from environment variables. Each function reads only the settings that it needs.

use env_settings::{EnvReader, parse};
use secrets::Source;
use secrets::source::Parse;

use crate::encode::Lifetimes;
use crate::keys::{SigningKeys, VerifyingKeys};

const DAY_SECONDS: u64 = 24 * 60 * 60;
const CENTURY_SECONDS: u64 = 36_525 * DAY_SECONDS;

/// Reads `SIGILS_TABLE`, the name of the table of sigils.
pub fn table(env: &mut EnvReader) -> Option<String> {
    env.required("SIGILS_TABLE", parse::non_empty)
}

/// Reads `SIGNING_KEYS` or `SIGNING_KEYS_SECRET_ARN`, in a format of [`crate::keys`]. The active key must have its
/// private part.
pub fn signing_keys(env: &mut EnvReader) -> Option<Source<SigningKeys>> {
    keys(env, SigningKeys::parse_setting)
}

/// Reads `SIGNING_KEYS` or `SIGNING_KEYS_SECRET_ARN`, in a format of [`crate::keys`]. The public parts are enough.
pub fn verifying_keys(env: &mut EnvReader) -> Option<Source<VerifyingKeys>> {
    keys(env, VerifyingKeys::parse_setting)
}

fn keys<K>(env: &mut EnvReader, parse: Parse<K>) -> Option<Source<K>> {
    secrets::source::required(env, "SIGNING_KEYS", "SIGNING_KEYS_SECRET_ARN", parse)
}

/// Reads `SIGIL_MAX_TTL_SECONDS`, a year by default, and `SIGIL_RETENTION_SECONDS`, a week by default.
pub fn lifetimes(env: &mut EnvReader) -> Option<Lifetimes> {
    let max_ttl = env.with_default("SIGIL_MAX_TTL_SECONDS", 365 * DAY_SECONDS, parse::in_range(1..=CENTURY_SECONDS));
    let retention = env.with_default("SIGIL_RETENTION_SECONDS", 7 * DAY_SECONDS, parse::in_range(0..=CENTURY_SECONDS));
    Some(Lifetimes { max_ttl_seconds: max_ttl?, retention_seconds: retention? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sigil_lives_for_a_year_and_its_record_for_a_week_more_by_default() {
        let lifetimes = lifetimes(&mut EnvReader::from_pairs::<&str, &str>([])).unwrap();
        assert_eq!((lifetimes.max_ttl_seconds, lifetimes.retention_seconds), (31_536_000, 604_800));
    }
}
