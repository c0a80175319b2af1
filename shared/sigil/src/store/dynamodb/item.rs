//! Maps a record to an item of the table `sigils`, and back.
//!
//! | attribute | type | meaning |
//! |---|---|---|
//! | `id` | S | partition key |
//! | `token` | S | the token as it was issued |
//! | `data`, `metadata` | S | canonical JSON; `metadata` only if there are any |
//! | `created_at`, `expires_at`, `revoked_at` | N | seconds since the epoch; `revoked_at` only if revoked |
//! | `request_digest` | S | only if made with an idempotency key |
//! | `gc_shard`, `due` | S, N | key of the index `due-index`; `due` is the time from which gc may delete the record |
//! | `signature` | S | signature of all of the above and name of its key; see [`record_signature`](crate::record_signature) |
//! | `ttl` | N | time at which DynamoDB itself deletes the record if gc has not |

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use crate::canonical::CanonicalJson;
use crate::digest::Digest;
use crate::keys::MAX_SIGNATURE_BYTES;
use crate::record::{SigilId, SigilRecord};
use crate::store::{EXPIRY_AFTER_DUE_SECONDS, Loaded, gc_shard};
use crate::timestamp::Timestamp;

pub(super) type Item = HashMap<String, AttributeValue>;

pub(super) const ID: &str = "id";
pub(super) const TTL: &str = "ttl";
pub(super) const SIGNATURE: &str = "signature";
pub(super) const DUE_INDEX: &str = "due-index";

pub(super) fn from_record(record: &SigilRecord) -> Item {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    [
        (ID, Some(id(record.id))),
        ("token", Some(text(&record.token))),
        ("data", Some(text(record.data.as_str()))),
        ("metadata", record.metadata.as_ref().map(|metadata| text(metadata.as_str()))),
        ("created_at", Some(time(record.created_at))),
        ("expires_at", Some(time(record.expires_at))),
        ("revoked_at", record.revoked_at.map(time)),
        ("request_digest", record.request_digest.map(|digest| text(&digest.to_string()))),
        ("gc_shard", Some(shard(gc_shard(record.id)))),
        ("due", Some(time(record.due))),
        (TTL, Some(ttl(record.due))),
        (SIGNATURE, Some(text(&record.signature))),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name.to_owned(), value?)))
    .collect()
}

/// Returns the record of an item, or [`Loaded::Damaged`] if no function of this project can have written the item. Only
/// the signature shows whether one has written it.
pub(super) fn to_record(item: &Item) -> Loaded {
    // An additional attribute is as suspicious as a missing one. A record that is mapped back to an item has exactly
    // these.
    read(item).filter(|record| from_record(record) == *item).map_or(Loaded::Damaged, Loaded::Record)
}

fn read(item: &Item) -> Option<SigilRecord> {
    let text = |name: &str| item.get(name)?.as_s().ok();
    // Canonicalizing a canonical text does not change it, so a text that does change was not stored by a function.
    let document = |text: &String| CanonicalJson::from_json(text).ok();
    let optional = |name: &str| item.contains_key(name);
    Some(SigilRecord {
        id: id_of(item)?,
        token: text("token")?.clone(),
        data: document(text("data")?)?,
        metadata: if optional("metadata") { Some(document(text("metadata")?)?) } else { None },
        created_at: timestamp(item, "created_at")?,
        expires_at: timestamp(item, "expires_at")?,
        revoked_at: if optional("revoked_at") { Some(timestamp(item, "revoked_at")?) } else { None },
        due: timestamp(item, "due")?,
        request_digest: if optional("request_digest") { Some(Digest::parse(text("request_digest")?)?) } else { None },
        signature: text(SIGNATURE)?.clone(),
    })
}

pub(super) fn id(id: SigilId) -> AttributeValue {
    AttributeValue::S(id.to_string())
}

pub(super) fn id_of(item: &Item) -> Option<SigilId> {
    SigilId::parse(item.get(ID)?.as_s().ok()?)
}

pub(super) fn time(at: Timestamp) -> AttributeValue {
    AttributeValue::N(at.seconds().to_string())
}

pub(super) fn ttl(due: Timestamp) -> AttributeValue {
    time(due.after(EXPIRY_AFTER_DUE_SECONDS))
}

pub(super) fn revoked_at(item: &Item) -> Option<Timestamp> {
    timestamp(item, "revoked_at")
}

/// Returns the expression values of the update that revokes.
pub(super) fn revocation(revoked: &SigilRecord, read: &str) -> Item {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    [
        (":at", revoked.revoked_at.map(time)),
        (":due", Some(time(revoked.due))),
        (":ttl", Some(ttl(revoked.due))),
        (":signature", Some(text(&revoked.signature))),
        (":read", Some(text(read))),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name.to_owned(), value?)))
    .collect()
}

/// Returns the largest size in bytes that an item can have once the record is revoked, when the active key may have the
/// longest name. A record that had no room for that could be stored, but never revoked.
pub(super) fn size_once_revoked(item: &Item) -> usize {
    let latest = || time(Timestamp::MAX);
    let revocation = [
        ("revoked_at", latest()),
        ("due", latest()),
        (TTL, latest()),
        (SIGNATURE, AttributeValue::S("x".repeat(MAX_SIGNATURE_BYTES))),
    ];
    let kept = item.iter().map(|(name, value)| (name.as_str(), value));
    let kept = kept.filter(|(name, _)| revocation.iter().all(|(set, _)| set != name));
    kept.chain(revocation.iter().map(|(name, value)| (*name, value))).map(|(name, value)| size(name, value)).sum()
}

