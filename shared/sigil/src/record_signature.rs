//! The signature of a record: what decides a verdict is protected as the data are.
//!
//! encode signs every record that it writes, and verify has only the public side of the keys. So who can write the table
//! but has no key cannot make a record, nor change or take away anything of one: when it expires, whether it was revoked,
//! when it is due. What they can do is to put back, as a whole, a record as it was before; whoever can read the table before
//! and write it after a revocation can undo the revocation. IAM must see to that: only the functions' roles write it.
//!
//! What is signed begins with a word that no token's signing input (RFC 7515, section 5.1) begins with, so a record's
//! signature is never a token's, nor the other way round.

use secrets::Secret;

use crate::digest::Digest;
use crate::keys::{SigningKeys, VerifyingKeys, check_with};
use crate::record::{SigilId, SigilRecord};
use crate::store::Loaded;

impl SigilRecord {
    /// Signs the record as it is now with the active key.
    #[must_use]
    pub fn signed(self, keys: &SigningKeys) -> Self {
        Self { signature: keys.sign(&signed_text(&self)), ..self }
    }
}

/// Returns the record if one of these keys has signed it as it is. Otherwise it is damaged, and the log names it. Call this
/// before a record is shown or used.
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

/// Returns all of the record, one line for each part. No part can have a line feed in it.
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
