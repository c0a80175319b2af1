//! The tokens that are accepted, from where the settings say.

use secrets::secret::failures;
use secrets::{Secret, SecretArn, SecretError, SecretStore, Source};

use crate::access::Token;

/// The tokens of this source, renewed as the secret rotates.
pub async fn load(source: Source<Vec<Token>>, store: SecretStore) -> Result<Secret<Vec<Token>>, SecretError> {
    match source {
        Source::Literal(tokens) => Ok(Secret::fixed(tokens)),
        Source::Stored(arn) => {
            let read = move || {
                let (store, arn) = (store.clone(), arn.clone());
                async move { both_versions(&store, &arn).await }
            };
            // This function publishes no metrics, so a renewal that fails shows in its log alone.
            Secret::load(read, failures()).await
        }
    }
}

/// The current version and the one before it: Secrets Manager keeps both through a rotation, and so scrapes go on until
/// Prometheus has the new one.
async fn both_versions(store: &SecretStore, arn: &SecretArn) -> Result<Vec<Token>, SecretError> {
    let mut tokens = vec![arn.parsed(Token::parse, &store.current(arn).await?)?];
    if let Some(previous) = store.previous(arn).await? {
        tokens.push(arn.parsed(Token::parse, &previous)?);
    }
    Ok(tokens)
}
