//! Why a request failed.

use std::time::Duration;

use function_kit::problem::{Fault, Problem};
use lambda_http::http::StatusCode;
use sigil::metrics::ErrorReason;
use sigil::store::StorageError;

/// After how long a request may succeed that failed because the store did.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The request does not say that its body is JSON.
    #[error("the header Content-Type must be application/json")]
    UnsupportedMediaType,
    /// The request's body is not JSON.
    #[error("the body is not JSON: see line {line}, column {column}")]
    Malformed {
        /// The line, from 1.
        line: usize,
        /// The column, from 1, or 0 for the end of the line before.
        column: usize,
    },
    /// Members of the request are not what they must be.
    #[error("the request is not as it must be")]
    Invalid(Vec<Fault>),
    /// There is no such sigil.
    #[error("there is no sigil with this id")]
    Unknown,
    /// The idempotency key was used for another request.
    #[error("the idempotency key was used before, for another request")]
    Conflict,
    /// What is stored was changed by someone else.
    #[error("the record is damaged")]
    Damaged,
    /// The store did not do what it was asked.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl ApiError {
    /// The status that it is answered with.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Malformed { .. } | Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::Unknown => StatusCode::NOT_FOUND,
            Self::Conflict => StatusCode::CONFLICT,
            Self::Damaged => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Storage(StorageError::TooLarge { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Storage(StorageError::Throttled(_)) => StatusCode::TOO_MANY_REQUESTS,
            Self::Storage(
                StorageError::CircuitOpen { .. }
                | StorageError::TimedOut(_)
                | StorageError::Unavailable(_)
                | StorageError::NotSent(_),
            ) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Its word, for programs and for metrics.
    pub fn reason(&self) -> ErrorReason {
        match self {
            Self::UnsupportedMediaType => ErrorReason::UnsupportedMediaType,
            Self::Malformed { .. } => ErrorReason::Malformed,
            Self::Invalid(_) => ErrorReason::Invalid,
            Self::Unknown => ErrorReason::Unknown,
            Self::Conflict => ErrorReason::Conflict,
            Self::Damaged => ErrorReason::Damaged,
            Self::Storage(error) => ErrorReason::of(error),
        }
    }

    /// The problem that the client is told. What lies behind it goes to the log and nowhere else.
    pub fn into_problem(self) -> Problem {
        if self.status().is_server_error() {
            tracing::error!(error = &self as &dyn std::error::Error, "a request failed");
        }
        let problem = Problem::new(self.status(), self.reason().as_str(), self.to_string());
        match self {
            Self::Invalid(faults) => problem.with_faults(faults),
            Self::Storage(StorageError::CircuitOpen { retry_after }) => problem.retry_after(retry_after),
            Self::Storage(
                StorageError::Throttled(_)
                | StorageError::TimedOut(_)
                | StorageError::Unavailable(_)
                | StorageError::NotSent(_),
            ) => problem.retry_after(RETRY_AFTER),
            _ => problem,
        }
    }
}
