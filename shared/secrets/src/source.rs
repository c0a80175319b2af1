//! Reads from environment variables where a secret is.

use std::fmt;
use std::sync::Arc;

use env_settings::{EnvReader, Expected};
use prometheus::IntCounter;

use crate::arn::SecretArn;
use crate::error::SecretError;
use crate::secret::{Reading, Secret};
use crate::store::SecretStore;

/// Parser of a variable's value. Its error says what is allowed.
pub type Parse<T> = fn(&str) -> Result<T, Expected>;

/// Parser of a value in Secrets Manager, given the value in use. The value may change while environments run, so the
/// parser takes the parts that it can use, and refuses only a value of which it can use nothing.
pub type ParseStored<T> = fn(&str, held: Option<&T>) -> Result<Reading<T>, Expected>;

/// Place of a secret.
pub enum Source<T> {
    /// In the variable itself.
    Literal(T),
    /// In Secrets Manager.
    Stored(SecretArn),
}

impl<T: Send + Sync> Source<T> {
    /// Loads the secret. A secret in Secrets Manager is read and parsed now, and at each renewal.
    ///
    /// # Errors
    ///
    /// If Secrets Manager cannot be read now, or if the value is refused.
    pub async fn load(
        self,
        store: SecretStore,
        parse: ParseStored<T>,
        failures: IntCounter,
    ) -> Result<Secret<T>, SecretError>
    where
        T: 'static,
    {
        match self {
            Self::Literal(value) => Ok(Secret::fixed(value)),
            Self::Stored(arn) => {
                let read = move |held: Option<Arc<T>>| {
                    let (store, arn) = (store.clone(), arn.clone());
                    async move {
                        let value = store.current(&arn).await?;
                        let reading = parse(&value, held.as_deref()).map_err(|expected| arn.unreadable(expected))?;
                        let skipped = reading.skipped.into_iter().map(|skipped| arn.unreadable(skipped).to_string());
                        Ok(Reading { value: reading.value, skipped: skipped.collect() })
                    }
                };
                Secret::load(read, failures).await
            }
        }
    }
}

impl<T> fmt::Debug for Source<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(_) => f.write_str("Literal(redacted)"),
            Self::Stored(arn) => f.debug_tuple("Stored").field(arn).finish(),
        }
    }
}

/// Reads a secret that is required: from the variable `name`, or from Secrets Manager under the ARN in the variable
/// `arn_name`. `None` means that a fault was recorded.
pub fn required<T>(
    env: &mut EnvReader,
    name: &'static str,
    arn_name: &'static str,
    parse: impl FnOnce(&str) -> Result<T, Expected>,
) -> Option<Source<T>> {
    match optional(env, name, arn_name, parse)? {
        Some(source) => Some(source),
        None => {
            env.missing_either(name, arn_name);
            None
        }
    }
}

/// Reads a secret as [`required`] does, but the secret may be absent. The outer `None` means that a fault was recorded,
/// the inner `None` that neither variable is set.
pub fn optional<T>(
    env: &mut EnvReader,
    name: &'static str,
    arn_name: &'static str,
    parse: impl FnOnce(&str) -> Result<T, Expected>,
) -> Option<Option<Source<T>>> {
    let literal = env.optional_secret(name, parse);
    // A fault must not repeat this value either: someone who confuses the two variables puts the secret here.
    let arn = env.optional_secret(arn_name, SecretArn::parse);
    match (literal?, arn?) {
        (Some(_), Some(_)) => {
            env.refuse_secret(arn_name, format!("{name} is set as well, and only one of them may be"));
            None
        }
        (Some(literal), None) => Some(Some(Source::Literal(literal))),
        (None, Some(arn)) => Some(Some(Source::Stored(arn))),
        (None, None) => Some(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:name-AbCdEf";

    fn read(variables: &[(&str, &str)]) -> Result<Source<String>, String> {
        let mut env = EnvReader::from_pairs(variables.iter().copied());
        let source = required(&mut env, "KEY", "KEY_SECRET_ARN", |text| match text {
            "wrong" => Err("another is needed".to_owned()),
            text => Ok(text.to_owned()),
        });
        env.finish(|| source).map_err(|error| error.to_string())
    }

    #[test]
    fn a_secret_is_in_the_variable_or_behind_an_arn() {
        assert!(matches!(read(&[("KEY", "right")]), Ok(Source::Literal(value)) if value == "right"));
        assert!(matches!(read(&[("KEY_SECRET_ARN", ARN)]), Ok(Source::Stored(arn)) if arn.as_str() == ARN));
    }

    #[test]
    fn both_neither_and_wrong_values_are_told_by_name() {
        let said = read(&[]).unwrap_err();
        assert!(said.contains("KEY is missing, and so is KEY_SECRET_ARN"), "{said}");
        let said = read(&[("KEY", "hunter2"), ("KEY_SECRET_ARN", ARN)]).unwrap_err();
        assert!(said.contains("KEY is set as well") && !said.contains("hunter2"), "{said}");
        let said = read(&[("KEY", "wrong"), ("KEY_SECRET_ARN", "arn:aws:sqs:eu-central-1:1:queue")]).unwrap_err();
        assert!(said.contains("KEY is set but wrong") && said.contains("the ARN of a secret is needed"), "{said}");
        let said = read(&[("KEY_SECRET_ARN", "hunter2")]).unwrap_err();
        assert!(said.contains("KEY_SECRET_ARN") && !said.contains("hunter2"), "{said}");
    }

    #[test]
    fn a_literal_is_not_logged() {
        assert!(!format!("{:?}", Source::Literal("hunter2")).contains("hunter2"));
    }
}
