//! Tells throttling, refusals and time-outs from the other ways in which a call to DynamoDB can fail.

use aws_runtime::retries::classifiers::THROTTLING_ERRORS;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

/// Returns `true` if DynamoDB answered that it throttles: it works, and a later call will succeed.
pub(crate) fn is_throttling(answer: &impl ProvideErrorMetadata) -> bool {
    answer.code().is_some_and(|code| THROTTLING_ERRORS.contains(&code))
}

/// Returns `true` if DynamoDB answered that the request itself is wrong: the store works, and the same request will be
/// refused again.
pub(crate) fn is_refusal(answer: &impl ProvideErrorMetadata) -> bool {
    answer.code() == Some("ValidationException")
}

/// Returns `true` if no answer came within the time allowed. The call may have taken effect nevertheless.
pub(crate) fn is_timeout<E, R>(error: &SdkError<E, R>) -> bool {
    match error {
        SdkError::TimeoutError(_) => true,
        SdkError::DispatchFailure(failure) => failure.is_timeout(),
        _ => false,
    }
}
