//! Parses and holds the keys that sign tokens and check them: Ed25519 (RFC 8032), as a JWK Set (RFC 7517, RFC 8037).
//!
//! ```json
//! {"keys":[
//!   {"kty":"OKP","crv":"Ed25519","kid":"2026-11","x":"<public, base64url>","d":"<private, base64url>"},
//!   {"kty":"OKP","crv":"Ed25519","kid":"2026-05","x":"<public, base64url>"}
//! ]}
//! ```
//!
//! The first key is the active one: it signs. The others are still accepted, so a key can be replaced without
//! invalidating the tokens that it signed. Accepted keys need no private part.
//!
//! Alternatively, the keys are given as seeds, from which both parts of a key are derived. `seed` is that of the active
//! key. `other_seeds`, which may be absent, are those of other accepted keys, either older ones or one that is to
//! become active:
//!
//! ```json
//! {"seed":"<32 to 256 random characters>","other_seeds":["<as long>"]}
//! ```

mod seed;

use std::collections::BTreeSet;
use std::fmt;

use aws_lc_rs::encoding::{AsBigEndian, Curve25519SeedBin};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use secrets::{Reading, Secret};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Length of the longest `kid`, in bytes: every token carries one.
const MAX_KID_BYTES: usize = 64;

/// Length of the longest result of [`SigningKeys::sign`], in bytes: the longest `kid`, a dot, and 64 bytes in base64url.
pub(crate) const MAX_SIGNATURE_BYTES: usize = MAX_KID_BYTES + 1 + 86;

/// Public keys, which check tokens.
#[derive(Clone)]
pub struct VerifyingKeys {
    keys: Vec<VerifyingKey>,
}

#[derive(Clone)]
struct VerifyingKey {
    public: PublicJwk,
    decoding: DecodingKey,
}

/// Public and private keys: the active key signs, and all keys check.
#[derive(Clone)]
pub struct SigningKeys {
    active: EncodingKey,
    verifying: VerifyingKeys,
}

/// Error of checking a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    /// The signature names a key that is not in the key set.
    #[error("the signature names an unknown key")]
    UnknownKey,
    /// The signature was not made by the key that it names, or there is none.
    #[error("the signature is missing or not valid")]
    Invalid,
}

/// Error of a key set. It never repeats any part of a private key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// The key set is not JSON, or one of its members has the wrong type.
    #[error("{FORMATS}; see line {line}, column {column}")]
    NotAKeySet {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// The key set has neither `keys` nor `seed`, or both.
    #[error("{FORMATS}; exactly one of `keys` and `seed` is allowed")]
    NotOneFormat,
    /// The key set is empty.
    #[error("at least one key is needed")]
    Empty,
    /// A key is not valid.
    #[error("key {index}: {fault}")]
    Key {
        /// Index of the key, from 0. With seeds, the active key has index 0 and the others follow.
        index: usize,
        /// Fault of the key.
        fault: KeyFault,
    },
}

/// A fault of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// The key is not an object whose members are strings.
    #[error("a JWK is needed: an object whose members kty, crv, kid, x and d are strings")]
    NotAJwk,
    /// The key is of another kind.
    #[error("kty must be OKP and crv Ed25519")]
    NotEd25519,
    /// The key's name cannot be used in a token.
    #[error("kid must be 1 to {MAX_KID_BYTES} printable ASCII characters without spaces")]
    Kid,
    /// Two keys have the same name.
    #[error("two keys have this kid")]
    DuplicateKid,
    /// The public part is malformed.
    #[error("x must be 32 bytes in base64url without padding")]
    X,
    /// The private part is malformed.
    #[error("d must be 32 bytes in base64url without padding")]
    D,
    /// The public and the private part belong to different keys.
    #[error("d and x are not parts of one key")]
    Mismatch,
    /// The seed is too short, too long, or has characters other than printable ASCII without spaces.
    #[error(
        "a seed must be {} to {} printable ASCII characters without spaces",
        seed::MIN_SEED_CHARACTERS,
        seed::MAX_SEED_CHARACTERS
    )]
    Seed,
    /// `other_seeds` is not a list.
    #[error("other_seeds must be a list")]
    OtherSeeds,
    /// The active key has no private part.
    #[error("the first key is the active one and needs its private part d")]
    NoPrivatePart,
}

/// Description of the allowed formats.
const FORMATS: &str = r#"a JWK Set such as {"keys":[…]} or seeds such as {"seed":"…","other_seeds":["…"]} are needed"#;

