//! Tells apart how calls to DynamoDB fail, as far as it matters to what a caller does next.

use std::error::Error;
use std::fmt;

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

/// Why a call failed, for the log: the code and message of DynamoDB's answer, or what kept it from answering. Never the answer
/// itself, which may hold what is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause(String);

impl Cause {
    /// Why this call failed.
    pub fn of<E, R>(error: &SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
        R: fmt::Debug + 'static,
    {
        Self(match error {
            SdkError::ServiceError(answer) => {
                let (code, message) = (answer.err().code(), answer.err().message());
                let parts = [Some(code.unwrap_or("an error without a code")), message];
                parts.into_iter().flatten().collect::<Vec<_>>().join(": ")
            }
            SdkError::ResponseError(_) => "the answer cannot be read".to_owned(),
            error => {
                let mut texts = vec![error.to_string()];
                let mut source = error.source();
                while let Some(error) = source {
                    texts.push(error.to_string());
                    source = error.source();
                }
                texts.join(": ")
            }
        })
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Cause {}
