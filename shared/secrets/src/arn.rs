//! Parses the ARN of a secret.

use std::fmt;

use env_settings::Expected;

/// The ARN of a secret in Secrets Manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretArn(String);

impl SecretArn {
    /// Parses an ARN.
    pub fn parse(text: &str) -> Result<Self, Expected> {
        // arn:partition:secretsmanager:region:account:secret:name
        let parts: Vec<_> = text.split(':').collect();
        match parts.as_slice() {
            ["arn", _, "secretsmanager", _, _, "secret", name] if !name.is_empty() => Ok(Self(text.to_owned())),
            _ => Err("the ARN of a secret is needed, \
                such as arn:aws:secretsmanager:eu-central-1:123456789012:secret:name-AbCdEf"
                .to_owned()),
        }
    }

    /// Returns the ARN as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_arn_of_a_secret_is_one() {
        assert!(SecretArn::parse("arn:aws-cn:secretsmanager:cn-north-1:123456789012:secret:name-AbCdEf").is_ok());
        for other in [
            "",
            "name",
            "arn:aws:secretsmanager:eu-central-1:123456789012:secret:",
            "arn:aws:secretsmanager:eu-central-1:123456789012:secret",
            "arn:aws:dynamodb:eu-central-1:123456789012:table:name",
        ] {
            assert!(SecretArn::parse(other).is_err(), "{other}");
        }
    }
}
