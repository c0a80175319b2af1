//! Holds the store in memory and the one in DynamoDB to the same contract.

use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::AttributeValue;
use futures::{StreamExt, TryStreamExt};
use harness::kit::dynamodb_local::DynamoDbLocal;
use harness::kit::fault_proxy::{Fault, FaultProxy};
use harness::kit::tables;
use secrets::Secret;
use sigil::canonical::CanonicalJson;
use sigil::encode::{EncodeError, EncodeRequest, Encoder, Lifetimes};
use sigil::keys::{SigningKeys, generate};
use sigil::record::{Caller, IdempotencyKey, SigilId, SigilRecord};
use sigil::revoke::{Revocation, Revoker};
use sigil::store::{
    DeleteDue, DynamoDbStore, GC_SHARDS, InsertRecord, Insertion, ListDue, LoadRecord, Loaded, MemoryStore,
    RevokeRecord, Revoking, StorageError,
};
use sigil::sweep::sweep;
use sigil::timestamp::Timestamp;
use sigil::verify::{Verdict, Verifier};
use tempfile::TempDir;

const LIFETIMES: Lifetimes = Lifetimes { max_ttl_seconds: 1000, retention_seconds: 100 };

/// Returns a time far ahead. DynamoDB Local expires items by its own clock, and must not expire these.
fn at(seconds: u64) -> Timestamp {
    Timestamp::from_seconds(4_000_000_000 + seconds).unwrap()
}

fn json(text: &str) -> CanonicalJson {
    CanonicalJson::from_json(text).unwrap()
}

fn request(data: &str) -> EncodeRequest {
    EncodeRequest { data: json(data), metadata: None, ttl_seconds: None, idempotency_key: None }
}

fn keys() -> SigningKeys {
    SigningKeys::parse(&generate("test")).unwrap()
}

trait Store: InsertRecord + LoadRecord + RevokeRecord + ListDue + DeleteDue + Clone {}
impl<S: InsertRecord + LoadRecord + RevokeRecord + ListDue + DeleteDue + Clone> Store for S {}

async fn in_dynamodb() -> (TempDir, DynamoDbLocal, DynamoDbStore) {
    let folder = tempfile::tempdir().unwrap();
    let dynamodb = DynamoDbLocal::start_in_memory(&folder.path().join("dynamodb.log")).await.unwrap();
    tables::create(&dynamodb.client()).await.unwrap();
    let store = DynamoDbStore::new(dynamodb.client(), tables::SIGILS);
    (folder, dynamodb, store)
}

