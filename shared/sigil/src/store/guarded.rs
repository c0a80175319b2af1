//! Puts a store behind a circuit breaker.
//!
//! If the store fails several times in a row, further calls only make every client wait for a time-out. So the breaker
//! opens: it refuses calls at once, and after a while lets one through to see whether the store works again.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::breaker::{Admission, Breaker, BreakerState, Moment, Outcome};
use super::{
    DeleteDue, Deletion, DuePage, InsertRecord, Insertion, ListDue, LoadRecord, Loaded, RevokeRecord, Revoking,
    StorageError,
};
use crate::record::{SigilId, SigilRecord};
use crate::timestamp::Timestamp;

/// Time for which the breaker stays open before it lets a call through.
const OPEN_FOR: Duration = Duration::from_secs(5);

/// Guards a store by a circuit breaker. Clones share the breaker.
#[derive(Debug, Clone)]
pub struct Guarded<S> {
    store: S,
    breaker: SharedBreaker,
}

/// The breaker of a [`Guarded`] store.
#[derive(Debug, Clone)]
pub struct SharedBreaker(Arc<Mutex<Breaker>>);

impl<S> Guarded<S> {
    /// Creates a guard around `store`, with its own breaker.
    pub fn new(store: S) -> Self {
        Self::open_for(store, OPEN_FOR)
    }

    fn open_for(store: S, open_for: Duration) -> Self {
        Self { store, breaker: SharedBreaker(Arc::new(Mutex::new(Breaker::new(open_for)))) }
    }

    /// Returns the breaker, to be observed.
    pub fn breaker(&self) -> SharedBreaker {
        self.breaker.clone()
    }

    async fn guard<T>(&self, call: impl Future<Output = Result<T, StorageError>>) -> Result<T, StorageError> {
        let admitted = self.breaker.lock().admit(Moment::now());
        let admission = admitted.map_err(|retry_after| StorageError::CircuitOpen { retry_after })?;
        let mut call_under_way = CallUnderWay { breaker: &self.breaker, admission, outcome: Outcome::Unknown };
        let result = call.await;
        call_under_way.outcome = outcome(&result);
        result
    }
}

/// Returns what the result of a call says about the store.
fn outcome<T>(result: &Result<T, StorageError>) -> Outcome {
    match result {
        Err(StorageError::TimedOut(_) | StorageError::Unavailable(_)) => Outcome::Failed,
        // A throttled store works, and says itself that it gets too many calls. Refusing calls here would not make it
        // recover sooner. A store that refuses one request works, too.
        Ok(_) | Err(StorageError::Throttled(_) | StorageError::Refused(_)) => Outcome::Answered,
        // These errors come from this side, without a call.
        Err(StorageError::TooLarge { .. } | StorageError::NotSent(_) | StorageError::CircuitOpen { .. }) => {
            Outcome::Unknown
        }
    }
}

/// A call that was admitted. Its outcome is recorded on drop. So a call whose caller gives up waiting, above all a
/// probe, does not keep its place for ever.
struct CallUnderWay<'a> {
    breaker: &'a SharedBreaker,
    admission: Admission,
    outcome: Outcome,
}

impl Drop for CallUnderWay<'_> {
    fn drop(&mut self) {
        let now = Moment::now();
        let mut breaker = self.breaker.lock();
        let before = breaker.state(now);
        breaker.record(self.admission, self.outcome, now);
        match (before, breaker.state(now)) {
            (BreakerState::Closed | BreakerState::HalfOpen, BreakerState::Open) => {
                tracing::warn!("the store has failed repeatedly: the circuit breaker opens");
            }
            (BreakerState::HalfOpen, BreakerState::Closed) => {
                tracing::info!("the store works again: the circuit breaker closes");
            }
            _ => {}
        }
    }
}

impl SharedBreaker {
    /// Returns the present state.
    pub fn state(&self) -> BreakerState {
        self.lock().state(Moment::now())
    }

    fn lock(&self) -> MutexGuard<'_, Breaker> {
        // Every step leaves the breaker consistent, so a poisoned lock is usable.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: InsertRecord> InsertRecord for Guarded<S> {
    async fn insert(&self, record: &SigilRecord) -> Result<Insertion, StorageError> {
        self.guard(self.store.insert(record)).await
    }
}

impl<S: LoadRecord> LoadRecord for Guarded<S> {
    async fn load(&self, id: SigilId) -> Result<Option<Loaded>, StorageError> {
        self.guard(self.store.load(id)).await
    }
}

impl<S: RevokeRecord> RevokeRecord for Guarded<S> {
    async fn revoke(&self, revoked: &SigilRecord, read: &str) -> Result<Revoking, StorageError> {
        self.guard(self.store.revoke(revoked, read)).await
    }
}

impl<S: ListDue> ListDue for Guarded<S> {
    type PageStart = S::PageStart;

    async fn list_due(
        &self,
        shard: u8,
        now: Timestamp,
        from: Option<Self::PageStart>,
    ) -> Result<DuePage<Self::PageStart>, StorageError> {
        self.guard(self.store.list_due(shard, now, from)).await
    }
}

