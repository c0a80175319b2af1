//! Reads Secrets Manager.

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::config::http::HttpResponse;
use aws_sdk_secretsmanager::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueError;

use crate::arn::SecretArn;
use crate::error::SecretError;

/// Label of the current version.
const CURRENT: &str = "AWSCURRENT";
/// Label of the previous version. Secrets Manager moves this label by itself.
const PREVIOUS: &str = "AWSPREVIOUS";

/// A client of Secrets Manager.
#[derive(Debug, Clone)]
pub struct SecretStore {
    client: Client,
}

impl SecretStore {
    /// Wraps a client. The client's time-outs limit how long a request can wait for a renewal.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// Returns the current value.
    pub async fn current(&self, arn: &SecretArn) -> Result<String, SecretError> {
        self.version(arn, CURRENT).await?.ok_or_else(|| arn.unreadable("it has no current value".to_owned()))
    }

    /// Returns the previous value, if there is one.
    pub async fn previous(&self, arn: &SecretArn) -> Result<Option<String>, SecretError> {
        self.version(arn, PREVIOUS).await
    }

    async fn version(&self, arn: &SecretArn, stage: &str) -> Result<Option<String>, SecretError> {
        let get = self.client.get_secret_value().secret_id(arn.as_str()).version_stage(stage);
        match get.send().await {
            Ok(output) => match output.secret_string {
                Some(text) => Ok(Some(text)),
                None => Err(arn.unreadable("a text is needed, not bytes".to_owned())),
            },
            Err(error) if error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()) => {
                Ok(None)
            }
            Err(error) => Err(SecretError::Unavailable { arn: arn.clone(), reason: reason(&error) }),
        }
    }
}

/// Returns the reason for which a call failed, with nothing of the answer but the name and the message of a refusal.
/// The SDK's own text contains the whole answer if that cannot be parsed, and thus may contain the secret.
fn reason(error: &SdkError<GetSecretValueError, HttpResponse>) -> String {
    match error {
        SdkError::TimeoutError(_) => "Secrets Manager did not answer in time".to_owned(),
        // These errors come from before the request was sent or from the connection, so they contain nothing of an
        // answer.
        SdkError::ConstructionFailure(_) => format!("the request could not be made: {}", DisplayErrorContext(error)),
        SdkError::DispatchFailure(failure) => {
            let cause = failure.as_connector_error().map(|cause| DisplayErrorContext(cause).to_string());
            format!("Secrets Manager could not be reached: {}", cause.unwrap_or_default())
        }
        SdkError::ServiceError(refusal)
            if refusal.raw().status().is_client_error() && refusal.err().code().is_some() =>
        {
            let (code, message) =
                (refusal.err().code().unwrap_or_default(), refusal.err().message().unwrap_or_default());
            format!("Secrets Manager refused: {code}: {message}")
        }
        other => {
            let status = other.raw_response().map_or(0, |response| response.status().as_u16());
            format!("Secrets Manager gave an invalid answer with status {status}")
        }
    }
}
