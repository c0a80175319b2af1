//! Loads the accepted tokens and renews them.

use std::fmt;
use std::sync::Arc;

use secrets::secret::failures;
use secrets::{Reading, Secret, SecretArn, SecretError, SecretStore, Source};
use subtle::{Choice, ConstantTimeEq};

/// A bearer token (RFC 6750).
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Parses a token as RFC 6750, section 2.1, allows. The header cannot carry anything else.
    pub fn parse(text: &str) -> Result<Self, String> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~+/=".contains(c);
        if !text.is_empty() && text.chars().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err("only the characters A-Z a-z 0-9 - . _ ~ + / = are allowed (RFC 6750), and one at least".to_owned())
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(redacted)")
    }
}

/// Tokens of a rotation. Prometheus sends the previous token until it has the current one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Token in use.
    pub current: Option<Token>,
    /// Previous token.
    pub previous: Option<Token>,
}

impl Tokens {
    /// Returns whether `given` is one of the tokens. Compares with both in constant time, so that the time reveals only
    /// their lengths.
    pub fn contain(&self, given: &str) -> bool {
        let equals = |token: &Token| token.0.as_bytes().ct_eq(given.as_bytes());
        let tokens = self.current.iter().chain(&self.previous);
        tokens.map(equals).fold(Choice::from(0), |any, equal| any | equal).into()
    }
}

/// Loads the tokens from this source, and renews them as the secret rotates.
///
/// # Errors
///
/// If neither version of the secret is a token that can be read.
pub async fn load(source: Source<Tokens>, store: SecretStore) -> Result<Secret<Tokens>, SecretError> {
    match source {
        Source::Literal(tokens) => Ok(Secret::fixed(tokens)),
        Source::Stored(arn) => {
            let read = move |held: Option<Arc<Tokens>>| {
                let (store, arn) = (store.clone(), arn.clone());
                async move {
                    let (current, previous) = tokio::join!(store.current(&arn), store.previous(&arn));
                    reading(&arn, current, previous, held.as_deref())
                }
            };
            // This function publishes no metrics, so a failed renewal shows only in its log.
            Secret::load(read, failures()).await
        }
    }
}

