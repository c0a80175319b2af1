//! Revoking: a sigil is not worth anything any more.

use crate::record::SigilId;
use crate::store::{Revocation, RevokeRecord, StorageError};
use crate::timestamp::Timestamp;

/// Revokes sigils.
#[derive(Debug)]
pub struct Revoker<S> {
    store: S,
    retention_seconds: u64,
}

impl<S: RevokeRecord> Revoker<S> {
    /// Revokes sigils of this store, whose records are then kept for so long.
    pub fn new(store: S, retention_seconds: u64) -> Self {
        Self { store, retention_seconds }
    }

    /// Revokes a sigil. One that was revoked before keeps its first time; `None` means that there is no such sigil.
    pub async fn revoke(&self, id: SigilId, now: Timestamp) -> Result<Option<Revocation>, StorageError> {
        self.store.revoke(id, now, now.after(self.retention_seconds)).await
    }
}
