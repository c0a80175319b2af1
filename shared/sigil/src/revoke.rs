//! Revokes sigils: from then on they are worth nothing.

use secrets::Secret;

use crate::keys::SigningKeys;
use crate::record::{SigilId, SigilRecord};
use crate::record_signature::authentic;
use crate::store::{LoadRecord, Loaded, RevokeRecord, Revoking, StorageError};
use crate::timestamp::Timestamp;

/// The time of a revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revocation {
    /// The time of the first revocation.
    pub at: Timestamp,
    /// Whether this request revoked it.
    pub newly: bool,
}

/// Error of revoking.
#[derive(Debug, thiserror::Error)]
pub enum RevokeError {
    /// The record was changed by someone else. Signing it anew would make what they did ours.
    #[error("the record is damaged")]
    Damaged,
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Revokes sigils.
#[derive(Debug)]
pub struct Revoker<S> {
    store: S,
    keys: Secret<SigningKeys>,
    retention_seconds: u64,
}

impl<S: LoadRecord + RevokeRecord> Revoker<S> {
    /// Revokes sigils of this store, whose records are signed anew by these keys and then kept for so long.
    pub fn new(store: S, keys: Secret<SigningKeys>, retention_seconds: u64) -> Self {
        Self { store, keys, retention_seconds }
    }

    /// Revokes a sigil. One that was revoked before keeps its first time; `None` means that there is no such sigil.
    pub async fn revoke(&self, id: SigilId, now: Timestamp) -> Result<Option<Revocation>, RevokeError> {
        let mut stored = self.store.load(id).await?;
        loop {
            let Some(found) = stored else { return Ok(None) };
            let Loaded::Record(record) = authentic(id, found, &self.keys).await else {
                return Err(RevokeError::Damaged);
            };
            if let Some(at) = record.revoked_at {
                return Ok(Some(Revocation { at, newly: false }));
            }
            let read = record.signature.clone();
            let due = now.after(self.retention_seconds);
            let revoked = SigilRecord { revoked_at: Some(now), due, ..record }.signed(&*self.keys.get().await);
            match self.store.revoke(&revoked, &read).await? {
                Revoking::Revoked => return Ok(Some(Revocation { at: now, newly: true })),
                // Another revocation was faster, or the record was deleted, and perhaps made anew under its idempotency
                // key. What is there now decides; only the last of these goes round again.
                Revoking::Changed(now_stored) => stored = now_stored,
            }
        }
    }
}
