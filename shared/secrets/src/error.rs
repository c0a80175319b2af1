//! Defines the errors of reading a secret.

use env_settings::Expected;

use crate::arn::SecretArn;

/// Error of reading a secret. It never repeats any part of the secret's value.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SecretError {
    /// Secrets Manager returned no value, or could not be reached.
    #[error("the secret {arn} could not be read: {reason}")]
    Unavailable {
        /// The secret.
        arn: SecretArn,
        /// Reason, in words that are safe to log.
        reason: String,
    },
    /// The value is not valid.
    #[error("the secret {arn} is wrong: {expected}")]
    Unreadable {
        /// The secret.
        arn: SecretArn,
        /// Description of what is wrong with the value, and of what is allowed.
        expected: String,
    },
}

impl SecretArn {
    /// Returns the error for a value, or a part of a value, that is not valid.
    pub fn unreadable(&self, expected: Expected) -> SecretError {
        SecretError::Unreadable { arn: self.clone(), expected }
    }
}