/// A key set in either format. Other members are allowed and ignored, as RFC 7517 requires.
#[derive(Deserialize)]
struct Document {
    // These are `Value`s, so that an element of the wrong type is a fault of that key alone and not of the whole set.
    keys: Option<Vec<Value>>,
    seed: Option<Value>,
    other_seeds: Option<Value>,
}

impl Document {
    /// Returns the keys, the active one first.
    fn keys(self) -> Result<Vec<Result<Jwk, KeyFault>>, KeysError> {
        match (self.keys, self.seed, self.other_seeds) {
            (Some(keys), None, None) => Ok(keys.into_iter().map(jwk).collect()),
            (None, Some(seed), None) => Ok(vec![seed_key(&seed)]),
            (None, Some(seed), Some(Value::Array(others))) => Ok([seed].iter().chain(&others).map(seed_key).collect()),
            (None, Some(seed), Some(_)) => Ok(vec![seed_key(&seed), Err(KeyFault::OtherSeeds)]),
            _ => Err(KeysError::NotOneFormat),
        }
    }
}

fn jwk(value: Value) -> Result<Jwk, KeyFault> {
    serde_json::from_value(value).map_err(|_| KeyFault::NotAJwk)
}

fn seed_key(value: &Value) -> Result<Jwk, KeyFault> {
    seed::key(value.as_str().ok_or(KeyFault::Seed)?)
}

/// A key, reduced to the members that are used.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(default)]
    crv: String,
    #[serde(default)]
    kid: String,
    #[serde(default)]
    x: String,
    d: Option<String>,
}

/// A key as it is published.
#[derive(Clone, Serialize)]
struct PublicJwk {
    kty: &'static str,
    crv: &'static str,
    kid: String,
    x: String,
    alg: &'static str,
    #[serde(rename = "use")]
    usage: &'static str,
}

impl VerifyingKeys {
    /// Parses a key set. Checks private parts and drops them.
    pub fn parse(text: &str) -> Result<Self, KeysError> {
        Ok(Parsed::of(text)?.without_faults()?.verifying)
    }

    /// Parses a setting as [`parse`](Self::parse) does. The error is a sentence.
    pub fn parse_setting(text: &str) -> Result<Self, String> {
        Self::parse(text).map_err(|error| error.to_string())
    }

    /// Parses a key set that changes while keys are in use. Leaves out keys that cannot be parsed, as long as one key
    /// can. If keys are in use already (`held`), the active key must be among those that can be parsed: until it can,
    /// the function that signs keeps using the previous active key, whose tokens must stay valid.
    pub fn parse_stored(text: &str, held: Option<&Self>) -> Result<Reading<Self>, String> {
        let parsed = Parsed::of(text).map_err(|error| error.to_string())?;
        if let (Some(_), Err(fault)) = (held, &parsed.active) {
            return Err(fault.to_string());
        }
        if parsed.verifying.keys.is_empty() {
            return Err(parsed.faults.first().map_or_else(|| KeysError::Empty.to_string(), ToString::to_string));
        }
        Ok(Reading { value: parsed.verifying, skipped: skipped(&parsed.faults) })
    }

    /// Returns the JWK Set to publish, as JSON: all keys, without their private parts.
    pub fn jwks(&self) -> String {
        let keys: Vec<_> = self.keys.iter().map(|key| &key.public).collect();
        serde_json::to_string(&serde_json::json!({ "keys": keys })).expect("texts are always JSON")
    }

    /// Checks a signature made by [`SigningKeys::sign`].
    pub(crate) fn check(&self, text: &str, signature: &str) -> Result<(), BadSignature> {
        // The signature contains no dot, but a key's name may.
        let (kid, signature) = signature.rsplit_once('.').ok_or(BadSignature::Invalid)?;
        let key = self.decoding(kid).ok_or(BadSignature::UnknownKey)?;
        match jsonwebtoken::crypto::verify(signature, text.as_bytes(), key, Algorithm::EdDSA) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(BadSignature::Invalid),
        }
    }

    pub(crate) fn decoding(&self, kid: &str) -> Option<&DecodingKey> {
        self.keys.iter().find(|key| key.public.kid == kid).map(|key| &key.decoding)
    }
}

impl SigningKeys {
    /// Parses a key set whose first key can sign.
    pub fn parse(text: &str) -> Result<Self, KeysError> {
        Self::of(Parsed::of(text)?.without_faults()?)
    }

    fn of(parsed: Parsed) -> Result<Self, KeysError> {
        let no_private_part = KeysError::Key { index: 0, fault: KeyFault::NoPrivatePart };
        Ok(Self { active: parsed.active?.ok_or(no_private_part)?, verifying: parsed.verifying })
    }

