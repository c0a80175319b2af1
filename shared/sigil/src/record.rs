//! The record of a sigil.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::canonical::CanonicalJson;
use crate::digest::Digest;
use crate::timestamp::Timestamp;

/// A sigil's id: a UUID (RFC 9562).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SigilId(Uuid);

impl SigilId {
    /// Returns a new random id.
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// Returns the id of the sigil that a caller encodes under an idempotency key. The same key always gives the same
    /// id, so one conditional put decides between several requests with that key. The id has UUID version 8, which no
    /// random id has.
    pub fn of_key(key: &IdempotencyKey) -> Self {
        let parts: Vec<&str> = key.caller.0.iter().chain([&key.text]).map(String::as_str).collect();
        // Each part is preceded by its length, so that no two lists of parts give the same bytes.
        let lengths: Vec<[u8; 8]> = parts.iter().map(|part| (part.len() as u64).to_be_bytes()).collect();
        let bytes = lengths.iter().zip(&parts).flat_map(|(length, part)| [length.as_slice(), part.as_bytes()]);
        let domain = b"sigil idempotency key 2\n".as_slice();
        let digest = Digest::of_parts(&std::iter::once(domain).chain(bytes).collect::<Vec<_>>());
        let first: [u8; 16] = digest.as_bytes()[..16].try_into().expect("a digest has 32 bytes");
        Self(Uuid::new_v8(first))
    }

    /// Parses an id in its usual spelling.
    pub fn parse(text: &str) -> Option<Self> {
        let id = Uuid::try_parse(text).ok().map(Self)?;
        (id.to_string() == text).then_some(id)
    }

    /// Returns the id's bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for SigilId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// Sender of a request, as far as the service itself knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caller(Vec<String>);

impl Caller {
    /// Returns the caller of whom nothing is known. All anonymous callers count as one.
    pub fn anonymous() -> Self {
        Self::default()
    }

    /// Returns the caller of this kind with these names, which together identify one caller.
    pub fn named(kind: &str, names: &[&str]) -> Self {
        Self(std::iter::once(&kind).chain(names).map(|&part| part.to_owned()).collect())
    }
}

/// Name that a caller gives to a request, so that the request can be sent again safely. Each caller has its own keys:
/// someone who guesses another caller's key and request must not get that caller's token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    caller: Caller,
    text: String,
}

impl IdempotencyKey {
    /// Length of the longest key, in characters.
    pub const MAX_CHARACTERS: usize = 255;

    /// Parses a caller's key: 1 to 255 printable ASCII characters.
    pub fn parse(caller: Caller, text: &str) -> Option<Self> {
        let printable = text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        ((1..=Self::MAX_CHARACTERS).contains(&text.len()) && printable).then(|| Self { caller, text: text.to_owned() })
    }
}

/// Everything that is stored about a sigil.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigilRecord {
    /// Id of the sigil.
    pub id: SigilId,
    /// The token, as it was issued.
    pub token: String,
    /// The data.
    pub data: CanonicalJson,
    /// Metadata that was registered with the data.
    pub metadata: Option<CanonicalJson>,
    /// Time at which the sigil was made.
    pub created_at: Timestamp,
    /// Time at which the sigil expires.
    pub expires_at: Timestamp,
    /// Time at which the sigil was revoked, if it was.
    pub revoked_at: Option<Timestamp>,
    /// Time from which gc may delete the record: a retention after the sigil expires or was revoked.
    pub due: Timestamp,
    /// Digest of the request that made the sigil, if the request had an idempotency key.
    pub request_digest: Option<Digest>,
    /// Signature of all of the above. See [`record_signature`](crate::record_signature).
    pub signature: String,
}

/// State of a sigil at some time, regardless of its signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Neither revoked nor expired.
    Active,
    /// Revoked, whether or not it has expired as well.
    Revoked,
    /// Expired.
    Expired,
}

impl SigilRecord {
    /// Returns the digest of the data.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.data)
    }

    /// Returns the state at this time.
    pub fn state(&self, now: Timestamp) -> State {
        if self.revoked_at.is_some() {
            State::Revoked
        } else if now >= self.expires_at {
            State::Expired
        } else {
            State::Active
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_always_gives_the_same_id_and_another_key_another_one() {
        let id = |text| SigilId::of_key(&IdempotencyKey::parse(Caller::anonymous(), text).unwrap());
        assert_eq!(id("order-1"), id("order-1"));
        assert_ne!(id("order-1"), id("order-2"));
        assert_eq!(id("order-1").to_string().as_bytes()[14], b'8');
    }

    #[test]
    fn no_two_callers_share_a_key() {
        let id = |caller, text| SigilId::of_key(&IdempotencyKey::parse(caller, text).unwrap());
        let ids = [
            id(Caller::anonymous(), "key"),
            id(Caller::named("iam", &["arn:a"]), "key"),
            id(Caller::named("iam", &["arn:"]), "akey"),
            id(Caller::named("jwt", &["arn:a"]), "key"),
            id(Caller::named("jwt", &["arn:", "a"]), "key"),
            id(Caller::named("jwt", &["arn:a", ""]), "key"),
            id(Caller::named("jwt", &["", "arn:a"]), "key"),
        ];
        assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), ids.len());
    }

    #[test]
    fn an_id_has_one_spelling() {
        let id = SigilId::random();
        assert_eq!(SigilId::parse(&id.to_string()), Some(id));
        for spelling in [id.to_string().to_uppercase(), id.0.simple().to_string(), String::new(), "x".into()] {
            assert_eq!(SigilId::parse(&spelling), None, "{spelling}");
        }
    }

    #[test]
    fn keys_are_short_and_printable() {
        assert!(IdempotencyKey::parse(Caller::anonymous(), "a key").is_some());
        for refused in ["", "a\n", "é", &"x".repeat(256)] {
            assert_eq!(IdempotencyKey::parse(Caller::anonymous(), refused), None, "{refused}");
        }
    }
}
