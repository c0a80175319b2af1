//! Verifying: what a token is worth.

use std::fmt;
use std::sync::Arc;

use secrets::Secret;
use serde::Serialize;

use crate::canonical::CanonicalJson;
use crate::digest::Digest;
use crate::keys::VerifyingKeys;
use crate::record::{SigilId, SigilRecord, State};
use crate::store::{LoadRecord, Loaded, StorageError};
use crate::timestamp::Timestamp;
use crate::token::{self, BadToken, Claims};

/// What a token is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// All is as it was registered.
    Valid,
    /// The token was signed, but the data in hand or in the record are not those that it was signed for.
    Tampered,
    /// No known key has signed the token.
    BadSignature,
    /// The token was signed, but there is no record of it.
    Unknown,
    /// The sigil was revoked.
    Revoked,
    /// The sigil has expired.
    Expired,
}

impl Verdict {
    /// All verdicts.
    pub const ALL: [Self; 6] =
        [Self::Valid, Self::Tampered, Self::BadSignature, Self::Unknown, Self::Revoked, Self::Expired];

    /// The verdict as a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Tampered => "tampered",
            Self::BadSignature => "bad_signature",
            Self::Unknown => "unknown",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A verdict, and the record that it is about, where there is one that the token's holder may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// The verdict.
    pub verdict: Verdict,
    /// The record.
    pub record: Option<SigilRecord>,
}

/// Verifies tokens.
#[derive(Debug)]
pub struct Verifier<S> {
    store: S,
    keys: Secret<VerifyingKeys>,
}

impl<S: LoadRecord> Verifier<S> {
    /// Verifies tokens of these keys against the records of this store.
    pub fn new(store: S, keys: Secret<VerifyingKeys>) -> Self {
        Self { store, keys }
    }

    /// The keys, for publishing.
    pub async fn keys(&self) -> Arc<VerifyingKeys> {
        self.keys.get().await
    }

    /// Says what a token is worth. With `data`, it is also checked whether these are the data that were registered.
    pub async fn verify(
        &self,
        token: &str,
        data: Option<&CanonicalJson>,
        now: Timestamp,
    ) -> Result<Verification, StorageError> {
        // Without a signature of ours, nothing of what the token says is worth a look into the table.
        let read = match token::read(token, &*self.keys.get().await) {
            // By a key that was made active since these were read, perhaps.
            Err(BadToken::UnknownKey) => token::read(token, &*self.keys.get_after_miss().await),
            read => read,
        };
        let Ok(claims) = read else {
            return Ok(Verification { verdict: Verdict::BadSignature, record: None });
        };
        Ok(match self.store.load(claims.id).await? {
            // Expired records are collected some time later, so that its absence says nothing more.
            None if now.seconds() >= claims.expires_at => Verification { verdict: Verdict::Expired, record: None },
            None => Verification { verdict: Verdict::Unknown, record: None },
            Some(Loaded::Damaged) => Verification { verdict: Verdict::Tampered, record: None },
            Some(Loaded::Record(record)) => {
                let verdict = verdict(&record, token, &claims, data, now);
                Verification { verdict, record: (verdict != Verdict::Tampered).then_some(record) }
            }
        })
    }

    /// The record of this id.
    pub async fn load(&self, id: SigilId) -> Result<Option<Loaded>, StorageError> {
        self.store.load(id).await
    }
}

fn verdict(
    record: &SigilRecord,
    token: &str,
    claims: &Claims,
    data: Option<&CanonicalJson>,
    now: Timestamp,
) -> Verdict {
    let recorded = Claims {
        id: record.id,
        created_at: record.created_at.seconds(),
        expires_at: record.expires_at.seconds(),
        digest: record.digest(),
        metadata_digest: record.metadata.as_ref().map(Digest::of),
        request_digest: record.request_digest,
    };
    // The token is compared as text as well: a sigil made anew under the same idempotency key has another one.
    let as_registered = recorded == *claims && record.token == token;
    if !as_registered || data.is_some_and(|data| Digest::of(data) != claims.digest) {
        return Verdict::Tampered;
    }
    match record.state(now) {
        State::Active => Verdict::Valid,
        State::Revoked => Verdict::Revoked,
        State::Expired => Verdict::Expired,
    }
}