async fn keeps_its_contract(store: impl Store) {
    let encoder = Encoder::new(store.clone(), Secret::fixed(keys()), LIFETIMES);
    let record = encoder
        .encode(EncodeRequest { metadata: Some(json(r#"{"by":"me"}"#)), ..request(r#"{"a":"é"}"#) }, at(0))
        .await
        .unwrap()
        .record;
    assert_eq!(store.load(record.id).await.unwrap(), Some(Loaded::Record(record.clone())));
    assert_eq!(store.load(SigilId::random()).await.unwrap(), None);

    // There is one record for each id, and an existing record stays.
    let other = SigilRecord { token: "another".to_owned(), ..record.clone() };
    assert_eq!(store.insert(&other).await.unwrap(), Insertion::Existing(Loaded::Record(record.clone())));

    // The record itself is no other: it was stored by an earlier attempt of the same call.
    assert_eq!(store.insert(&record).await.unwrap(), Insertion::Inserted);

    // A revocation replaces only the record that was read.
    let revoked = SigilRecord { revoked_at: Some(at(5)), due: at(105), signature: "new".into(), ..record.clone() };
    let unread = Revoking::Changed(Some(Loaded::Record(record.clone())));
    assert_eq!(store.revoke(&revoked, "another").await.unwrap(), unread);
    assert_eq!(store.revoke(&revoked, &record.signature).await.unwrap(), Revoking::Revoked);
    assert_eq!(store.load(record.id).await.unwrap(), Some(Loaded::Record(revoked.clone())));
    let changed = Revoking::Changed(Some(Loaded::Record(revoked.clone())));
    assert_eq!(store.revoke(&revoked, &record.signature).await.unwrap(), changed);
    assert_eq!(store.insert(&record).await.unwrap(), Insertion::Inserted, "it is still the same one");
    let unknown = SigilRecord { id: SigilId::random(), ..revoked };
    assert_eq!(store.revoke(&unknown, &record.signature).await.unwrap(), Revoking::Changed(None));
    assert_eq!(store.load(unknown.id).await.unwrap(), None, "nothing was made of it");

    // Only records that are due are deleted, and only once.
    assert_eq!(store.delete_due(record.id, at(104)).await.unwrap(), None);
    assert!(store.delete_due(record.id, at(105)).await.unwrap().is_some());
    assert_eq!(store.delete_due(record.id, at(105)).await.unwrap(), None);
    assert_eq!(store.load(record.id).await.unwrap(), None);
}

#[tokio::test]
async fn memory_keeps_its_contract() {
    keeps_its_contract(MemoryStore::default()).await;
}

#[tokio::test]
async fn dynamodb_keeps_its_contract() {
    let (_folder, _dynamodb, store) = in_dynamodb().await;
    keeps_its_contract(store).await;
}

async fn revokes_once(store: impl Store) {
    let keys = Secret::fixed(keys());
    let id = Encoder::new(store.clone(), keys.clone(), LIFETIMES).encode(request("1"), at(0)).await.unwrap().record.id;
    let revoker = Revoker::new(store.clone(), keys, 100);
    // Eight revocations run at once, each with its own time. One of them is the first, and all return its time.
    let all = futures::future::join_all((1..9).map(|second| revoker.revoke(id, at(second)))).await;
    let all: Vec<_> = all.into_iter().map(|revocation| revocation.unwrap().unwrap()).collect();
    assert_eq!(all.iter().filter(|revocation| revocation.newly).count(), 1, "{all:?}");
    assert!(all.iter().all(|revocation| revocation.at == all[0].at), "{all:?}");
    let later = revoker.revoke(id, at(50)).await.unwrap();
    assert_eq!(later, Some(Revocation { at: all[0].at, newly: false }));
    assert_eq!(revoker.revoke(SigilId::random(), at(50)).await.unwrap(), None);
}

#[tokio::test]
async fn a_sigil_in_memory_is_revoked_once() {
    revokes_once(MemoryStore::default()).await;
}

#[tokio::test]
async fn a_sigil_in_dynamodb_is_revoked_once() {
    let (_folder, _dynamodb, store) = in_dynamodb().await;
    revokes_once(store).await;
}

async fn encodes_once_a_key(store: impl Store) {
    let encoder = Encoder::new(store, Secret::fixed(keys()), LIFETIMES);
    let keyed = |data: &str| EncodeRequest {
        idempotency_key: IdempotencyKey::parse(Caller::anonymous(), "order 1"),
        ..request(data)
    };
    let first = encoder.encode(keyed(r#"{"a":1,"b":2}"#), at(0)).await.unwrap();
    let again = encoder.encode(keyed(r#"{"b":2.0,"a":1}"#), at(7)).await.unwrap();
    assert!(first.newly && !again.newly);
    assert_eq!(again.record, first.record, "the same data in another spelling, later");
    for other in [
        keyed(r#"{"a":1}"#),
        EncodeRequest { ttl_seconds: Some(5), ..keyed(r#"{"a":1,"b":2}"#) },
        EncodeRequest { metadata: Some(json("{}")), ..keyed(r#"{"a":1,"b":2}"#) },
    ] {
        assert!(matches!(encoder.encode(other, at(8)).await, Err(EncodeError::IdempotencyConflict)));
    }
    let without = encoder.encode(request(r#"{"a":1,"b":2}"#), at(0)).await.unwrap();
    assert_ne!(without.record.id, first.record.id);

    // Two requests in the same second are one that makes the sigil and one that finds it.
    let keyed =
        || EncodeRequest { idempotency_key: IdempotencyKey::parse(Caller::anonymous(), "order 2"), ..request("2") };
    let (one, other) = tokio::join!(encoder.encode(keyed(), at(9)), encoder.encode(keyed(), at(9)));
    let (one, other) = (one.unwrap(), other.unwrap());
    assert!(one.newly != other.newly, "{one:?} {other:?}");
    assert_eq!(one.record, other.record);
}

#[tokio::test]
async fn a_key_gives_one_sigil_in_memory() {
    encodes_once_a_key(MemoryStore::default()).await;
}

#[tokio::test]
async fn a_key_gives_one_sigil_in_dynamodb() {
    let (_folder, _dynamodb, store) = in_dynamodb().await;
    encodes_once_a_key(store).await;
}

#[tokio::test]
async fn a_put_whose_response_was_lost_is_not_taken_for_a_repeated_request() {
    let (_folder, dynamodb, _store) = in_dynamodb().await;
    let proxy = FaultProxy::before(&dynamodb.url()).await.unwrap();
    let client = DynamoDbLocal::client_of(&proxy.url());
    let store = DynamoDbStore::new(client, tables::SIGILS);
    let encoder = Encoder::new(store, Secret::fixed(keys()), LIFETIMES);
    let keyed =
        EncodeRequest { idempotency_key: IdempotencyKey::parse(Caller::anonymous(), "order 1"), ..request("1") };

    proxy.set_outage(tables::SIGILS, Some(Fault::LoseResponse));
    let heal = async {
        while proxy.traffic().faulty() == 0 {
            tokio::task::yield_now().await;
        }
        proxy.set_outage(tables::SIGILS, None);
    };
    let (encoded, ()) = tokio::join!(encoder.encode(keyed.clone(), at(0)), heal);
    assert!(encoded.unwrap().newly);
    assert!(proxy.traffic().total() > 1, "the SDK has sent the put again");
    assert!(!encoder.encode(keyed, at(0)).await.unwrap().newly);
}

#[tokio::test]
async fn a_life_out_of_range_is_refused() {
    let encoder = Encoder::new(MemoryStore::default(), Secret::fixed(keys()), LIFETIMES);
    for ttl_seconds in [0, 1001, u64::MAX] {
        let refused = encoder.encode(EncodeRequest { ttl_seconds: Some(ttl_seconds), ..request("1") }, at(0)).await;
        assert!(matches!(refused, Err(EncodeError::TtlOutOfRange { max_seconds: 1000 })), "{ttl_seconds}");
    }
}

#[tokio::test]
async fn dynamodb_takes_what_just_fits_and_nothing_larger() {
    let (_folder, _dynamodb, store) = in_dynamodb().await;
    let old = generate("test");
    let encoder = Encoder::new(store.clone(), Secret::fixed(SigningKeys::parse(&old).unwrap()), LIFETIMES);
    let of_size = |bytes: usize| request(&format!("\"{}\"", "x".repeat(bytes - 2)));
    let Err(EncodeError::Storage(StorageError::TooLarge { bytes, limit })) =
        encoder.encode(of_size(409_600), at(0)).await
    else {
        panic!("it is too large")
    };
    let room = 409_600 - (bytes - limit);
    // By this crate's count these bytes just fit, and DynamoDB accepts them too.
    let fits = encoder.encode(of_size(room), at(0)).await.unwrap().record;
    assert!(encoder.encode(of_size(room + 1), at(0)).await.is_err());

    // What it refuses is told apart from a failure.
    let too_long = SigilRecord { revoked_at: Some(at(1)), signature: "x".repeat(409_600), ..fits.clone() };
    let refused = store.revoke(&too_long, &fits.signature).await;
    assert!(matches!(refused, Err(StorageError::Refused(_))), "{refused:?}");

    // It accepts the revocation as well, even when a key with the longest name has become active.
    let [new, old] = [generate(&"k".repeat(64)), old].map(|set| set["{\"keys\":[".len()..set.len() - 2].to_owned());
    let rotated = SigningKeys::parse(&format!("{{\"keys\":[{new},{old}]}}")).unwrap();
    let revoked = Revoker::new(store, Secret::fixed(rotated), u64::MAX).revoke(fits.id, at(1)).await;
    assert_eq!(revoked.unwrap(), Some(Revocation { at: at(1), newly: true }));
}

#[tokio::test]
async fn each_verdict_is_given_when_it_is_due() {
    let (store, keys) = (MemoryStore::default(), keys());
    let encoder = Encoder::new(store.clone(), Secret::fixed(keys.clone()), LIFETIMES);
    let verifier = Verifier::new(store.clone(), Secret::fixed(keys.verifying().clone()));
    let verdict = async |token: &str, data: Option<&str>, now| {
        let data = data.map(|data| json(data).to_raw());
        verifier.verify(token, data.as_deref(), now).await.unwrap().verdict
    };
    let record =
        encoder.encode(EncodeRequest { ttl_seconds: Some(10), ..request(r#"{"a":1}"#) }, at(0)).await.unwrap().record;
    let token = record.token.as_str();

    assert_eq!(verdict(token, None, at(9)).await, Verdict::Valid);
    assert_eq!(verdict(token, Some(r#"{ "a" : 1.0 }"#), at(9)).await, Verdict::Valid);
    assert_eq!(verdict(token, Some(r#"{"a":2}"#), at(9)).await, Verdict::Tampered);
    assert_eq!(verdict(token, None, at(10)).await, Verdict::Expired);
    assert_eq!(verdict("no token", None, at(0)).await, Verdict::BadSignature);
    let other = Encoder::new(store.clone(), Secret::fixed(self::keys()), LIFETIMES)
        .encode(request("1"), at(0))
        .await
        .unwrap()
        .record;
    assert_eq!(verdict(&other.token, None, at(0)).await, Verdict::BadSignature);

    Revoker::new(store.clone(), Secret::fixed(keys.clone()), 100).revoke(record.id, at(5)).await.unwrap();
    assert_eq!(verdict(token, None, at(9)).await, Verdict::Revoked);
    assert_eq!(verdict(token, None, at(10)).await, Verdict::Revoked);
    store.delete_due(record.id, at(105)).await.unwrap().unwrap();
    assert_eq!(verdict(token, None, at(9)).await, Verdict::Unknown);
    assert_eq!(verdict(token, None, at(10)).await, Verdict::Expired);
}

async fn sweeps_what_is_due(store: impl Store) {
    let keys = Secret::fixed(keys());
    let encoder = Encoder::new(store.clone(), keys.clone(), LIFETIMES);
    let revoker = Revoker::new(store.clone(), keys, LIFETIMES.retention_seconds);
    let mut ids = Vec::new();
    for number in 0..60 {
        // The records are due at 110, 120, …, 160, ten at each time.
        let ttl_seconds = Some(10 * (1 + number % 6));
        ids.push(encoder.encode(EncodeRequest { ttl_seconds, ..request("1") }, at(0)).await.unwrap().record.id);
    }
    for id in ids.iter().skip(5).step_by(6) {
        revoker.revoke(*id, at(1)).await.unwrap();
    }
    let soon = Instant::now() + Duration::from_secs(60);

    let (report, result) = sweep(&store, at(130), Instant::now()).await;
    result.unwrap();
    assert_eq!((report.found, report.finished), (0, false), "no time");

    let (a, b) = tokio::join!(sweep(&store, at(130), soon), sweep(&store, at(130), soon));
    assert!(a.0.finished && b.0.finished, "{a:?} {b:?}");
    assert_eq!((a.0.expired + b.0.expired, a.0.revoked + b.0.revoked), (30, 10), "overlapping runs: {a:?} {b:?}");
    let (report, _) = sweep(&store, at(130), soon).await;
    assert_eq!((report.expired, report.revoked, report.finished), (0, 0, true));
    for (number, id) in ids.iter().enumerate() {
        let kept = matches!(number % 6, 3 | 4);
        assert_eq!(store.load(*id).await.unwrap().is_some(), kept, "record {number}");
    }
}

#[tokio::test]
async fn a_sweep_in_memory_takes_what_is_due() {
    sweeps_what_is_due(MemoryStore::default()).await;
}

#[tokio::test]
async fn a_sweep_in_dynamodb_takes_what_is_due() {
    let (_folder, _dynamodb, store) = in_dynamodb().await;
    sweeps_what_is_due(store).await;
}

#[tokio::test]
async fn a_sweep_goes_on_after_a_page_that_ends_with_a_foreign_entry() {
    let (_folder, dynamodb, store) = in_dynamodb().await;
    let encoder = Encoder::new(store.clone(), Secret::fixed(keys()), LIFETIMES);
    let record = encoder.encode(request("1"), at(0)).await.unwrap().record;
    let shard = (record.id.as_bytes()[15] % GC_SHARDS).to_string();
    // A page of an index has 1 MB. These entries have 2 KB each, are due before the record, and have no id of a sigil.
    let foreign = (0..600).map(|number| {
        let item = [
            ("id", AttributeValue::S(format!("{number:03}{}", "x".repeat(2000)))),
            ("gc_shard", AttributeValue::S(shard.clone())),
            ("due", AttributeValue::N("1.5".to_owned())),
        ];
        let client = dynamodb.client();
        async move {
            let item = item.map(|(name, value)| (name.to_owned(), value)).into();
            client.put_item().table_name(tables::SIGILS).set_item(Some(item)).send().await
        }
    });
    futures::stream::iter(foreign).buffer_unordered(16).try_collect::<Vec<_>>().await.unwrap();

    let (report, result) = sweep(&store, record.due, Instant::now() + Duration::from_secs(60)).await;
    result.unwrap();
    assert_eq!((report.found, report.expired, report.finished), (1, 1, true), "{report:?}");
}

#[tokio::test]
async fn the_cost_of_a_sweep_grows_with_what_is_due_and_not_with_the_table() {
    let (_folder, _dynamodb, store) = in_dynamodb().await;
    let encoder = Encoder::new(store.clone(), Secret::fixed(keys()), LIFETIMES);
    let (records, due) = (10_000, 300);
    let encode_all = futures::future::try_join_all((0..16).map(|lane| {
        let encoder = &encoder;
        async move {
            for number in (lane..records).step_by(16) {
                let ttl_seconds = Some(if number < due { 1 } else { 1000 });
                encoder.encode(EncodeRequest { ttl_seconds, ..request("1") }, at(0)).await?;
            }
            Ok::<_, EncodeError>(())
        }
    }));
    encode_all.await.unwrap();

    let (report, result) = sweep(&store, at(101), Instant::now() + Duration::from_secs(60)).await;
    result.unwrap();
    assert_eq!((report.found, report.expired, report.finished), (due, due, true), "{report:?}");
    // An entry of the index has about 100 bytes, and half a unit reads 4 KB: about 5 units for 300 entries and the
    // rounding for each shard. All 10,000 entries would cost more than 120.
    assert!(report.read_capacity_units < 15.0, "{report:?}");
}