    /// Parses a setting as [`parse`](Self::parse) does. The error is a sentence.
    pub fn parse_setting(text: &str) -> Result<Self, String> {
        Self::parse(text).map_err(|error| error.to_string())
    }

    /// Parses a key set that changes while keys are in use. Leaves out keys that cannot be parsed, but the active key
    /// must be among those that can.
    pub fn parse_stored(text: &str, _held: Option<&Self>) -> Result<Reading<Self>, String> {
        let parsed = Parsed::of(text).map_err(|error| error.to_string())?;
        let skipped = skipped(&parsed.faults);
        Ok(Reading { value: Self::of(parsed).map_err(|error| error.to_string())?, skipped })
    }

    /// Returns the public keys.
    pub fn verifying(&self) -> &VerifyingKeys {
        &self.verifying
    }

    /// Signs a text with the active key. Returns the key's name, a dot, and the signature (RFC 8032) in base64url.
    pub(crate) fn sign(&self, text: &str) -> String {
        let (kid, key) = self.active();
        let signature = jsonwebtoken::crypto::sign(text.as_bytes(), key, Algorithm::EdDSA)
            .expect("the key was checked when it was read");
        format!("{kid}.{signature}")
    }

    pub(crate) fn active(&self) -> (&str, &EncodingKey) {
        (&self.verifying.keys[0].public.kid, &self.active)
    }
}

impl AsRef<VerifyingKeys> for VerifyingKeys {
    fn as_ref(&self) -> &VerifyingKeys {
        self
    }
}

impl AsRef<VerifyingKeys> for SigningKeys {
    fn as_ref(&self) -> &VerifyingKeys {
        &self.verifying
    }
}

/// Runs a check with the keys in use and, if they lack the key that the checked text names, again with renewed keys:
/// that key may have become active since the keys were read.
pub(crate) async fn check_with<K, T>(
    keys: &Secret<K>,
    check: impl Fn(&VerifyingKeys) -> Result<T, BadSignature>,
) -> Result<T, BadSignature>
where
    K: AsRef<VerifyingKeys> + Send + Sync,
{
    match check(keys.get().await.as_ref().as_ref()) {
        Err(BadSignature::UnknownKey) => check(keys.get_after_miss().await.as_ref().as_ref()),
        checked => checked,
    }
}

/// Returns a key set of one new random key with its private part, as one line.
///
/// # Panics
///
/// If the system's random number generator fails.
pub fn generate(kid: &str) -> String {
    let pair = Ed25519KeyPair::generate().expect("the machine gives randomness");
    let seed: Curve25519SeedBin<'_> =
        pair.seed().and_then(|seed| seed.as_be_bytes()).expect("a new pair has its private part");
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    serde_json::json!({ "keys": [{
        "kty": "OKP",
        "crv": "Ed25519",
        "kid": kid,
        "x": encode(pair.public_key().as_ref()),
        "d": encode(seed.as_ref()),
    }] })
    .to_string()
}

/// A parsed key set, in which some keys may be faulty.
struct Parsed {
    /// Private part of the first key, if the key has one; the fault if the key cannot be parsed.
    active: Result<Option<EncodingKey>, KeysError>,
    /// Public parts of all keys that can be parsed.
    verifying: VerifyingKeys,
    /// Faults of the keys that cannot be parsed, including the first.
    faults: Vec<KeysError>,
}

impl Parsed {
    fn of(text: &str) -> Result<Self, KeysError> {
        let document: Document = serde_json::from_str(text)
            .map_err(|error| KeysError::NotAKeySet { line: error.line(), column: error.column() })?;
        let mut this =
            Self { active: Err(KeysError::Empty), verifying: VerifyingKeys { keys: Vec::new() }, faults: Vec::new() };
        let mut kids = BTreeSet::new();
        for (index, jwk) in document.keys()?.into_iter().enumerate() {
            let parsed = jwk.and_then(parse_key).and_then(|(key, encoding)| {
                if kids.insert(key.public.kid.clone()) { Ok((key, encoding)) } else { Err(KeyFault::DuplicateKid) }
            });
            match parsed {
                Ok((key, encoding)) => {
                    if index == 0 {
                        this.active = Ok(encoding);
                    }
                    this.verifying.keys.push(key);
                }
                Err(fault) => {
                    let error = KeysError::Key { index, fault };
                    if index == 0 {
                        this.active = Err(error.clone());
                    }
                    this.faults.push(error);
                }
            }
        }
        Ok(this)
    }

