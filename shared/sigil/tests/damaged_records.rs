//! Shows that someone who can write the table but has no key cannot make a record say something else: every route that
//! uses a record detects the change, and no route repairs the record.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use harness::kit::dynamodb_local::DynamoDbLocal;
use harness::kit::tables;
use secrets::Secret;
use sigil::canonical::CanonicalJson;
use sigil::encode::{EncodeError, EncodeRequest, Encoder, Lifetimes};
use sigil::keys::{SigningKeys, VerifyingKeys, generate};
use sigil::record::{Caller, IdempotencyKey, SigilId, SigilRecord};
use sigil::revoke::{RevokeError, Revoker};
use sigil::store::{DynamoDbStore, Loaded};
use sigil::timestamp::Timestamp;
use sigil::verify::{Verdict, Verifier};

const LIFETIMES: Lifetimes = Lifetimes { max_ttl_seconds: 1000, retention_seconds: 100 };

type Item = HashMap<String, AttributeValue>;

/// Name of a change to a record, and the change itself.
type Attack<'a> = (&'static str, &'a dyn Fn(&mut Item));

struct Service {
    _folder: tempfile::TempDir,
    _dynamodb: DynamoDbLocal,
    client: Client,
    encoder: Encoder<DynamoDbStore>,
    revoker: Revoker<DynamoDbStore>,
    verifier: Verifier<DynamoDbStore>,
}

/// Returns a time far ahead. DynamoDB Local expires items by its own clock, and must not expire these.
fn at(seconds: u64) -> Timestamp {
    Timestamp::from_seconds(4_000_000_000 + seconds).unwrap()
}

fn request(key: &str) -> EncodeRequest {
    EncodeRequest {
        data: CanonicalJson::from_json(r#"{"a":1}"#).unwrap(),
        metadata: Some(CanonicalJson::from_json("{}").unwrap()),
        ttl_seconds: None,
        idempotency_key: IdempotencyKey::parse(Caller::anonymous(), key),
    }
}

impl Service {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dynamodb = DynamoDbLocal::start_in_memory(&folder.path().join("dynamodb.log")).await.unwrap();
        let client = dynamodb.client();
        tables::create(&client).await.unwrap();
        let store = DynamoDbStore::new(client.clone(), tables::SIGILS);
        let text = generate("test");
        let keys = Secret::fixed(SigningKeys::parse(&text).unwrap());
        Self {
            _folder: folder,
            _dynamodb: dynamodb,
            client,
            encoder: Encoder::new(store.clone(), keys.clone(), LIFETIMES),
            revoker: Revoker::new(store.clone(), keys, 100),
            verifier: Verifier::new(store, Secret::fixed(VerifyingKeys::parse(&text).unwrap())),
        }
    }

    async fn encode(&self, key: &str) -> SigilRecord {
        self.encoder.encode(request(key), at(0)).await.unwrap().record
    }

    async fn item(&self, id: SigilId) -> Item {
        let get = self.client.get_item().table_name(tables::SIGILS).key("id", AttributeValue::S(id.to_string()));
        get.consistent_read(true).send().await.unwrap().item.unwrap()
    }

    async fn put(&self, item: Item) {
        self.client.put_item().table_name(tables::SIGILS).set_item(Some(item)).send().await.unwrap();
    }

    /// Asserts that every route finds the stored record damaged, and that no route changes it.
    async fn is_found_out(&self, record: &SigilRecord, key: &str, how: &str) {
        let stored = self.item(record.id).await;
        let verification = self.verifier.verify(&record.token, None, at(1)).await.unwrap();
        assert_eq!((verification.verdict, verification.record), (Verdict::Tampered, None), "{how}");
        assert_eq!(self.verifier.load(record.id).await.unwrap(), Some(Loaded::Damaged), "{how}");
        let repeated = self.encoder.encode(request(key), at(1)).await;
        assert!(matches!(repeated, Err(EncodeError::Damaged)), "{how}: {repeated:?}");
        let revoked = self.revoker.revoke(record.id, at(1)).await;
        assert!(matches!(revoked, Err(RevokeError::Damaged)), "{how}: {revoked:?}");
        assert_eq!(self.item(record.id).await, stored, "{how}: it stays as evidence");
    }
}

