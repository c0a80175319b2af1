//! Reading Secrets Manager.

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::DisplayErrorContext;

use crate::source::SecretArn;

/// The version that is in use.
const CURRENT: &str = "AWSCURRENT";
/// The version that was in use before it. Secrets Manager moves this label by itself.
const PREVIOUS: &str = "AWSPREVIOUS";

/// Why a secret could not be read. It never repeats any part of the value.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SecretError {
    /// Secrets Manager gave no value.
    #[error("the secret {arn} could not be read: {reason}")]
    Unavailable {
        /// The secret.
        arn: SecretArn,
        /// What the SDK says.
        reason: String,
    },
    /// The value is not what it must be.
    #[error("the secret {arn} is wrong: {expected}")]
    Unreadable {
        /// The secret.
        arn: SecretArn,
        /// What is wrong with it, and what is allowed.
        expected: String,
    },
}

/// Secrets Manager.
#[derive(Debug, Clone)]
pub struct SecretStore {
    client: Client,
}

impl SecretStore {
    /// The store that this client reads. The client's time-outs bound how long a request can wait for a renewal.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// The value in use.
    pub async fn current(&self, arn: &SecretArn) -> Result<String, SecretError> {
        let unavailable = || SecretError::Unavailable { arn: arn.clone(), reason: "it has no value".to_owned() };
        self.version(arn, CURRENT).await?.ok_or_else(unavailable)
    }

    /// The value that was in use before the current one, if there was one.
    pub async fn previous(&self, arn: &SecretArn) -> Result<Option<String>, SecretError> {
        self.version(arn, PREVIOUS).await
    }

    async fn version(&self, arn: &SecretArn, stage: &str) -> Result<Option<String>, SecretError> {
        let get = self.client.get_secret_value().secret_id(arn.as_str()).version_stage(stage);
        match get.send().await {
            Ok(output) => match output.secret_string {
                Some(text) => Ok(Some(text)),
                None => {
                    Err(SecretError::Unreadable { arn: arn.clone(), expected: "a text is needed, not bytes".into() })
                }
            },
            Err(error) if error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()) => {
                Ok(None)
            }
            Err(error) => {
                Err(SecretError::Unavailable { arn: arn.clone(), reason: DisplayErrorContext(&error).to_string() })
            }
        }
    }
}
