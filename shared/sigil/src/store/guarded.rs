//! A store behind a circuit breaker.
//!
//! When the store fails several times in a row, asking it again only makes every client wait for its time-out. So the
//! breaker opens: calls are refused at once, until a while later one is let through to see whether the store is back.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use failsafe::failure_policy::{ConsecutiveFailures, consecutive_failures};
use failsafe::{Instrument, StateMachine, backoff};

use super::{
    DeleteDue, Deletion, DuePage, InsertRecord, Insertion, ListDue, LoadRecord, Loaded, PageStart, RevokeRecord,
    Revoking, StorageError,
};
use crate::record::{SigilId, SigilRecord};
use crate::timestamp::Timestamp;

/// After how many failures in a row the breaker opens.
const FAILURES: u32 = 5;

/// How long it stays open before a call is let through.
const OPEN_FOR: Duration = Duration::from_secs(5);

/// What a circuit breaker is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Calls go through.
    Closed,
    /// Calls are refused.
    Open,
    /// The next call goes through, and decides what follows.
    HalfOpen,
}

impl BreakerState {
    /// All states.
    pub const ALL: [Self; 3] = [Self::Closed, Self::Open, Self::HalfOpen];

    /// The state as a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// Guards a store by a circuit breaker.
#[derive(Debug, Clone)]
pub struct Guarded<S> {
    store: S,
    breaker: StateMachine<ConsecutiveFailures<backoff::Constant>, BreakerStates>,
    states: BreakerStates,
}

impl<S> Guarded<S> {
    /// Guards this store.
    pub fn new(store: S) -> Self {
        Self::open_for(store, OPEN_FOR)
    }

    fn open_for(store: S, open_for: Duration) -> Self {
        let states = BreakerStates { open_for, opened_at: Arc::default() };
        let policy = consecutive_failures(FAILURES, backoff::constant(open_for));
        Self { store, breaker: StateMachine::new(policy, states.clone()), states }
    }

    /// What the breaker is doing, now and at any later time.
    pub fn states(&self) -> BreakerStates {
        self.states.clone()
    }

    async fn guard<T>(&self, call: impl Future<Output = Result<T, StorageError>>) -> Result<T, StorageError> {
        if !self.breaker.is_call_permitted() {
            return Err(StorageError::CircuitOpen { retry_after: self.states.left_open() });
        }
        let result = call.await;
        match &result {
            Err(StorageError::TimedOut(_) | StorageError::Unavailable(_)) => self.breaker.on_error(),
            // A throttled store works, and says when it is asked too much; refusing calls would not help it sooner. What
            // is wrong with a request says nothing about the store.
            Ok(_)
            | Err(StorageError::Throttled(_) | StorageError::TooLarge { .. } | StorageError::CircuitOpen { .. }) => {
                self.breaker.on_success();
            }
        }
        result
    }
}

/// What a breaker is doing, as its state machine tells.
#[derive(Debug, Clone)]
pub struct BreakerStates {
    open_for: Duration,
    /// Since when the breaker is not closed.
    opened_at: Arc<Mutex<Option<Instant>>>,
}

impl BreakerStates {
    /// The present state. The state machine learns only from the next call that the breaker has been open for long enough;
    /// here it is half open from that time on.
    pub fn current(&self) -> BreakerState {
        match *self.opened_at() {
            None => BreakerState::Closed,
            Some(at) if at.elapsed() < self.open_for => BreakerState::Open,
            Some(_) => BreakerState::HalfOpen,
        }
    }

    fn left_open(&self) -> Duration {
        self.opened_at().map(|at| self.open_for.saturating_sub(at.elapsed())).unwrap_or_default()
    }

    fn opened_at(&self) -> MutexGuard<'_, Option<Instant>> {
        self.opened_at.lock().expect("no one panics while holding the lock")
    }
}

impl Instrument for BreakerStates {
    fn on_call_rejected(&self) {}

    fn on_open(&self) {
        *self.opened_at() = Some(Instant::now());
        tracing::warn!(open_for = ?self.open_for, "the store has failed repeatedly: the circuit breaker opens");
    }

    fn on_half_open(&self) {}

    fn on_closed(&self) {
        let was_open = self.opened_at().take().is_some();
        if was_open {
            tracing::info!("the store works again: the circuit breaker closes");
        }
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
    async fn list_due(&self, shard: u8, now: Timestamp, from: Option<PageStart>) -> Result<DuePage, StorageError> {
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
    use super::*;

    const SHORT: Duration = Duration::from_millis(50);

    fn unavailable() -> Result<(), StorageError> {
        Err(StorageError::Unavailable("it is gone".into()))
    }

    async fn opened() -> Guarded<()> {
        let store = Guarded::open_for((), SHORT);
        for _ in 0..FAILURES {
            assert_eq!(store.states().current(), BreakerState::Closed);
            assert!(matches!(store.guard(async { unavailable() }).await, Err(StorageError::Unavailable(_))));
        }
        store
    }

    async fn half_open() -> Guarded<()> {
        let store = opened().await;
        while store.states().current() != BreakerState::HalfOpen {
            tokio::task::yield_now().await;
        }
        store
    }

    #[tokio::test]
    async fn repeated_failures_open_it_and_it_then_answers_at_once() {
        let store = opened().await;
        assert_eq!(store.states().current(), BreakerState::Open);
        let refused = store.guard(async { panic!("the store is not to be asked") }).await;
        let Err(StorageError::CircuitOpen { retry_after }) = refused.map(|(): ()| ()) else { panic!("it was asked") };
        assert!(retry_after <= SHORT);
    }

    #[tokio::test]
    async fn a_success_after_a_while_closes_it() {
        let store = half_open().await;
        store.guard(async { Ok(()) }).await.unwrap();
        assert_eq!(store.states().current(), BreakerState::Closed);
    }

    #[tokio::test]
    async fn a_failure_after_a_while_opens_it_again() {
        let store = half_open().await;
        assert!(matches!(store.guard(async { unavailable() }).await, Err(StorageError::Unavailable(_))));
        assert_eq!(store.states().current(), BreakerState::Open);
    }

    #[tokio::test]
    async fn throttling_does_not_open_it() {
        let store = Guarded::open_for((), SHORT);
        for _ in 0..3 * FAILURES {
            let throttled: Result<(), _> = Err(StorageError::Throttled("slow down".into()));
            assert!(store.guard(async { throttled }).await.is_err());
        }
        assert_eq!(store.states().current(), BreakerState::Closed);
    }
}
