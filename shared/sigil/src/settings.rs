//! What the environment says about sigils. Each function reads what it needs.

use env_settings::{EnvReader, parse};

use crate::encode::Lifetimes;
use crate::keys::{SigningKeys, VerifyingKeys};

const DAY_SECONDS: u64 = 24 * 60 * 60;
const CENTURY_SECONDS: u64 = 36_525 * DAY_SECONDS;

/// `SIGILS_TABLE`: the name of the table of sigils.
pub fn table(env: &mut EnvReader) -> Option<String> {
    env.required("SIGILS_TABLE", parse::non_empty)
}

/// `SIGNING_KEYS`: see [`crate::keys`]; the first key must have its private part.
pub fn signing_keys(env: &mut EnvReader) -> Option<SigningKeys> {
    env.required_secret("SIGNING_KEYS", |text| SigningKeys::parse(text).map_err(|error| error.to_string()))
}

/// `SIGNING_KEYS`: see [`crate::keys`]; the public parts are enough.
pub fn verifying_keys(env: &mut EnvReader) -> Option<VerifyingKeys> {
    env.required_secret("SIGNING_KEYS", |text| VerifyingKeys::parse(text).map_err(|error| error.to_string()))
}

/// `SIGIL_MAX_TTL_SECONDS`, default a year, and `SIGIL_RETENTION_SECONDS`, default a week.
pub fn lifetimes(env: &mut EnvReader) -> Option<Lifetimes> {
    let max_ttl = env.with_default("SIGIL_MAX_TTL_SECONDS", 365 * DAY_SECONDS, parse::in_range(1..=CENTURY_SECONDS));
    let retention = env.with_default("SIGIL_RETENTION_SECONDS", 7 * DAY_SECONDS, parse::in_range(0..=CENTURY_SECONDS));
    Some(Lifetimes { max_ttl_seconds: max_ttl?, retention_seconds: retention? })
}
