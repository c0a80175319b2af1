//! Measures the calls to a store.

use std::future::Future;

use super::{
    DeleteDue, Deletion, DuePage, InsertRecord, Insertion, ListDue, LoadRecord, Loaded, RevokeRecord, Revoking,
    StorageError, StorageOperation,
};
use crate::metrics::StorageMetrics;
use crate::record::{SigilId, SigilRecord};
use crate::timestamp::Timestamp;

/// Measures the duration and the outcome of each call to a store.
#[derive(Debug, Clone)]
pub struct Observed<S> {
    store: S,
    metrics: StorageMetrics,
}

impl<S> Observed<S> {
    /// Creates a store that measures the calls to `store`.
    pub fn new(store: S, metrics: StorageMetrics) -> Self {
        Self { store, metrics }
    }

    async fn observe<T>(
        &self,
        operation: StorageOperation,
        call: impl Future<Output = Result<T, StorageError>>,
    ) -> Result<T, StorageError> {
        let timer = self.metrics.start(operation);
        let result = call.await;
        timer.stop(result.as_ref().err());
        result
    }
}

impl<S: InsertRecord> InsertRecord for Observed<S> {
    async fn insert(&self, record: &SigilRecord) -> Result<Insertion, StorageError> {
        self.observe(StorageOperation::Put, self.store.insert(record)).await
    }
}

impl<S: LoadRecord> LoadRecord for Observed<S> {
    async fn load(&self, id: SigilId) -> Result<Option<Loaded>, StorageError> {
        self.observe(StorageOperation::Get, self.store.load(id)).await
    }
}

impl<S: RevokeRecord> RevokeRecord for Observed<S> {
    async fn revoke(&self, revoked: &SigilRecord, read: &str) -> Result<Revoking, StorageError> {
        self.observe(StorageOperation::Update, self.store.revoke(revoked, read)).await
    }
}

impl<S: ListDue> ListDue for Observed<S> {
    type PageStart = S::PageStart;

    async fn list_due(
        &self,
        shard: u8,
        now: Timestamp,
        from: Option<Self::PageStart>,
    ) -> Result<DuePage<Self::PageStart>, StorageError> {
        self.observe(StorageOperation::Query, self.store.list_due(shard, now, from)).await
    }
}

impl<S: DeleteDue> DeleteDue for Observed<S> {
    async fn delete_due(&self, id: SigilId, now: Timestamp) -> Result<Option<Deletion>, StorageError> {
        self.observe(StorageOperation::Delete, self.store.delete_due(id, now)).await
    }
}
