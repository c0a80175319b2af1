//! Verifies tokens.

use std::fmt;
use std::sync::Arc;

use secrets::Secret;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::canonical::{CanonicalError, CanonicalJson};
use crate::digest::Digest;
use crate::keys::{VerifyingKeys, check_with};
use crate::record::{SigilId, SigilRecord, State};
use crate::record_signature::authentic;
use crate::store::{LoadRecord, Loaded, StorageError};
use crate::timestamp::Timestamp;
use crate::token;

/// The verdict on a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The token, the record and the data are as they were registered.
    Valid,
    /// The token was signed, but for other data than those in the request or in the record.
    Tampered,
    /// No accepted key has signed the token.
    BadSignature,
    /// The token was signed, but there is no record of it.
    Unknown,
    /// The sigil was revoked.
    Revoked,
    /// The sigil has expired.
    Expired,
}

impl Verdict {
    /// Every verdict.
    pub const ALL: [Self; 6] =
        [Self::Valid, Self::Tampered, Self::BadSignature, Self::Unknown, Self::Revoked, Self::Expired];

    /// Returns the verdict as a word.
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

/// Error of verifying.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The data in hand have no canonical form.
    #[error(transparent)]
    Data(#[from] CanonicalError),
    /// The record could not be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Verifies tokens.
#[derive(Debug)]
pub struct Verifier<S> {
    store: S,
    keys: Secret<VerifyingKeys>,
}

impl<S: LoadRecord> Verifier<S> {
    /// Creates a verifier of tokens of these keys, against the records of this store.
    pub fn new(store: S, keys: Secret<VerifyingKeys>) -> Self {
        Self { store, keys }
    }

    /// Returns the keys, for publishing.
    pub async fn keys(&self) -> Arc<VerifyingKeys> {
        self.keys.get().await
    }

    /// Verifies a token and, if there is `data`, that this is the data that was registered.
    pub async fn verify(
        &self,
        token: &str,
        data: Option<&RawValue>,
        now: Timestamp,
    ) -> Result<Verification, VerifyError> {
        // Without a signature of ours, nothing of what the token says is worth a look into the table, nor are the data.
        let Ok(claims) = check_with(&self.keys, |keys| token::read(token, keys)).await else {
            return Ok(Verification { verdict: Verdict::BadSignature, record: None });
        };
        let digest = data.map(CanonicalJson::from_raw).transpose()?.as_ref().map(Digest::of);
        Ok(match self.load(claims.id).await? {
            // Expired records are collected some time later, so that its absence says nothing more.
            None if now.seconds() >= claims.expires_at => Verification { verdict: Verdict::Expired, record: None },
            None => Verification { verdict: Verdict::Unknown, record: None },
            Some(Loaded::Damaged) => Verification { verdict: Verdict::Tampered, record: None },
            Some(Loaded::Record(record)) => {
                let verdict = verdict(&record, token, digest, now);
                Verification { verdict, record: (verdict != Verdict::Tampered).then_some(record) }
            }
        })
    }

    /// Returns the record of this id; a record that is not as it was signed is damaged.
    pub async fn load(&self, id: SigilId) -> Result<Option<Loaded>, StorageError> {
        Ok(match self.store.load(id).await? {
            Some(loaded) => Some(authentic(id, loaded, &self.keys).await),
            None => None,
        })
    }
}

fn verdict(record: &SigilRecord, token: &str, data: Option<Digest>, now: Timestamp) -> Verdict {
    // The record is authentic, so its token is the one that was handed out for its data. A sigil made anew under the same
    // idempotency key has another one.
    if record.token != token || data.is_some_and(|digest| digest != record.digest()) {
        return Verdict::Tampered;
    }
    match record.state(now) {
        State::Active => Verdict::Valid,
        State::Revoked => Verdict::Revoked,
        State::Expired => Verdict::Expired,
    }
}
