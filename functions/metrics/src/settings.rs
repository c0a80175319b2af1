//! Reads the function's settings from environment variables.

use env_settings::{EnvReader, SettingsError};
use ipnet::IpNet;
use prometheus_dynamodb::TableSettings;
use secrets::Source;

use crate::tokens::{Token, Tokens};

/// The function's settings.
#[derive(Debug)]
pub struct Settings {
    /// Settings of reading the stats table.
    pub reader: TableSettings,
    /// `METRICS_TOKEN` with `METRICS_TOKEN_PREVIOUS`, or `METRICS_TOKEN_SECRET_ARN`: the accepted tokens. If none is
    /// set, the page is open.
    pub tokens: Option<Source<Tokens>>,
    /// `METRICS_ALLOWED_CIDRS`: the networks that may scrape. If it is not set, all may.
    pub networks: Option<Vec<IpNet>>,
}

impl Settings {
    /// Reads the settings from the process's environment, or reports every fault at once.
    pub fn read(mut env: EnvReader) -> Result<Self, SettingsError> {
        let reader = function_runtime::settings::table(&mut env);
        let tokens = tokens(&mut env);
        let networks = env.optional("METRICS_ALLOWED_CIDRS", networks);
        env.finish(|| Some(Self { reader: reader?, tokens: tokens?, networks: networks? }))
    }
}

fn tokens(env: &mut EnvReader) -> Option<Option<Source<Tokens>>> {
    let one = |text: &str| Ok(Tokens { current: Some(Token::parse(text)?), previous: None });
    let source = secrets::source::optional(env, "METRICS_TOKEN", "METRICS_TOKEN_SECRET_ARN", one);
    let previous = env.optional_secret("METRICS_TOKEN_PREVIOUS", Token::parse)?;
    match (source?, previous) {
        (source, None) => Some(source),
        (Some(Source::Literal(mut tokens)), Some(previous)) => {
            tokens.previous = Some(previous);
            Some(Some(Source::Literal(tokens)))
        }
        (Some(Source::Stored(_)), Some(_)) => {
            let expected = "it must not be set together with METRICS_TOKEN_SECRET_ARN, for the secret keeps its own \
                previous version";
            env.refuse_secret("METRICS_TOKEN_PREVIOUS", expected);
            None
        }
        (None, Some(_)) => {
            let expected = "METRICS_TOKEN must be set as well, or the endpoint would be open";
            env.refuse_secret("METRICS_TOKEN_PREVIOUS", expected);
            None
        }
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

    #[test]
    fn a_stored_token_goes_with_no_other() {
        let arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:token-AbCdEf";
        let base = [("STATS_TABLE", "stats"), ("METRICS_TOKEN_SECRET_ARN", arn)];
        let read = |more: Option<(&'static str, &'static str)>| {
            Settings::read(EnvReader::from_pairs(base.into_iter().chain(more)))
        };
        assert!(matches!(read(None).unwrap().tokens, Some(Source::Stored(_))));
        for name in ["METRICS_TOKEN", "METRICS_TOKEN_PREVIOUS"] {
            let error = read(Some((name, "0123456789abcdef"))).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("METRICS_TOKEN_SECRET_ARN"), "{error}");
            assert!(!error.contains("0123456789abcdef"), "{error}");
        }
    }
}
