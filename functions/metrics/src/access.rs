//! Decides which requests may scrape.

use std::net::IpAddr;

use function_runtime::http::HttpRequest;
use function_runtime::problem::Problem;
use ipnet::IpNet;
use lambda_http::http::header::WWW_AUTHENTICATE;
use lambda_http::http::{HeaderValue, StatusCode};
use secrets::Secret;

use crate::tokens::Tokens;

/// Allows requests that present one of the tokens and come from one of the networks.
#[derive(Debug)]
pub struct Access {
    /// `None` if no token is required.
    tokens: Option<Secret<Tokens>>,
    /// `None` if every address is allowed.
    networks: Option<Vec<IpNet>>,
}

impl Access {
    /// Restricts access to requests with one of these tokens and from one of these networks. `None` restricts nothing.
    pub fn new(tokens: Option<Secret<Tokens>>, networks: Option<Vec<IpNet>>) -> Self {
        Self { tokens, networks }
    }

    /// Returns a description of who may scrape without a token, or `None` if a token is required.
    pub fn open_to(&self) -> Option<String> {
        match (&self.tokens, &self.networks) {
            (Some(_), _) => None,
            (None, None) => Some("everyone".to_owned()),
            (None, Some(networks)) => Some(networks.iter().map(IpNet::to_string).collect::<Vec<_>>().join(", ")),
        }
    }

    /// Checks a request.
    ///
    /// # Errors
    ///
    /// Returns a problem with status 403 for an address outside the networks, and 401 for a missing or wrong token. A
    /// refusal costs at most one reading of the secret, and only once in a while.
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
        // After a renewal, the secret may contain a token from after a rotation.
        tokens.get().await.contain(given) || tokens.get_after_miss().await.contain(given)
    }
}

/// Returns the token of an `Authorization` header. The scheme's name may be in any case (RFC 9110, section 11.1).
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then_some(token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::Token;

    fn tokens(texts: &[&str]) -> Secret<Tokens> {
        let mut texts = texts.iter().map(|text| Token::parse(text).unwrap());
        Secret::fixed(Tokens { current: texts.next(), previous: texts.next() })
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
    fn an_open_page_is_known_to_be_open() {
        let networks = || Some(vec!["10.0.0.0/8".parse().unwrap()]);
        assert_eq!(Access::new(None, None).open_to().as_deref(), Some("everyone"));
        assert_eq!(Access::new(None, networks()).open_to().as_deref(), Some("10.0.0.0/8"));
        assert_eq!(Access::new(Some(tokens(&["a"])), networks()).open_to(), None);
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
