//! Revokes sigils. A revoked sigil is no longer valid.

use secrets::Secret;

use crate::keys::SigningKeys;
use crate::record::{SigilId, SigilRecord};
use crate::record_signature::authentic;
use crate::store::{LoadRecord, Loaded, RevokeRecord, Revoking, StorageError};
use crate::timestamp::Timestamp;

/// Time of a revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revocation {
    /// Time of the first revocation.
    pub at: Timestamp,
    /// `true` if this request revoked the sigil, `false` if an earlier one did.
    pub newly: bool,
}

/// Error of revoking.
#[derive(Debug, thiserror::Error)]
pub enum RevokeError {
    /// The record was changed by something other than this service. Signing it again would endorse that change.
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
    /// Creates a revoker of the sigils in `store`. It signs their records again with `keys`, and the records are then
    /// kept for `retention_seconds`.
    pub fn new(store: S, keys: Secret<SigningKeys>, retention_seconds: u64) -> Self {
        Self { store, keys, retention_seconds }
    }

    /// Revokes a sigil. A sigil that was revoked before keeps the time of its first revocation. Returns `None` if there
    /// is no such sigil.
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
                // Another revocation was faster, or the record was deleted and perhaps made again under its idempotency
                // key. The item that is stored now decides: the loop repeats only if it was made again.
                Revoking::Changed(now_stored) => stored = now_stored,
            }
        }
    }
}
