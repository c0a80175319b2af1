//! Keeps records in memory, for tests. The contract tests hold this store and the one in DynamoDB to the same behavior.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use super::{
    DeleteDue, Deletion, DuePage, InsertRecord, Insertion, ListDue, LoadRecord, Loaded, RevokeRecord, Revoking,
    StorageError, gc_shard,
};
use crate::record::{SigilId, SigilRecord};
use crate::timestamp::Timestamp;

/// Number of ids in a page.
const PAGE: usize = 100;

/// A store in memory. Clones share the records.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    records: Arc<Mutex<BTreeMap<SigilId, SigilRecord>>>,
}

impl MemoryStore {
    fn records(&self) -> MutexGuard<'_, BTreeMap<SigilId, SigilRecord>> {
        self.records.lock().expect("no one panics while holding the lock")
    }
}

impl InsertRecord for MemoryStore {
    async fn insert(&self, record: &SigilRecord) -> Result<Insertion, StorageError> {
        let mut records = self.records();
        let stored = records.entry(record.id).or_insert_with(|| record.clone());
        let own = stored.token == record.token;
        Ok(if own { Insertion::Inserted } else { Insertion::Existing(Loaded::Record(stored.clone())) })
    }
}

impl LoadRecord for MemoryStore {
    async fn load(&self, id: SigilId) -> Result<Option<Loaded>, StorageError> {
        Ok(self.records().get(&id).cloned().map(Loaded::Record))
    }
}

impl RevokeRecord for MemoryStore {
    async fn revoke(&self, revoked: &SigilRecord, read: &str) -> Result<Revoking, StorageError> {
        Ok(match self.records().get_mut(&revoked.id) {
            Some(record) if record.signature == read => {
                (record.revoked_at, record.due) = (revoked.revoked_at, revoked.due);
                record.signature.clone_from(&revoked.signature);
                Revoking::Revoked
            }
            other => Revoking::Changed(other.map(|record| Loaded::Record(record.clone()))),
        })
    }
}

impl ListDue for MemoryStore {
    type PageStart = (Timestamp, SigilId);

    async fn list_due(
        &self,
        shard: u8,
        now: Timestamp,
        from: Option<Self::PageStart>,
    ) -> Result<DuePage<Self::PageStart>, StorageError> {
        let records = self.records();
        let mut due: Vec<_> = records
            .values()
            .filter(|record| gc_shard(record.id) == shard && record.due <= now)
            .map(|record| (record.due, record.id))
            .filter(|entry| from.is_none_or(|from| *entry > from))
            .collect();
        due.sort_unstable();
        let more = due.len() > PAGE;
        due.truncate(PAGE);
        let next = due.last().filter(|_| more).copied();
        Ok(DuePage { ids: due.into_iter().map(|(_, id)| id).collect(), next, read_capacity_units: 0.0 })
    }
}

impl DeleteDue for MemoryStore {
    async fn delete_due(&self, id: SigilId, now: Timestamp) -> Result<Option<Deletion>, StorageError> {
        let mut records = self.records();
        let is_due = records.get(&id).is_some_and(|record| record.due <= now);
        let deleted = if is_due { records.remove(&id) } else { None };
        Ok(deleted.map(|record| match record.revoked_at {
            Some(_) => Deletion::Revoked,
            None => Deletion::Expired,
        }))
    }
}
