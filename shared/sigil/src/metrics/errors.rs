//! Declares `sigil_error_total`, which counts failed requests by operation and by reason.

use prometheus::{Error, IntCounterVec, Opts, Registry};
use strum::{AsRefStr, IntoStaticStr, VariantArray};

use super::registered;
use crate::store::StorageError;

/// Operation, as the value of the label `operation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, AsRefStr)]
#[strum(serialize_all = "snake_case")]
pub enum Operation {
    /// Encoding data.
    Encode,
    /// Revoking a sigil.
    Revoke,
    /// Showing a sigil.
    Get,
    /// Verifying a token.
    Verify,
    /// Collecting garbage.
    Gc,
    /// A request without a route.
    Other,
}

/// Reason of an error, as the value of the label `reason` and as the word that clients receive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray, AsRefStr, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum ErrorReason {
    /// The event is not a request in API Gateway's payload format 2.0.
    UnsupportedEvent,
    /// There is no such route.
    NotFound,
    /// The route does not take this method.
    MethodNotAllowed,
    /// The request is not JSON.
    Malformed,
    /// The request is JSON, but one of its members is not valid.
    Invalid,
    /// The request's `Content-Type` is not JSON.
    UnsupportedMediaType,
    /// There is no such sigil.
    Unknown,
    /// The idempotency key was used for another request.
    Conflict,
    /// The request or the record would be too large.
    TooLarge,
    /// The store is throttled.
    Throttled,
    /// The circuit breaker is open.
    CircuitOpen,
    /// The store failed, or did not answer in time.
    Unavailable,
    /// The stored record is damaged.
    Damaged,
}

impl ErrorReason {
    /// Returns the reason for an error of the store.
    pub fn of(error: &StorageError) -> Self {
        match error {
            StorageError::TooLarge { .. } => Self::TooLarge,
            StorageError::Throttled(_) => Self::Throttled,
            StorageError::CircuitOpen { .. } => Self::CircuitOpen,
            StorageError::TimedOut(_)
            | StorageError::Unavailable(_)
            | StorageError::Refused(_)
            | StorageError::NotSent(_) => Self::Unavailable,
        }
    }

    fn can_befall(self, operation: Operation) -> bool {
        match self {
            Self::UnsupportedEvent | Self::NotFound | Self::MethodNotAllowed => operation == Operation::Other,
            Self::Throttled | Self::CircuitOpen | Self::Unavailable => operation != Operation::Other,
            Self::Malformed | Self::Invalid | Self::UnsupportedMediaType | Self::TooLarge => {
                matches!(operation, Operation::Encode | Operation::Verify)
            }
            Self::Unknown => matches!(operation, Operation::Revoke | Operation::Get),
            Self::Conflict => operation == Operation::Encode,
            Self::Damaged => matches!(operation, Operation::Encode | Operation::Revoke | Operation::Get),
        }
    }
}

/// Counts errors.
#[derive(Debug, Clone)]
pub struct ErrorMetrics {
    errors: IntCounterVec,
}

impl ErrorMetrics {
    /// Registers the counter for the operations of one function.
    pub fn register(registry: &Registry, operations: &[Operation]) -> Result<Self, Error> {
        let opts = Opts::new("sigil_error_total", "Failed requests and gc runs, by operation and reason.");
        let errors = registered(registry, IntCounterVec::new(opts, &["operation", "reason"]))?;
        for operation in operations {
            for reason in ErrorReason::VARIANTS.iter().filter(|reason| reason.can_befall(*operation)) {
                errors.with_label_values(&[operation.as_ref(), reason.as_ref()]);
            }
        }
        Ok(Self { errors })
    }

    /// Counts an error.
    pub fn count(&self, operation: Operation, reason: ErrorReason) {
        self.errors.with_label_values(&[operation.as_ref(), reason.as_ref()]).inc();
    }
}
