//! Defines the errors of a request, and turns them into responses.

use std::time::Duration;

use function_runtime::http::UnsupportedEvent;
use function_runtime::http::request::NoText;
use function_runtime::problem::{Faults, Problem};
use lambda_http::http::StatusCode;
use sigil::canonical::{CanonicalError, MAX_BYTES};
use sigil::encode::EncodeError;
use sigil::metrics::ErrorReason;
use sigil::revoke::RevokeError;
use sigil::store::StorageError;
use sigil::verify::VerifyError;

/// `Retry-After` of a request that failed because the store failed.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Error of a request.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The event is not a request.
    #[error(transparent)]
    UnsupportedEvent(#[from] UnsupportedEvent),
    /// There is no such route.
    #[error("there is no such route; {0}")]
    NotFound(&'static str),
    /// The route does not take this method.
    #[error("allowed methods: {allowed}")]
    MethodNotAllowed {
        /// The methods that the route takes.
        allowed: &'static str,
    },
    /// The request's `Content-Type` is not JSON.
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
    /// The request's body is not text.
    #[error("the body is not JSON: {0}")]
    NoText(NoText),
    /// The request's body is longer than [`MAX_BODY_BYTES`](crate::body::MAX_BODY_BYTES).
    #[error("the body has more than the {limit} bytes that are allowed")]
    TooLarge {
        /// Length of the longest body that is read, in bytes.
        limit: usize,
    },
    /// A member of the request has a canonical form that is longer than any record.
    #[error("{0:?} has more than the {MAX_BYTES} bytes that are allowed, in its canonical form (RFC 8785)")]
    MemberTooLarge(&'static str),
    /// Members of the request are missing, unknown or not valid.
    #[error("the request is invalid; see `faults`")]
    Invalid(Faults),
    /// There is no such sigil.
    #[error("there is no sigil with this id")]
    Unknown,
    /// The idempotency key was used for another request.
    #[error("the idempotency key was used before, for another request")]
    Conflict,
    /// The stored record was changed by something other than this service.
    #[error("the record is damaged")]
    Damaged,
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl ApiError {
    /// Returns the status of the response.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::UnsupportedEvent(_) | Self::Malformed { .. } | Self::NoText(_) | Self::Invalid(_) => {
                StatusCode::BAD_REQUEST
            }
            Self::NotFound(_) | Self::Unknown => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict => StatusCode::CONFLICT,
            // Not 503: the store would refuse the same request again, so the client is not to repeat it.
            Self::Damaged | Self::Storage(StorageError::Refused(_)) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::TooLarge { .. } | Self::MemberTooLarge(_) | Self::Storage(StorageError::TooLarge { .. }) => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Self::Storage(StorageError::Throttled(_)) => StatusCode::TOO_MANY_REQUESTS,
            Self::Storage(
                StorageError::CircuitOpen { .. }
                | StorageError::TimedOut(_)
                | StorageError::Unavailable(_)
                | StorageError::NotSent(_),
            ) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Returns the reason, for programs and for metrics.
    pub fn reason(&self) -> ErrorReason {
        match self {
            Self::UnsupportedMediaType => ErrorReason::UnsupportedMediaType,
            Self::UnsupportedEvent(_) => ErrorReason::UnsupportedEvent,
            Self::NotFound(_) => ErrorReason::NotFound,
            Self::MethodNotAllowed { .. } => ErrorReason::MethodNotAllowed,
            Self::Malformed { .. } | Self::NoText(_) => ErrorReason::Malformed,
            Self::TooLarge { .. } | Self::MemberTooLarge(_) => ErrorReason::TooLarge,
            Self::Invalid(_) => ErrorReason::Invalid,
            Self::Unknown => ErrorReason::Unknown,
            Self::Conflict => ErrorReason::Conflict,
            Self::Damaged => ErrorReason::Damaged,
            Self::Storage(error) => ErrorReason::of(error),
        }
    }

    /// Returns the response to the client. The cause is only logged.
    pub fn into_problem(self) -> Problem {
        if self.status().is_server_error() {
            tracing::error!(error = &self as &dyn std::error::Error, "a request failed");
        }
        match self {
            Self::UnsupportedEvent(event) => return Problem::unsupported_event(&event),
            Self::MethodNotAllowed { allowed } => return Problem::method_not_allowed(allowed),
            _ => {}
        }
        let problem = Problem::new(self.status(), self.reason().into(), self.to_string());
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

impl From<EncodeError> for ApiError {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::IdempotencyConflict => Self::Conflict,
            EncodeError::Damaged => Self::Damaged,
            EncodeError::Storage(error) => Self::Storage(error),
            EncodeError::TtlOutOfRange { max_seconds } => {
                let mut faults = Faults::default();
                faults.push("/ttl_seconds".to_owned(), format!("a whole number from 1 to {max_seconds} is needed"));
                Self::Invalid(faults)
            }
        }
    }
}

impl From<RevokeError> for ApiError {
    fn from(error: RevokeError) -> Self {
        match error {
            RevokeError::Damaged => Self::Damaged,
            RevokeError::Storage(error) => Self::Storage(error),
        }
    }
}

impl From<VerifyError> for ApiError {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Data(error) => Self::Invalid(canonical_faults("data", error)),
            VerifyError::Storage(error) => Self::Storage(error),
        }
    }
}

/// Returns the faults of a member that has no canonical form.
pub fn canonical_faults(name: &str, error: CanonicalError) -> Faults {
    let mut noted = Faults::default();
    match error {
        CanonicalError::NotIJson { faults, more } => {
            for fault in faults {
                noted.push(format!("/{name}{}", fault.pointer), fault.reason.to_string());
            }
            noted.push_unnamed(more);
        }
        CanonicalError::Syntax(_) | CanonicalError::TooLong => noted.push(format!("/{name}"), error.to_string()),
    }
    noted
}

#[cfg(test)]
mod tests {
    use super::*;
    use lambda_http::http::header;
    use sigil::canonical::CanonicalJson;

    #[test]
    fn a_response_names_every_fault_that_a_document_names() {
        let Err(error) = CanonicalJson::from_json(&format!("[{}0]", "1e400,".repeat(100))) else {
            panic!("it has faults")
        };
        let CanonicalError::NotIJson { faults, more } = error.clone() else { panic!("it is JSON: {error}") };
        let told = canonical_faults("data", error);
        assert_eq!((told.named().len(), told.more()), (faults.len(), more));
    }

    #[test]
    fn only_what_may_succeed_later_is_to_be_repeated() {
        let answer = |error| ApiError::Storage(error).into_problem().into_response();
        let refused = answer(StorageError::Refused("it is not valid".into()));
        assert_eq!(refused.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(refused.headers().get(header::RETRY_AFTER), None);
        for (error, status, seconds) in [
            (StorageError::Unavailable("it is gone".into()), StatusCode::SERVICE_UNAVAILABLE, "1"),
            (StorageError::TimedOut("it is silent".into()), StatusCode::SERVICE_UNAVAILABLE, "1"),
            (StorageError::NotSent("no time is left".into()), StatusCode::SERVICE_UNAVAILABLE, "1"),
            (StorageError::Throttled("slow down".into()), StatusCode::TOO_MANY_REQUESTS, "1"),
            (StorageError::CircuitOpen { retry_after: RETRY_AFTER * 4 }, StatusCode::SERVICE_UNAVAILABLE, "4"),
        ] {
            let failed = answer(error);
            assert_eq!(failed.status(), status);
            assert_eq!(failed.headers()[header::RETRY_AFTER], seconds);
        }
    }
}
