//! Sets one deadline for everything that an invocation waits for.
//!
//! The time budget of each call is not enough: reading a secret that is due and calling a silent table would each take
//! their full budget, one after the other. So each invocation has a deadline, and no call of its [clients](crate::aws)
//! gets more time than is left until then. The deadline belongs to the task, as in gRPC, so nothing between handler and
//! client has to pass it on.

use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use lambda_runtime::LambdaInvocation;
use tokio::task::futures::TaskLocalFuture;
use tower::{Layer, Service};

/// Part of an invocation's time that is kept for posting the response and for publishing metrics after it, which may
/// take [1 s](crate::aws::Budget::PUBLISH).
const RESERVE: Duration = Duration::from_millis(1500);

tokio::task_local! {
    static DEADLINE: Instant;
}

/// Returns the deadline of the invocation that this task serves. If there is none, returns the time `limit` from now.
pub fn current_or(limit: Duration) -> Instant {
    current().unwrap_or_else(|| Instant::now() + limit)
}

pub(crate) fn current() -> Option<Instant> {
    DEADLINE.try_with(|deadline| *deadline).ok()
}

/// Runs a future under a deadline.
#[cfg(test)]
pub(crate) fn scope<F: Future>(deadline: Instant, future: F) -> TaskLocalFuture<Instant, F> {
    DEADLINE.scope(deadline, future)
}

/// Layer that gives each invocation its deadline.
#[derive(Debug, Clone, Copy)]
pub struct DeadlineLayer {
    limit: Duration,
}

impl DeadlineLayer {
    /// Creates a layer that limits an invocation to `limit`, or to the time that Lambda leaves if that is less.
    pub fn new(limit: Duration) -> Self {
        Self { limit }
    }
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = DeadlineService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        DeadlineService { inner, limit: self.limit }
    }
}

/// Service that gives each invocation its deadline. See [`DeadlineLayer`].
#[derive(Debug, Clone)]
pub struct DeadlineService<S> {
    inner: S,
    limit: Duration,
}

impl<S: Service<LambdaInvocation>> Service<LambdaInvocation> for DeadlineService<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = TaskLocalFuture<Instant, S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, invocation: LambdaInvocation) -> Self::Future {
        let allowed = allowed(self.limit, invocation.context.deadline(), SystemTime::now());
        let deadline = Instant::now() + allowed;
        let response = DEADLINE.sync_scope(deadline, || self.inner.call(invocation));
        DEADLINE.scope(deadline, response)
    }
}

/// Returns the time for an invocation that Lambda ends at `ends_at`: `limit`, or less if Lambda leaves less.
fn allowed(limit: Duration, ends_at: SystemTime, now: SystemTime) -> Duration {
    match ends_at.duration_since(now) {
        Ok(left) => limit.min(left.saturating_sub(RESERVE)),
        // Lambda never passes on an event whose time is over. Emulators send a constant time in the distant past.
        Err(_) => limit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lambda_may_leave_less_than_the_limit_and_never_more() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let limit = Duration::from_secs(9);
        let allowed = |left: Duration| allowed(limit, now + left, now);
        assert_eq!(allowed(Duration::from_secs(60)), limit);
        assert_eq!(allowed(Duration::from_secs(10)), Duration::from_millis(8500));
        assert_eq!(allowed(Duration::from_secs(1)), Duration::ZERO);
    }

    #[test]
    fn a_deadline_long_past_is_none() {
        let limit = Duration::from_secs(9);
        assert_eq!(allowed(limit, SystemTime::UNIX_EPOCH, SystemTime::now()), limit);
    }
}
