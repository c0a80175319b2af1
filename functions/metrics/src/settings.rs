//! What the environment says.

use env_settings::{EnvReader, SettingsError};
use ipnet::IpNet;
use prometheus_dynamodb::TableSettings;

use crate::access::{Access, Token};

/// The function's settings.
#[derive(Debug)]
pub struct Settings {
    /// How the stats table is read.
    pub reader: TableSettings,
    /// Who may scrape: `METRICS_TOKEN`, `METRICS_TOKEN_PREVIOUS`, `METRICS_ALLOWED_CIDRS`.
    pub access: Access,
}

impl Settings {
    /// Reads them, and reports every fault.
    pub fn read(mut env: EnvReader) -> Result<Self, SettingsError> {
        let reader = TableSettings::read(&mut env);
        let token = env.optional_secret("METRICS_TOKEN", token);
        let previous = env.optional_secret("METRICS_TOKEN_PREVIOUS", self::token);
        if let (Some(None), Some(Some(_))) = (&token, &previous) {
            env.refuse_secret(
                "METRICS_TOKEN_PREVIOUS",
                "METRICS_TOKEN must be set as well, or the endpoint would be open",
            );
        }
        let networks = env.optional("METRICS_ALLOWED_CIDRS", networks);
        env.finish(|| {
            let tokens = [token?, previous?].into_iter().flatten().collect();
            Some(Self { reader: reader?, access: Access::new(tokens, networks?) })
        })
    }
}

/// A token as RFC 6750, section 2.1 allows it: anything else could not be sent in the header.
fn token(text: &str) -> Result<Token, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~+/=".contains(c);
    if text.chars().all(allowed) {
        Ok(Token::new(text))
    } else {
        Err("only the characters A-Z a-z 0-9 - . _ ~ + / = are allowed (RFC 6750)".to_owned())
    }
}

fn networks(text: &str) -> Result<Vec<IpNet>, String> {
    let parsed: Result<Vec<IpNet>, _> = text.split(',').map(|network| network.trim().parse()).collect();
    parsed.map_err(|_| "networks such as 10.0.0.0/8,2001:db8::/32 are needed, separated by commas".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_named_and_no_secret_repeated() {
        let env = EnvReader::from_pairs([
            ("METRICS_TOKEN", "not allowed"),
            ("METRICS_ALLOWED_CIDRS", "10.0.0.0/33"),
            ("STATS_GRACE", "20"),
        ]);
        let error = Settings::read(env).unwrap_err();
        let named: Vec<_> = error.faults().iter().map(env_settings::Fault::name).collect();
        assert_eq!(named, ["STATS_TABLE", "STATS_GRACE", "METRICS_TOKEN", "METRICS_ALLOWED_CIDRS"]);
        assert!(!error.to_string().contains("not allowed"), "{error}");
    }

    #[test]
    fn a_previous_token_alone_is_refused() {
        let env = EnvReader::from_pairs([("STATS_TABLE", "stats"), ("METRICS_TOKEN_PREVIOUS", "0123456789abcdef")]);
        let error = Settings::read(env).unwrap_err();
        assert!(error.to_string().contains("METRICS_TOKEN must be set"), "{error}");
        assert!(!error.to_string().contains("0123456789abcdef"), "{error}");
    }
}
