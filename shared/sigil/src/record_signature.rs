//! Signs records: everything that decides a verdict is protected, as the data are.
//!
//! The function `encode` signs every record that it writes, and `verify` has only the public keys. So someone who can
//! write the table but has no key cannot make a record, nor change or remove any part of one: when it expires, whether
//! it was revoked, when it is due. Such a writer can only put back an earlier version of a whole record. Someone who
//! can read the table before a revocation and write it afterwards can thus undo the revocation. IAM must prevent that:
//! only the functions' roles may write the table.
//!
//! The signed text begins with a word that no token's signing input (RFC 7515, section 5.1) begins with. So a record's
//! signature can never serve as a token's, nor a token's as a record's.

use secrets::Secret;

use crate::digest::Digest;
use crate::keys::{SigningKeys, VerifyingKeys, check_with};
use crate::record::{SigilId, SigilRecord};
use crate::store::Loaded;

impl SigilRecord {
    /// Signs the record in its present form with the active key.
    #[must_use]
    pub fn signed(self, keys: &SigningKeys) -> Self {
        Self { signature: keys.sign(&signed_text(&self)), ..self }
    }
}

/// Returns the record if one of these keys has signed it in its present form. Otherwise logs its id and returns
/// [`Loaded::Damaged`]. Call this before a record is shown or used.
pub async fn authentic<K>(id: SigilId, loaded: Loaded, keys: &Secret<K>) -> Loaded
where
    K: AsRef<VerifyingKeys> + Send + Sync,
{
    if let Loaded::Record(record) = loaded {
        let text = signed_text(&record);
        match check_with(keys, |keys| keys.check(&text, &record.signature)).await {
            Ok(()) => return Loaded::Record(record),
            Err(error) => tracing::error!(%id, %error, "a record is damaged: its signature is not valid"),
        }
    } else {
        tracing::error!(%id, "a record is damaged: no function of this project writes such an item");
    }
    Loaded::Damaged
}

/// Returns the text that is signed: the whole record, one line for each part. No part can contain a line feed.
fn signed_text(record: &SigilRecord) -> String {
    let digest = |digest: Option<Digest>| digest.map_or_else(|| "none".to_owned(), |digest| digest.to_string());
    let lines = [
        "sigil record 1".to_owned(),
        record.id.to_string(),
        Digest::of_parts(&[record.token.as_bytes()]).to_string(),
        record.digest().to_string(),
        digest(record.metadata.as_ref().map(Digest::of)),
        digest(record.request_digest),
        record.created_at.seconds().to_string(),
        record.expires_at.seconds().to_string(),
        record.revoked_at.map_or_else(|| "none".to_owned(), |at| at.seconds().to_string()),
        record.due.seconds().to_string(),
    ];
    lines.join("\n")
}