/// Returns the size of an attribute in bytes, by the rules of
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html>.
fn size(name: &str, value: &AttributeValue) -> usize {
    name.len()
        + match value {
            AttributeValue::S(text) => text.len(),
            // DynamoDB counts about one byte for two digits, and one more.
            AttributeValue::N(digits) => digits.len().div_ceil(2) + 1,
            other => unreachable!("a record has texts and numbers, not {other:?}"),
        }
}

fn shard(shard: u8) -> AttributeValue {
    AttributeValue::S(shard.to_string())
}

fn timestamp(item: &Item, name: &str) -> Option<Timestamp> {
    Timestamp::from_seconds(item.get(name)?.as_n().ok()?.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::{EncodeRequest, Encoder, Lifetimes};
    use crate::keys::{SigningKeys, generate};
    use crate::record::{Caller, IdempotencyKey};
    use crate::store::{LoadRecord, MemoryStore, StorageError};
    use crate::verify::{Verdict, Verifier};
    use proptest::prelude::*;
    use secrets::Secret;

    /// A store with a single item, which tests can change at will.
    struct Holding(Item);

    impl LoadRecord for Holding {
        async fn load(&self, id: SigilId) -> Result<Option<Loaded>, StorageError> {
            Ok((id_of(&self.0) == Some(id)).then(|| to_record(&self.0)))
        }
    }

    /// Returns a sigil that has every optional part, and the keys.
    fn registered() -> (SigilRecord, SigningKeys) {
        // A key's name may have dots, as the signature in an item has after the name.
        let keys = SigningKeys::parse(&generate("2026.11")).unwrap();
        let lifetimes = Lifetimes { max_ttl_seconds: 1000, retention_seconds: 1000 };
        let request = EncodeRequest {
            data: CanonicalJson::from_json(r#"{"order":17,"paid":true,"total":"12.50"}"#).unwrap(),
            metadata: Some(CanonicalJson::from_json(r#"{"by":"till 3"}"#).unwrap()),
            ttl_seconds: None,
            idempotency_key: IdempotencyKey::parse(Caller::anonymous(), "order 17"),
        };
        let encoder = Encoder::new(MemoryStore::default(), Secret::fixed(keys.clone()), lifetimes);
        (block_on(encoder.encode(request, Timestamp::now())).unwrap().record, keys)
    }

    fn verdict(item: Item, token: &str, keys: &SigningKeys) -> Verdict {
        let verifier = Verifier::new(Holding(item), Secret::fixed(keys.verifying().clone()));
        block_on(verifier.verify(token, None, Timestamp::now())).unwrap().verdict
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn a_record_survives_being_an_item() {
        let (record, keys) = registered();
        assert_eq!(to_record(&from_record(&record)), Loaded::Record(record.clone()));
        assert_eq!(verdict(from_record(&record), &record.token, &keys), Verdict::Valid);
    }

    #[test]
    fn an_attribute_more_or_less_is_not_valid() {
        let (record, keys) = registered();
        let item = from_record(&record);
        for name in item.keys() {
            let mut less = item.clone();
            less.remove(name);
            assert_ne!(verdict(less, &record.token, &keys), Verdict::Valid, "without {name}");
        }
        let mut more = item;
        more.insert("note".to_owned(), AttributeValue::S("harmless".to_owned()));
        assert_eq!(verdict(more, &record.token, &keys), Verdict::Tampered);
    }

    proptest! {
        #[test]
        fn any_changed_byte_of_a_stored_record_is_not_valid(
            attribute in any::<prop::sample::Index>(),
            place in any::<prop::sample::Index>(),
            byte in 0u8..128,
        ) {
            let (record, keys) = registered();
            let mut item = from_record(&record);
            let mut names: Vec<_> = item.keys().cloned().collect();
            names.sort();
            let name = attribute.get(&names);
            let value = item.get_mut(name).unwrap();
            let (AttributeValue::S(text) | AttributeValue::N(text)) = value else { unreachable!() };
            let mut bytes = std::mem::take(text).into_bytes();
            let place = place.index(bytes.len());
            prop_assume!(bytes[place] != byte);
            bytes[place] = byte;
            *text = String::from_utf8(bytes).unwrap();
            prop_assert_ne!(verdict(item, &record.token, &keys), Verdict::Valid, "{}", name);
        }

        #[test]
        fn any_changed_byte_of_a_token_is_not_valid(place in any::<prop::sample::Index>(), byte in 0u8..128) {
            let (record, keys) = registered();
            let mut bytes = record.token.clone().into_bytes();
            let place = place.index(bytes.len());
            prop_assume!(bytes[place] != byte);
            bytes[place] = byte;
            let token = String::from_utf8(bytes).unwrap();
            prop_assert_ne!(verdict(from_record(&record), &token, &keys), Verdict::Valid);
        }
    }
}
