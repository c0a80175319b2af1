//! Tells throttling and time-outs from all else that a call to DynamoDB can fail by.

use aws_runtime::retries::classifiers::THROTTLING_ERRORS;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

/// Returns true if DynamoDB answered that it is asked too much: it works, and a later call will succeed.
pub(crate) fn is_throttling(answer: &impl ProvideErrorMetadata) -> bool {
    answer.code().is_some_and(|code| THROTTLING_ERRORS.contains(&code))
}

/// Returns true if no answer came within the time allowed. What was asked may have been done all the same.
pub(crate) fn is_timeout<E, R>(error: &SdkError<E, R>) -> bool {
    match error {
        SdkError::TimeoutError(_) => true,
        SdkError::DispatchFailure(failure) => failure.is_timeout(),
        _ => false,
    }
}
