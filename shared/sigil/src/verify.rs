//! Verifies tokens.

use std::sync::Arc;

use secrets::Secret;
use serde::Serialize;
use serde_json::value::RawValue;
use strum::{AsRefStr, Display, VariantArray};

use crate::canonical::{CanonicalError, CanonicalJson};
use crate::digest::Digest;
use crate::keys::{VerifyingKeys, check_with};
use crate::record::{SigilId, SigilRecord, State};
use crate::record_signature::authentic;
use crate::store::{LoadRecord, Loaded, StorageError};
use crate::timestamp::Timestamp;
use crate::token;

/// The verdict on a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, VariantArray, AsRefStr, Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Verdict {
    /// The token, the record and the data are as registered.
    Valid,
    /// The token was signed, but for data other than those in the request or in the record.
    Tampered,
    /// The token was not signed by an accepted key.
    BadSignature,
    /// The token was signed, but there is no record of it.
    Unknown,
    /// The sigil was revoked.
    Revoked,
    /// The sigil has expired.
    Expired,
}

/// A verdict, and the record that it is about if the token's holder may see one.
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
    /// The data in the request have no canonical form.
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
    /// Creates a verifier that checks tokens with `keys` and against the records in `store`.
    pub fn new(store: S, keys: Secret<VerifyingKeys>) -> Self {
        Self { store, keys }
    }

    /// Returns the keys, to be published.
    pub async fn keys(&self) -> Arc<VerifyingKeys> {
        self.keys.get().await
    }

    /// Verifies a token and, if `data` is given, checks that it is the data that was registered.
    pub async fn verify(
        &self,
        token: &str,
        data: Option<&RawValue>,
        now: Timestamp,
    ) -> Result<Verification, VerifyError> {
        // Without a valid signature, nothing that the token says justifies reading the table or the data.
        let Ok(claims) = check_with(&self.keys, |keys| token::read(token, keys)).await else {
            return Ok(Verification { verdict: Verdict::BadSignature, record: None });
        };
        let digest = match data.map(CanonicalJson::from_raw).transpose() {
            Ok(data) => data.as_ref().map(Digest::of),
            // No record holds data that long, so any digest but that of a canonical text will do: they are other data.
            Err(CanonicalError::TooLong) => data.map(|raw| Digest::of_parts(&[raw.get().as_bytes()])),
            Err(error) => return Err(error.into()),
        };
        Ok(match self.load(claims.id).await? {
            Some(Loaded::Damaged) => Verification { verdict: Verdict::Tampered, record: None },
            Some(Loaded::Record(record)) if record.token == token => {
                let verdict = verdict(&record, digest, now);
                Verification { verdict, record: (verdict != Verdict::Tampered).then_some(record) }
            }
            // An authentic record with another token is that of a sigil which was made again under the same idempotency
            // key, after this one's record had been deleted.
            Some(Loaded::Record(_)) | None => {
                let is_expired = now.seconds() >= claims.expires_at;
                Verification { verdict: if is_expired { Verdict::Expired } else { Verdict::Unknown }, record: None }
            }
        })
    }

    /// Returns the record with this id. A record that is not as it was signed is [`Loaded::Damaged`].
    pub async fn load(&self, id: SigilId) -> Result<Option<Loaded>, StorageError> {
        Ok(match self.store.load(id).await? {
            Some(loaded) => Some(authentic(id, loaded, &self.keys).await),
            None => None,
        })
    }
}

/// Returns the verdict on the token of an authentic record.
fn verdict(record: &SigilRecord, data: Option<Digest>, now: Timestamp) -> Verdict {
    if data.is_some_and(|digest| digest != record.digest()) {
        return Verdict::Tampered;
    }
    match record.state(now) {
        State::Active => Verdict::Valid,
        State::Revoked => Verdict::Revoked,
        State::Expired => Verdict::Expired,
    }
}
