//! Tells kinds of failed calls to DynamoDB apart, as far as a caller's next step depends on it.

use std::error::Error;
use std::fmt;

use aws_runtime::retries::classifiers::THROTTLING_ERRORS;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

/// Kind of failure of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// The condition of a conditional write did not hold.
    ConditionFailed,
    /// DynamoDB throttled the call. It works, and a later call will succeed.
    Throttled,
    /// No answer came within the time allowed. The operation may have been carried out all the same.
    TimedOut,
    /// DynamoDB could not be reached, or answered with an error of its own or with one about the request.
    Failed,
}

impl Failure {
    /// Returns the kind of failure of this call.
    pub(super) fn of<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> Self {
        match error {
            SdkError::TimeoutError(_) => Self::TimedOut,
            SdkError::DispatchFailure(failure) if failure.is_timeout() => Self::TimedOut,
            SdkError::ServiceError(answer) => match answer.err().code() {
                Some("ConditionalCheckFailedException") => Self::ConditionFailed,
                Some(code) if THROTTLING_ERRORS.contains(&code) => Self::Throttled,
                _ => Self::Failed,
            },
            _ => Self::Failed,
        }
    }
}

/// Cause of a failed call, for the log: the code and message of DynamoDB's answer, or the reason why there was none. It
/// never contains the answer itself, which may hold stored data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cause(String);

impl Cause {
    /// Returns the cause of this error.
    pub(super) fn of<E, R>(error: &SdkError<E, R>) -> Self
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