fn number(at: Timestamp) -> AttributeValue {
    AttributeValue::N(at.seconds().to_string())
}

#[tokio::test]
async fn a_changed_record_is_found_out_on_every_route() {
    let service = Service::start().await;
    let record = service.encode("a").await;
    let active = service.item(record.id).await;
    let other = service.item(service.encode("b").await.id).await;
    service.revoker.revoke(record.id, at(0)).await.unwrap().unwrap();
    let revoked = service.item(record.id).await;
    assert_eq!(service.verifier.verify(&record.token, None, at(1)).await.unwrap().verdict, Verdict::Revoked);

    let expiry = at(500).after(sigil::store::EXPIRY_AFTER_DUE_SECONDS);
    let attacks: [Attack<'_>; 14] = [
        ("the revocation is removed", &|item| drop(item.remove("revoked_at"))),
        ("the revocation is removed with all that came with it", &|item| {
            item.remove("revoked_at");
            for name in ["due", "ttl"] {
                item.insert(name.into(), active[name].clone());
            }
        }),
        ("the revocation is earlier", &|item| drop(item.insert("revoked_at".into(), number(at(1))))),
        ("it is due later", &|item| {
            item.insert("due".into(), number(at(500)));
            item.insert("ttl".into(), number(expiry));
        }),
        ("it expires later", &|item| drop(item.insert("expires_at".into(), number(at(5000))))),
        ("it was made earlier", &|item| drop(item.insert("created_at".into(), number(at(1))))),
        ("the data are others", &|item| drop(item.insert("data".into(), AttributeValue::S("2".into())))),
        ("the metadata are gone", &|item| drop(item.remove("metadata"))),
        ("the token is another's", &|item| drop(item.insert("token".into(), other["token"].clone()))),
        ("the request is another's", &|item| drop(item.remove("request_digest"))),
        ("the signature is gone", &|item| drop(item.remove("signature"))),
        ("the signature is another record's", &|item| {
            drop(item.insert("signature".into(), other["signature"].clone()));
        }),
        ("the signature names no key", &|item| drop(item.insert("signature".into(), AttributeValue::S("x.y".into())))),
        ("the whole record is another's", &|item| {
            let id = item["id"].clone();
            item.clone_from(&other);
            item.insert("id".into(), id);
        }),
    ];
    for (how, attack) in attacks {
        let mut item = revoked.clone();
        attack(&mut item);
        service.put(item).await;
        service.is_found_out(&record, "a", how).await;
    }
    service.put(revoked).await;
    assert_eq!(service.verifier.verify(&record.token, None, at(1)).await.unwrap().verdict, Verdict::Revoked);
}

/// Shows the documented limit: a record that is put back as a whole has a valid signature. Only IAM prevents that, by
/// restricting who may write the table.
#[tokio::test]
async fn a_record_put_back_as_it_was_passes() {
    let service = Service::start().await;
    let record = service.encode("a").await;
    let active = service.item(record.id).await;
    service.revoker.revoke(record.id, at(0)).await.unwrap().unwrap();
    service.put(active).await;
    assert_eq!(service.verifier.verify(&record.token, None, at(1)).await.unwrap().verdict, Verdict::Valid);
}

/// A key may be used again once its record was deleted. The first sigil's token is then as good as it was: nobody changed
/// anything.
#[tokio::test]
async fn a_token_whose_key_was_used_again_has_no_record_and_is_not_called_tampered() {
    let service = Service::start().await;
    let with_ttl = || EncodeRequest { ttl_seconds: Some(100), ..request("a") };
    let first = service.encoder.encode(with_ttl(), at(0)).await.unwrap().record;
    let key = AttributeValue::S(first.id.to_string());
    service.client.delete_item().table_name(tables::SIGILS).key("id", key).send().await.unwrap();
    let second = service.encoder.encode(with_ttl(), at(50)).await.unwrap().record;
    assert_eq!(first.id, second.id);

    for (token, now, expected) in [
        (&first.token, 60, Verdict::Unknown),
        (&first.token, 100, Verdict::Expired),
        (&second.token, 100, Verdict::Valid),
    ] {
        let found = service.verifier.verify(token, None, at(now)).await.unwrap();
        assert_eq!((found.verdict, found.record.is_some()), (expected, expected == Verdict::Valid), "after {now} s");
    }
}