    fn without_faults(self) -> Result<Self, KeysError> {
        match self.faults.into_iter().next() {
            Some(fault) => Err(fault),
            None if self.verifying.keys.is_empty() => Err(KeysError::Empty),
            None => Ok(Self { faults: Vec::new(), ..self }),
        }
    }
}

fn skipped(faults: &[KeysError]) -> Vec<String> {
    faults.iter().map(|fault| format!("{fault}; it is left out")).collect()
}

fn parse_key(jwk: Jwk) -> Result<(VerifyingKey, Option<EncodingKey>), KeyFault> {
    if jwk.kty != "OKP" || jwk.crv != "Ed25519" {
        return Err(KeyFault::NotEd25519);
    }
    if jwk.kid.is_empty() || jwk.kid.len() > MAX_KID_BYTES || !jwk.kid.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(KeyFault::Kid);
    }
    let public = key_bytes(&jwk.x).ok_or(KeyFault::X)?;
    let encoding = match &jwk.d {
        None => None,
        Some(d) => {
            let seed = key_bytes(d).ok_or(KeyFault::D)?;
            let pair = Ed25519KeyPair::from_seed_and_public_key(&seed, &public).map_err(|_| KeyFault::Mismatch)?;
            let pkcs8 = pair.to_pkcs8().map_err(|_| KeyFault::D)?;
            Some(EncodingKey::from_ed_der(pkcs8.as_ref()))
        }
    };
    let decoding = DecodingKey::from_ed_components(&jwk.x).map_err(|_| KeyFault::X)?;
    let public = PublicJwk { kty: "OKP", crv: "Ed25519", kid: jwk.kid, x: jwk.x, alg: "EdDSA", usage: "sig" };
    Ok((VerifyingKey { public, decoding }, encoding))
}

fn key_bytes(text: &str) -> Option<[u8; 32]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

