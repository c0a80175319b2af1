//! Tokens: what a sigil's holder has. A JWT (RFC 7519) as a compact JWS (RFC 7515) signed by EdDSA (RFC 8037), so that any
//! JOSE library can check one offline. It carries digests, never the data.

use jsonwebtoken::{Algorithm, Header, Validation};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::keys::{SigningKeys, VerifyingKeys};
use crate::record::SigilId;

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The sigil's id.
    #[serde(rename = "jti")]
    pub id: SigilId,
    /// When the sigil was made, in seconds since the epoch.
    #[serde(rename = "iat")]
    pub created_at: u64,
    /// When it expires, in seconds since the epoch.
    #[serde(rename = "exp")]
    pub expires_at: u64,
    /// The digest of the data's canonical text.
    #[serde(rename = "sigil_digest")]
    pub digest: Digest,
    /// The digest of the metadata's canonical text, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata_digest: Option<Digest>,
    /// The digest of the request, if it had an idempotency key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_digest: Option<Digest>,
}

/// Why a token is worth nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// It names a key that is not among these.
    #[error("the token names a key that is not known")]
    UnknownKey,
    /// The key that it names has not signed it, or it is not a token at all.
    #[error("the token has no valid signature")]
    BadSignature,
}

/// Signs a token with the active key.
pub fn sign(claims: &Claims, keys: &SigningKeys) -> String {
    let (kid, key) = keys.active();
    let header = Header { kid: Some(kid.to_owned()), ..Header::new(Algorithm::EdDSA) };
    jsonwebtoken::encode(&header, claims, key).expect("the key was checked when it was read, and the claims are JSON")
}

/// Checks a token's signature and reads it. Whether it has expired is not looked at here.
pub fn read(token: &str, keys: &VerifyingKeys) -> Result<Claims, BadToken> {
    let header = jsonwebtoken::decode_header(token).map_err(|_| BadToken::BadSignature)?;
    let kid = header.kid.ok_or(BadToken::BadSignature)?;
    let key = keys.decoding(&kid).ok_or(BadToken::UnknownKey)?;
    // The algorithm is ours and not the token's choice (RFC 8725, section 3.1).
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.validate_exp = false;
    validation.required_spec_claims.clear();
    let decoded = jsonwebtoken::decode::<Claims>(token, key, &validation).map_err(|_| BadToken::BadSignature)?;
    Ok(decoded.claims)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canonical::CanonicalJson;
    use crate::keys::generate;
    use proptest::prelude::*;

    fn keys(kid: &str) -> SigningKeys {
        SigningKeys::parse(&generate(kid)).unwrap()
    }

    fn claims() -> Claims {
        let digest = Digest::of(&CanonicalJson::from_json("{}").unwrap());
        Claims {
            id: SigilId::random(),
            created_at: 1_763_913_600,
            expires_at: 1_763_913_601,
            digest,
            metadata_digest: None,
            request_digest: Some(digest),
        }
    }

    #[test]
    fn what_was_signed_is_read() {
        let (keys, claims) = (keys("a"), claims());
        assert_eq!(read(&sign(&claims, &keys), keys.verifying()), Ok(claims));
    }

    #[test]
    fn another_key_of_the_same_name_does_not_pass() {
        assert_eq!(read(&sign(&claims(), &keys("a")), keys("a").verifying()), Err(BadToken::BadSignature));
    }

    #[test]
    fn a_key_that_is_not_there_is_told_from_one_that_did_not_sign() {
        assert_eq!(read(&sign(&claims(), &keys("a")), keys("b").verifying()), Err(BadToken::UnknownKey));
    }

    #[test]
    fn a_token_cannot_choose_its_algorithm() {
        use base64::Engine;
        use base64::engine::general_purpose::URL_SAFE_NO_PAD;
        let keys = keys("a");
        let token = sign(&claims(), &keys);
        let payload = token.split('.').nth(1).unwrap();
        for header in [r#"{"alg":"none","kid":"a"}"#, r#"{"alg":"HS256","kid":"a"}"#, r#"{"alg":"EdDSA"}"#] {
            let forged = format!("{}.{payload}.", URL_SAFE_NO_PAD.encode(header));
            assert_eq!(read(&forged, keys.verifying()), Err(BadToken::BadSignature), "{header}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in any::<String>()) {
            prop_assert_eq!(read(&text, keys("a").verifying()), Err(BadToken::BadSignature));
        }
    }
}