impl<S: DeleteDue> DeleteDue for Guarded<S> {
    async fn delete_due(&self, id: SigilId, now: Timestamp) -> Result<Option<Deletion>, StorageError> {
        self.guard(self.store.delete_due(id, now)).await
    }
}

#[cfg(test)]
mod tests {
    use super::super::breaker::FAILURES;
    use super::*;

    const SHORT: Duration = Duration::from_millis(50);

    fn unavailable() -> StorageError {
        StorageError::Unavailable("it is gone".into())
    }

    fn timed_out() -> StorageError {
        StorageError::TimedOut("it is silent".into())
    }

    /// Returns the errors that arise before anything is sent.
    fn local() -> [StorageError; 3] {
        [
            StorageError::TooLarge { bytes: 2, limit: 1 },
            StorageError::NotSent("no time is left".into()),
            StorageError::CircuitOpen { retry_after: SHORT },
        ]
    }

    async fn ends_with(store: &Guarded<()>, result: Result<(), StorageError>) {
        let is_ok = result.is_ok();
        assert_eq!(store.guard(async { result }).await.is_ok(), is_ok);
    }

    async fn opened() -> Guarded<()> {
        let store = Guarded::open_for((), SHORT);
        for _ in 0..FAILURES {
            assert_eq!(store.breaker().state(), BreakerState::Closed);
            ends_with(&store, Err(unavailable())).await;
        }
        store
    }

    async fn half_open() -> Guarded<()> {
        let store = opened().await;
        while store.breaker().state() != BreakerState::HalfOpen {
            tokio::task::yield_now().await;
        }
        store
    }

    #[tokio::test]
    async fn repeated_failures_open_it_and_it_then_answers_at_once() {
        let store = opened().await;
        assert_eq!(store.breaker().state(), BreakerState::Open);
        let refused = store.guard(async { panic!("the store is not to be asked") }).await;
        let Err(StorageError::CircuitOpen { retry_after }) = refused.map(|(): ()| ()) else { panic!("it was asked") };
        assert!(retry_after <= SHORT);
    }

    #[tokio::test]
    async fn a_store_that_hangs_opens_it_and_keeps_it_open() {
        let store = Guarded::open_for((), SHORT);
        for _ in 0..5 {
            assert_eq!(store.breaker().state(), BreakerState::Closed);
            ends_with(&store, Err(timed_out())).await;
        }
        assert_eq!(store.breaker().state(), BreakerState::Open, "the fifth failure in a row opens it");
        let store = half_open().await;
        ends_with(&store, Err(timed_out())).await;
        assert_eq!(store.breaker().state(), BreakerState::Open);
    }

    #[tokio::test]
    async fn it_stays_open_for_five_seconds() {
        let store = Guarded::new(());
        for _ in 0..5 {
            ends_with(&store, Err(unavailable())).await;
        }
        let refused = store.guard(async { Ok(()) }).await;
        let Err(StorageError::CircuitOpen { retry_after }) = refused else { panic!("{refused:?}") };
        assert!(retry_after <= Duration::from_secs(5) && retry_after > Duration::from_secs(1), "{retry_after:?}");
    }

    #[tokio::test]
    async fn refusals_without_a_call_do_not_hide_failures() {
        let store = Guarded::open_for((), SHORT);
        for _ in 0..FAILURES {
            for error in local() {
                ends_with(&store, Err(error)).await;
            }
            assert_eq!(store.breaker().state(), BreakerState::Closed);
            ends_with(&store, Err(unavailable())).await;
        }
        assert_eq!(store.breaker().state(), BreakerState::Open);
    }

    #[tokio::test]
    async fn a_refusal_without_a_call_is_no_probe() {
        let store = half_open().await;
        for error in local() {
            ends_with(&store, Err(error)).await;
            assert_eq!(store.breaker().state(), BreakerState::HalfOpen);
        }
        ends_with(&store, Ok(())).await;
        assert_eq!(store.breaker().state(), BreakerState::Closed);
    }

    #[tokio::test]
    async fn a_probe_that_is_given_up_makes_room_for_the_next() {
        let store = half_open().await;
        let mut probe = Box::pin(store.guard(std::future::pending::<Result<(), _>>()));
        assert!(futures::poll!(probe.as_mut()).is_pending());
        assert!(matches!(store.guard(async { Ok(()) }).await, Err(StorageError::CircuitOpen { .. })));
        drop(probe);
        ends_with(&store, Ok(())).await;
        assert_eq!(store.breaker().state(), BreakerState::Closed);
    }

    #[tokio::test]
    async fn throttling_and_refusals_do_not_open_it() {
        let store = Guarded::open_for((), SHORT);
        for _ in 0..3 * FAILURES {
            ends_with(&store, Err(StorageError::Throttled("slow down".into()))).await;
        }
        for _ in 0..3 * FAILURES {
            ends_with(&store, Err(StorageError::Refused("it is not valid".into()))).await;
        }
        assert_eq!(store.breaker().state(), BreakerState::Closed);
    }
}