impl fmt::Debug for VerifyingKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|key| &key.public.kid)).finish()
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKeys").field("kids", &self.verifying).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn key_set(kids: &[&str]) -> Value {
        let keys = kids.iter().map(|kid| {
            let mut set: Value = serde_json::from_str(&generate(kid)).unwrap();
            set["keys"][0].take()
        });
        json!({ "keys": keys.collect::<Vec<_>>() })
    }

    #[test]
    fn older_keys_are_accepted_without_their_private_part() {
        let mut set = key_set(&["new", "old"]);
        set["keys"][1].as_object_mut().unwrap().remove("d");
        let keys = SigningKeys::parse(&set.to_string()).unwrap();
        assert_eq!(keys.active().0, "new");
        assert!(keys.verifying().decoding("old").is_some() && keys.verifying().decoding("other").is_none());
    }

    #[test]
    fn what_is_published_and_what_is_logged_has_no_private_part() {
        let set = key_set(&["a"]);
        let private = set["keys"][0]["d"].as_str().unwrap().to_owned();
        let keys = SigningKeys::parse(&set.to_string()).unwrap();
        let published: Value = serde_json::from_str(&keys.verifying().jwks()).unwrap();
        let x = set["keys"][0]["x"].as_str().unwrap();
        let key = json!({ "kty": "OKP", "crv": "Ed25519", "kid": "a", "x": x, "alg": "EdDSA", "use": "sig" });
        assert_eq!(published, json!({ "keys": [key] }));
        assert!(!format!("{keys:?}").contains(&private));
    }

    #[test]
    fn seeds_are_keys_of_which_the_first_signs() {
        let (new, old) = ("n".repeat(32), "o".repeat(64));
        let rotated = SigningKeys::parse(&json!({ "seed": new, "other_seeds": [old] }).to_string()).unwrap();
        let before = SigningKeys::parse(&json!({ "seed": old }).to_string()).unwrap();
        assert_ne!(rotated.active().0, before.active().0);
        assert!(rotated.verifying().decoding(before.active().0).is_some());
        assert!(!format!("{rotated:?}").contains(&new) && !rotated.verifying().jwks().contains(&new));
    }

    #[test]
    fn seeds_that_are_wrong_are_told_by_position() {
        let refused = |set: Value| SigningKeys::parse(&set.to_string()).unwrap_err();
        let seed = "s".repeat(32);
        let key = |index, fault| KeysError::Key { index, fault };
        assert_eq!(refused(json!({})), KeysError::NotOneFormat);
        assert_eq!(refused(json!({ "keys": [], "seed": seed })), KeysError::NotOneFormat);
        assert_eq!(refused(json!({ "other_seeds": [seed] })), KeysError::NotOneFormat);
        assert_eq!(refused(json!({ "seed": "short" })), key(0, KeyFault::Seed));
        assert_eq!(refused(json!({ "seed": seed, "other_seeds": ["short"] })), key(1, KeyFault::Seed));
        assert_eq!(refused(json!({ "seed": seed, "other_seeds": [seed] })), key(1, KeyFault::DuplicateKid));
        assert!(!refused(json!({ "seed": "short" })).to_string().contains("short"));
    }

    #[test]
    fn a_stored_key_set_serves_with_what_can_be_read_of_it() {
        let (new, old) = ("n".repeat(32), "o".repeat(64));
        let kid = |seed: &str| SigningKeys::parse(&json!({ "seed": seed }).to_string()).unwrap().active().0.to_owned();
        for other_seeds in [json!(["short", old]), json!([7, old]), json!([old, new])] {
            let stored = json!({ "seed": new, "other_seeds": other_seeds }).to_string();
            assert!(SigningKeys::parse(&stored).is_err() && VerifyingKeys::parse(&stored).is_err(), "in a variable");
            let signing = SigningKeys::parse_stored(&stored, None).unwrap();
            assert_eq!((signing.value.active().0, signing.skipped.len()), (kid(&new).as_str(), 1));
            assert!(!signing.skipped[0].contains("short"), "{:?}", signing.skipped);
            let verifying = VerifyingKeys::parse_stored(&stored, Some(&signing.value.verifying)).unwrap();
            for keys in [&signing.value.verifying, &verifying.value] {
                assert!(keys.decoding(&kid(&new)).is_some() && keys.decoding(&kid(&old)).is_some());
            }
        }
    }

    #[test]
    fn a_stored_active_key_that_cannot_be_read_takes_no_key_away() {
        let old = "o".repeat(64);
        for seed in [json!("short"), json!(7)] {
            let stored = json!({ "seed": seed, "other_seeds": [old] }).to_string();
            assert!(SigningKeys::parse_stored(&stored, None).unwrap_err().contains("key 0"));
            let fresh = VerifyingKeys::parse_stored(&stored, None).unwrap();
            assert_eq!((fresh.value.keys.len(), fresh.skipped.len()), (1, 1), "what it can check, it checks");
            assert!(VerifyingKeys::parse_stored(&stored, Some(&fresh.value)).unwrap_err().contains("key 0"));
        }
        let no_list = json!({ "seed": old, "other_seeds": old }).to_string();
        assert_eq!(SigningKeys::parse_stored(&no_list, None).unwrap().skipped.len(), 1);
        for nothing in [json!({ "seed": "short" }), json!({ "keys": [] }), json!({})] {
            assert!(VerifyingKeys::parse_stored(&nothing.to_string(), None).is_err());
        }
    }

    #[test]
    fn a_wrong_key_is_named_and_not_repeated() {
        let refused = |change: &dyn Fn(&mut Value)| {
            let mut set = key_set(&["a", "b"]);
            change(&mut set["keys"]);
            SigningKeys::parse(&set.to_string()).unwrap_err()
        };
        let key = |index, fault| KeysError::Key { index, fault };
        assert_eq!(refused(&|keys| *keys = json!([])), KeysError::Empty);
        assert_eq!(refused(&|keys| keys[1]["crv"] = json!("X25519")), key(1, KeyFault::NotEd25519));
        assert_eq!(refused(&|keys| keys[1]["kid"] = json!("a")), key(1, KeyFault::DuplicateKid));
        for kid in ["a b", "", &"k".repeat(65)] {
            assert_eq!(refused(&|keys| keys[0]["kid"] = json!(kid)), key(0, KeyFault::Kid), "{kid}");
        }
        assert!(matches!(VerifyingKeys::parse(r#"{"keys":[]}"#), Err(KeysError::Empty)));
        assert_eq!(refused(&|keys| keys[0]["x"] = json!("AAAA")), key(0, KeyFault::X));
        assert_eq!(refused(&|keys| keys[0]["d"] = json!("AAAA")), key(0, KeyFault::D));
        assert_eq!(refused(&|keys| keys[0]["d"] = keys[1]["d"].clone()), key(0, KeyFault::Mismatch));
        assert_eq!(refused(&|keys| keys[0]["d"] = Value::Null), key(0, KeyFault::NoPrivatePart));
        assert!(matches!(SigningKeys::parse("secret"), Err(KeysError::NotAKeySet { .. })));
        assert!(!SigningKeys::parse("secret").unwrap_err().to_string().contains("secret"));
    }
}
