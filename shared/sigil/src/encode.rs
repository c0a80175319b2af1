//! Encodes data into a sigil.

use secrets::Secret;
use uuid::Uuid;

use crate::canonical::CanonicalJson;
use crate::digest::Digest;
use crate::keys::SigningKeys;
use crate::record::{IdempotencyKey, SigilId, SigilRecord};
use crate::record_signature::authentic;
use crate::store::{InsertRecord, Insertion, Loaded, StorageError};
use crate::timestamp::Timestamp;
use crate::token::{self, Claims};

/// Longest life of sigils, and the retention of their records after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    /// Longest life of a sigil, in seconds. Also its life if the request asks for none.
    pub max_ttl_seconds: u64,
    /// Time for which the record of an expired or revoked sigil is kept, in seconds. For that long, verifying can tell
    /// the two apart.
    pub retention_seconds: u64,
}

/// A request to encode.
#[derive(Debug, Clone)]
pub struct EncodeRequest {
    /// The data.
    pub data: CanonicalJson,
    /// Metadata to register with the data.
    pub metadata: Option<CanonicalJson>,
    /// Life of the sigil, in seconds. The longest life if absent.
    pub ttl_seconds: Option<u64>,
    /// Key that names the request, if the client may send the request again.
    pub idempotency_key: Option<IdempotencyKey>,
}

/// Error of encoding.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The requested life is not allowed.
    #[error("a sigil lives from 1 to {max_seconds} seconds")]
    TtlOutOfRange {
        /// Longest life that is allowed, in seconds.
        max_seconds: u64,
    },
    /// The idempotency key was used before, with another request.
    #[error("the idempotency key was used for another request")]
    IdempotencyConflict,
    /// The record under the idempotency key was changed by something other than this service.
    #[error("the record of the idempotency key is damaged")]
    Damaged,
    /// The record could not be stored.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// The result of encoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The sigil's record.
    pub record: SigilRecord,
    /// `true` if this request made the sigil, `false` if an earlier request with the same idempotency key did.
    pub newly: bool,
}

/// Makes sigils.
#[derive(Debug)]
pub struct Encoder<S> {
    store: S,
    keys: Secret<SigningKeys>,
    lifetimes: Lifetimes,
}

impl<S: InsertRecord> Encoder<S> {
    /// Creates an encoder that signs sigils with `keys`, keeps them in `store`, and limits their life by `lifetimes`.
    pub fn new(store: S, keys: Secret<SigningKeys>, lifetimes: Lifetimes) -> Self {
        Self { store, keys, lifetimes }
    }

    /// Returns the longest life of a sigil, in seconds.
    pub fn max_ttl_seconds(&self) -> u64 {
        self.lifetimes.max_ttl_seconds
    }

    /// Makes a sigil, or returns the one that an earlier, identical request with the same idempotency key made.
    pub async fn encode(&self, request: EncodeRequest, now: Timestamp) -> Result<Encoded, EncodeError> {
        let max_seconds = self.lifetimes.max_ttl_seconds;
        let ttl_seconds = request.ttl_seconds.unwrap_or(max_seconds);
        if !(1..=max_seconds).contains(&ttl_seconds) {
            return Err(EncodeError::TtlOutOfRange { max_seconds });
        }
        let keys = self.keys.get().await;
        let record = self.record(request, &keys, ttl_seconds, now);
        match self.store.insert(&record).await? {
            Insertion::Inserted => Ok(Encoded { record, newly: true }),
            Insertion::Existing(existing) => match authentic(record.id, existing, &self.keys).await {
                Loaded::Record(existing) if existing.request_digest == record.request_digest => {
                    Ok(Encoded { record: existing, newly: false })
                }
                Loaded::Record(_) => Err(EncodeError::IdempotencyConflict),
                Loaded::Damaged => Err(EncodeError::Damaged),
            },
        }
    }

    fn record(&self, request: EncodeRequest, keys: &SigningKeys, ttl_seconds: u64, now: Timestamp) -> SigilRecord {
        let id = request.idempotency_key.as_ref().map_or_else(SigilId::random, SigilId::of_key);
        let request_digest = request.idempotency_key.is_some().then(|| request_digest(&request));
        let expires_at = now.after(ttl_seconds);
        let claims = Claims {
            id,
            created_at: now.seconds(),
            expires_at: expires_at.seconds(),
            digest: Digest::of(&request.data),
            metadata_digest: request.metadata.as_ref().map(Digest::of),
            request_digest,
            // An id that is random already makes the record unlike any other.
            request_nonce: request.idempotency_key.is_some().then(Uuid::new_v4),
        };
        SigilRecord {
            id,
            token: token::sign(&claims, keys),
            data: request.data,
            metadata: request.metadata,
            created_at: now,
            expires_at,
            revoked_at: None,
            due: expires_at.after(self.lifetimes.retention_seconds),
            request_digest,
            signature: String::new(),
        }
        .signed(keys)
    }
}

/// Returns a digest by which requests with the same idempotency key are told apart. Canonical JSON contains no line
/// feeds, so the parts cannot run together.
fn request_digest(request: &EncodeRequest) -> Digest {
    let metadata = request.metadata.as_ref().map_or("", CanonicalJson::as_str);
    let ttl_seconds = request.ttl_seconds.map(|seconds| seconds.to_string()).unwrap_or_default();
    Digest::of_parts(&[request.data.as_str().as_bytes(), b"\n", metadata.as_bytes(), b"\n", ttl_seconds.as_bytes()])
}
