//! Keeps a put from being signed long after it was decided on.

use std::sync::Mutex;
use std::time::Duration;

use aws_sdk_dynamodb::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use tokio::time::Instant;

use crate::elapsed::ElapsedClock;

/// Time for which a put may wait for its signature, in the SDK's retries for instance.
const LONGEST_WAIT: Duration = Duration::from_mins(5);

/// Interceptor of one put that refuses to sign it, or to repeat it, once it has waited too long.
///
/// A snapshot names a structure that was stored when the put began, and a structure tells when it was renewed. An
/// environment can be frozen between two attempts for so long that gc has deleted the structure meanwhile, or another
/// environment has renewed it. What was signed before the freeze does no harm, since AWS refuses old signatures.
#[derive(Debug)]
pub(super) struct SignedSoon {
    clock: Mutex<ElapsedClock>,
    begun: Instant,
}

impl SignedSoon {
    /// Creates an interceptor of a put that begins now.
    pub(super) fn new() -> Self {
        let mut clock = ElapsedClock::new();
        Self { begun: clock.now(), clock: Mutex::new(clock) }
    }
}

impl Intercept for SignedSoon {
    fn name(&self) -> &'static str {
        "SignedSoon"
    }

    fn read_before_signing(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let now = self.clock.lock().expect("no one panics while holding the lock").now();
        if now.saturating_duration_since(self.begun) > LONGEST_WAIT {
            return Err("the environment was frozen for too long since the put began".into());
        }
        Ok(())
    }
}