/// Parses the two versions that Secrets Manager keeps through a rotation. A version that cannot be read does not
/// disable the other: a value that was stored by mistake stays the previous version until two more are stored.
fn reading(
    arn: &SecretArn,
    current: Result<String, SecretError>,
    previous: Result<Option<String>, SecretError>,
    held: Option<&Tokens>,
) -> Result<Reading<Tokens>, SecretError> {
    let parse = |text: String| Token::parse(&text).map_err(|expected| arn.unreadable(expected));
    let mut skipped = Vec::new();
    let current = match (current.and_then(parse), held) {
        (Ok(token), _) => Ok(token),
        // The current token is not known. The tokens that are held are better than a guess.
        (Err(error @ SecretError::Unavailable { .. }), Some(_)) => return Err(error),
        (Err(error), _) => Err(error),
    };
    let previous = match previous.and_then(|text| text.map(parse).transpose()) {
        Ok(previous) => previous,
        Err(error) => {
            skipped.push(format!("the previous version is left out: {error}"));
            // If the secret has rotated, the previous token is the one that was current until now.
            let rotated = |held: &Tokens| held.current.as_ref() != current.as_ref().ok();
            let unknown = matches!(error, SecretError::Unavailable { .. });
            held.filter(|_| unknown)
                .and_then(|held| if rotated(held) { held.current.clone() } else { held.previous.clone() })
        }
    };
    match (current, previous) {
        (Err(error), None) => Err(error),
        (Err(error), previous) => {
            skipped.push(format!("the current version is left out: {error}"));
            Ok(Reading { value: Tokens { current: None, previous }, skipped })
        }
        (Ok(token), previous) => Ok(Reading { value: Tokens { current: Some(token), previous }, skipped }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arn() -> SecretArn {
        SecretArn::parse("arn:aws:secretsmanager:eu-central-1:1:secret:token").unwrap()
    }

    fn out_of_reach<T>() -> Result<T, SecretError> {
        Err(SecretError::Unavailable { arn: arn(), reason: "it is out of reach".to_owned() })
    }

    fn tokens(current: &str, previous: &str) -> Tokens {
        let token = |text: &str| (!text.is_empty()).then(|| Token::parse(text).unwrap());
        Tokens { current: token(current), previous: token(previous) }
    }

    type Version = Result<Option<&'static str>, ()>;

    /// Returns the tokens, and the number of parts that were skipped.
    fn read(current: Version, previous: Version, held: Option<&Tokens>) -> Result<(Tokens, usize), SecretError> {
        let current = match current {
            Ok(text) => text.map(str::to_owned).ok_or_else(|| arn().unreadable("it has none".to_owned())),
            Err(()) => out_of_reach(),
        };
        let previous = previous.map_or_else(|()| out_of_reach(), |text| Ok(text.map(str::to_owned)));
        let reading = reading(&arn(), current, previous, held)?;
        assert!(!reading.skipped.iter().any(|said| said.contains("bad")), "{:?}", reading.skipped);
        Ok((reading.value, reading.skipped.len()))
    }

    const BAD: Version = Ok(Some("bad\n"));

    /// A secret that was put twice with one value has that value as the current and the previous one.
    #[test]
    fn a_token_is_one_of_the_two_also_if_both_are_the_same() {
        assert!(tokens("same", "same").contain("same"));
        assert!(!tokens("same", "same").contain("other") && !tokens("", "").contain(""));
    }

    #[test]
    fn what_cannot_be_read_does_not_take_the_other_away() {
        assert_eq!(read(Ok(Some("new")), Ok(Some("old")), None).unwrap(), (tokens("new", "old"), 0));
        assert_eq!(read(Ok(Some("new")), Ok(None), None).unwrap(), (tokens("new", ""), 0));
        assert_eq!(read(Ok(Some("new")), BAD, None).unwrap(), (tokens("new", ""), 1));
        assert_eq!(read(BAD, Ok(Some("old")), None).unwrap(), (tokens("", "old"), 1));
        assert_eq!(read(Ok(None), Ok(Some("old")), None).unwrap(), (tokens("", "old"), 1));
        assert_eq!(read(Err(()), Ok(Some("old")), None).unwrap(), (tokens("", "old"), 1));
        assert_eq!(read(Ok(Some("new")), Err(()), None).unwrap(), (tokens("new", ""), 1));
    }

    #[test]
    fn where_nothing_can_be_read_the_secret_is_named() {
        for (current, previous) in [(BAD, BAD), (BAD, Ok(None)), (Err(()), Err(())), (BAD, Err(())), (Err(()), BAD)] {
            let said = read(current, previous, None).unwrap_err().to_string();
            assert!(said.contains("secret:token") && !said.contains("bad"), "{said}");
        }
    }

    #[test]
    fn what_is_held_stays_while_it_is_not_known_what_replaced_it() {
        let held = tokens("new", "old");
        assert!(read(Err(()), Ok(Some("old")), Some(&held)).is_err(), "and so it stays as it is");
        assert_eq!(read(Ok(Some("new")), Err(()), Some(&held)).unwrap().0, held);
        assert_eq!(read(Ok(Some("newer")), Err(()), Some(&held)).unwrap().0, tokens("newer", "new"));
        assert_eq!(read(BAD, Ok(Some("new")), Some(&held)).unwrap().0, tokens("", "new"));
        assert!(read(BAD, BAD, Some(&held)).is_err());
    }

    #[test]
    fn what_a_header_cannot_carry_is_no_token() {
        assert!(Token::parse("not allowed").is_err() && Token::parse("").is_err() && Token::parse("a-._~+/=9").is_ok());
    }
}
