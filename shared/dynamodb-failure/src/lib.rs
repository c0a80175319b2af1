//! Tells apart how calls to DynamoDB fail, as far as it matters to what a caller does next.

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

/// How a call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The condition of a conditional write did not hold.
    ConditionFailed,
    /// DynamoDB is asked too much: it works, and a later call will succeed.
    Throttled,
    /// No answer came within the time allowed. What was asked may have been done all the same.
    TimedOut,
    /// DynamoDB could not be reached, or answered with an error of its own or with one about the request.
    Failed,
}

/// The answers by which DynamoDB throttles; see
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html>.
const THROTTLING: [&str; 3] = ["ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded"];

impl Failure {
    /// How this call failed.
    pub fn of<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> Self {
        match error {
            SdkError::TimeoutError(_) => Self::TimedOut,
            SdkError::DispatchFailure(failure) if failure.is_timeout() => Self::TimedOut,
            SdkError::ServiceError(answer) => Self::of_answer(answer.err()),
            _ => Self::Failed,
        }
    }

    /// How a call failed that DynamoDB answered with this error.
    pub fn of_answer(error: &impl ProvideErrorMetadata) -> Self {
        match error.code() {
            Some("ConditionalCheckFailedException") => Self::ConditionFailed,
            Some(code) if THROTTLING.contains(&code) => Self::Throttled,
            _ => Self::Failed,
        }
    }
}
