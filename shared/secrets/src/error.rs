//! Why a secret could not be read.

use env_settings::Expected;

use crate::arn::SecretArn;

/// Error of reading a secret. It never repeats any part of the value.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SecretError {
    /// Secrets Manager returned no value.
    #[error("the secret {arn} could not be read: {reason}")]
    Unavailable {
        /// The secret.
        arn: SecretArn,
        /// Why, in words that are safe to log.
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

impl SecretArn {
    /// Returns the error for a value, or a part of one, that is not what it must be.
    pub fn unreadable(&self, expected: Expected) -> SecretError {
        SecretError::Unreadable { arn: self.clone(), expected }
    }
}
