//! Who may scrape.

use std::fmt;
use std::net::IpAddr;

use function_kit::http::HttpRequest;
use function_kit::problem::Problem;
use ipnet::IpNet;
use lambda_http::http::header::WWW_AUTHENTICATE;
use lambda_http::http::{HeaderValue, StatusCode};
use secrets::Secret;
use subtle::{Choice, ConstantTimeEq};

/// Who may scrape: whoever shows one of the tokens, from one of the networks.
#[derive(Debug)]
pub struct Access {
    /// `None` means that no token is asked for.
    tokens: Option<Secret<Vec<Token>>>,
    /// `None` means that every address may.
    networks: Option<Vec<IpNet>>,
}

/// A bearer token (RFC 6750).
pub struct Token(String);

impl Token {
    /// Reads a token as RFC 6750, section 2.1 allows it: anything else could not be sent in the header.
    pub fn parse(text: &str) -> Result<Self, String> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~+/=".contains(c);
        if !text.is_empty() && text.chars().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err("only the characters A-Z a-z 0-9 - . _ ~ + / = are allowed (RFC 6750)".to_owned())
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(redacted)")
    }
}

impl Access {
    /// Access for these tokens from these networks, and for everyone where there is no restriction.
    pub fn new(tokens: Option<Secret<Vec<Token>>>, networks: Option<Vec<IpNet>>) -> Self {
        Self { tokens, networks }
    }

    /// Lets the request pass, or says why not.
    pub async fn check(&self, request: &HttpRequest) -> Result<(), Problem> {
        if !self.allows_address(request.source_ip()) {
            let detail = "scraping is not allowed from this address";
            return Err(Problem::new(StatusCode::FORBIDDEN, "address_not_allowed", detail));
        }
        if !self.allows_token(request.header("authorization")).await {
            let detail = "an Authorization header with a valid bearer token is needed";
            return Err(Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
                .with_header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"metrics\"")));
        }
        Ok(())
    }

    fn allows_address(&self, address: Option<IpAddr>) -> bool {
        match &self.networks {
            None => true,
            Some(networks) => address.is_some_and(|address| networks.iter().any(|network| network.contains(&address))),
        }
    }

    async fn allows_token(&self, authorization: Option<&str>) -> bool {
        let Some(tokens) = &self.tokens else { return true };
        let Some(given) = authorization.and_then(bearer) else {
            return false;
        };
        // The second look is for a token from after a rotation.
        is_one_of(&tokens.get().await, given) || is_one_of(&tokens.get_after_miss().await, given)
    }
}

/// Compares with every token and in constant time, so that the time taken tells nothing about them but their lengths.
fn is_one_of(tokens: &[Token], given: &str) -> bool {
    let equals = |token: &Token| token.0.as_bytes().ct_eq(given.as_bytes());
    tokens.iter().map(equals).fold(Choice::from(0), |any, equal| any | equal).into()
}

/// The token of an `Authorization` header. The scheme's name may be in any case (RFC 9110, section 11.1).
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then_some(token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(texts: &[&str]) -> Secret<Vec<Token>> {
        Secret::fixed(texts.iter().map(|text| Token::parse(text).unwrap()).collect())
    }

    #[tokio::test]
    async fn either_token_of_a_rotation_is_let_in_and_no_other() {
        let access = Access::new(Some(tokens(&["the-new-token-00", "the-old-token-00"])), None);
        assert!(access.allows_token(Some("Bearer the-new-token-00")).await);
        assert!(access.allows_token(Some("bearer  the-old-token-00")).await);
        for refused in
            ["Bearer the-new-token-0", "Bearer the-new-token-000", "Basic the-new-token-00", "Bearer ", "Bearer"]
        {
            assert!(!access.allows_token(Some(refused)).await, "{refused}");
        }
        assert!(!access.allows_token(None).await);
    }

    #[tokio::test]
    async fn no_tokens_let_everyone_in_and_an_empty_list_nobody() {
        assert!(Access::new(None, None).allows_token(None).await);
        assert!(!Access::new(Some(tokens(&[])), None).allows_token(Some("Bearer a")).await);
    }

    #[test]
    fn what_a_header_cannot_carry_is_no_token() {
        assert!(Token::parse("not allowed").is_err() && Token::parse("").is_err() && Token::parse("a-._~+/=9").is_ok());
    }

    #[test]
    fn only_the_listed_networks_are_let_in() {
        let access = Access::new(None, Some(vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()]));
        let allows = |address: &str| access.allows_address(Some(address.parse().unwrap()));
        assert!(allows("10.1.2.3") && allows("2001:db8::1"));
        assert!(!allows("11.1.2.3") && !allows("2001:db9::1"));
        assert!(!access.allows_address(None), "an address that is not known is not a listed one");
    }
}
