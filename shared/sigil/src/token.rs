//! Signs and reads tokens, which the holders of sigils keep. A token is a JWT (RFC 7519) as a compact JWS (RFC 7515),
//! signed with EdDSA (RFC 8037), so any JOSE library can check it offline. It carries digests, never the data.

use jsonwebtoken::{Algorithm, Header, Validation};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::digest::Digest;
use crate::keys::{BadSignature, SigningKeys, VerifyingKeys};
use crate::record::SigilId;

/// The claims of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The sigil's id.
    #[serde(rename = "jti")]
    pub id: SigilId,
    /// Time at which the sigil was made, in seconds since the epoch.
    #[serde(rename = "iat")]
    pub created_at: u64,
    /// Time at which the sigil expires, in seconds since the epoch.
    #[serde(rename = "exp")]
    pub expires_at: u64,
    /// The digest of the data's canonical text.
    #[serde(rename = "sigil_digest")]
    pub digest: Digest,
    /// The digest of the metadata's canonical text, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata_digest: Option<Digest>,
    /// The digest of the request, if the request had an idempotency key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_digest: Option<Digest>,
    /// A random number of the request, if the request had an idempotency key. Requests with the same key in the same
    /// second agree in everything else, and only the one whose token is stored may count the sigil as new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_nonce: Option<Uuid>,
}

/// Length of the longest text that is read as a token, in bytes: more than three times that of the longest token that
/// is made.
const MAX_BYTES: usize = 2048;

/// Signs a token with the active key.
pub fn sign(claims: &Claims, keys: &SigningKeys) -> String {
    let (kid, key) = keys.active();
    let header = Header { kid: Some(kid.to_owned()), ..Header::new(Algorithm::EdDSA) };
    jsonwebtoken::encode(&header, claims, key).expect("the key was checked when it was read, and the claims are JSON")
}

/// Checks a token's signature and reads its claims. Does not check whether the token has expired.
pub fn read(token: &str, keys: &VerifyingKeys) -> Result<Claims, BadSignature> {
    if token.len() > MAX_BYTES {
        return Err(BadSignature::Invalid);
    }
    let header = jsonwebtoken::decode_header(token).map_err(|_| BadSignature::Invalid)?;
    let kid = header.kid.ok_or(BadSignature::Invalid)?;
    let key = keys.decoding(&kid).ok_or(BadSignature::UnknownKey)?;
    // The verifier fixes the algorithm and does not take it from the token (RFC 8725, section 3.1).
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.validate_exp = false;
    validation.required_spec_claims.clear();
    let decoded = jsonwebtoken::decode::<Claims>(token, key, &validation).map_err(|_| BadSignature::Invalid)?;
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
            request_nonce: Some(Uuid::new_v4()),
        }
    }

    #[test]
    fn what_was_signed_is_read() {
        let (keys, claims) = (keys("a"), claims());
        assert_eq!(read(&sign(&claims, &keys), keys.verifying()), Ok(claims));
    }

    #[test]
    fn claims_of_other_versions_are_read() {
        let with_nonce = claims();
        let without_nonce = Claims { request_nonce: None, ..with_nonce };
        let mut json = serde_json::to_value(&with_nonce).unwrap();
        json["of_a_later_version"] = true.into();
        assert_eq!(serde_json::from_value::<Claims>(json.clone()).unwrap(), with_nonce, "what is unknown is ignored");
        json.as_object_mut().unwrap().remove("request_nonce");
        assert_eq!(serde_json::from_value::<Claims>(json).unwrap(), without_nonce);
    }

    #[test]
    fn another_key_of_the_same_name_does_not_pass() {
        assert_eq!(read(&sign(&claims(), &keys("a")), keys("a").verifying()), Err(BadSignature::Invalid));
    }

    #[test]
    fn a_key_that_is_not_there_is_told_from_one_that_did_not_sign() {
        assert_eq!(read(&sign(&claims(), &keys("a")), keys("b").verifying()), Err(BadSignature::UnknownKey));
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
            assert_eq!(read(&forged, keys.verifying()), Err(BadSignature::Invalid), "{header}");
        }
    }

    #[test]
    fn the_longest_token_is_read_and_a_longer_text_is_not_looked_at() {
        let (keys, claims) = (keys(&"k".repeat(64)), claims());
        let (created_at, expires_at) = (253_402_300_799, 253_402_300_799);
        let longest = Claims { created_at, expires_at, metadata_digest: claims.request_digest, ..claims };
        let token = sign(&longest, &keys);
        assert!(token.len() < MAX_BYTES / 3, "{}", token.len());
        assert_eq!(read(&token, keys.verifying()), Ok(longest));
        assert_eq!(read(&"e".repeat(MAX_BYTES + 1), keys.verifying()), Err(BadSignature::Invalid));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in any::<String>()) {
            prop_assert_eq!(read(&text, keys("a").verifying()), Err(BadSignature::Invalid));
        }
    }
}
