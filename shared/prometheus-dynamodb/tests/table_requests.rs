//! Checks the requests as they are sent, because DynamoDB Local cannot show these properties: it never answers with
//! stale items, and it never loses an answer, so the SDK never repeats a request.

mod support;

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use prometheus_dynamodb::DynamoDbStatsTable;
use prometheus_dynamodb::internals::item::{Base, Encoded, Part, Snapshot, StructureId, StructureItem, WriterId};
use prometheus_dynamodb::internals::protocol::condition::PutCondition;
use prometheus_dynamodb::internals::table::{
    CompactStats, PARTS_FORMAT, PublishStats, ReadStats, TableError, TableTime,
};
use serde_json::{Value, json};
use support::dynamodb_local::{DynamoDbLocal, TABLE};

/// Records each request, once for every attempt to send it.
#[derive(Debug, Clone, Default)]
struct Recorder(Arc<Mutex<Vec<(String, Value)>>>);

impl Intercept for Recorder {
    fn name(&self) -> &'static str {
        "Recorder"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let target = context.request().headers().get("x-amz-target").expect("it names the operation");
        let operation = target.rsplit('.').next().unwrap().to_owned();
        let body = context.request().body().bytes().expect("it is in memory");
        self.0.lock().unwrap().push((operation, serde_json::from_slice(body)?));
        Ok(())
    }
}

impl Recorder {
    fn recorded(&self, client: &Client) -> DynamoDbStatsTable {
        let config = client.config().to_builder().interceptor(self.clone()).build();
        DynamoDbStatsTable::new(Client::from_conf(config), TABLE)
    }

    /// Returns the requests that were sent since the last call.
    fn sent(&self) -> Vec<(String, Value)> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn snapshot() -> Snapshot {
    Snapshot {
        writer: WriterId::from_bytes([1; 16]),
        shard: 0,
        seq: 1,
        function: "encode".into(),
        version: "1".into(),
        updated_at_ms: 1,
        sealed_at_ms: None,
        closed: false,
        families: Encoded { format: 1, bytes: vec![3, 0] },
    }
}

fn part() -> Part {
    let families = Encoded { format: 1, bytes: vec![3, 0] };
    Part { version: 1, folded: [(WriterId::from_bytes([7; 16]), None)].into(), families }
}

fn base(version: u64) -> Base {
    Base { version, folded: part().folded, families: part().families, parts: Vec::new() }
}

/// Shows that a write that fails is not taken for one whose condition did not hold, which means that another was there first.
#[tokio::test]
async fn a_write_that_fails_is_an_error() {
    let dynamodb = DynamoDbLocal::start().await;
    let table = DynamoDbStatsTable::new(dynamodb.client(), "missing");
    let (id, snapshot) = (StructureId::of(b""), snapshot());
    for (write, result) in [
        ("seal", table.seal(&snapshot, 1).await),
        ("put_part", table.put_part(0, &part()).await),
        ("note_unnamed", table.note_unnamed(0, part().id(), 1).await),
        ("delete_part", table.delete_part(0, part().id()).await),
        ("delete_structure", table.delete_structure(0, id, 1).await),
        ("put_base", table.put_base(0, &base(1)).await),
        ("put_grave", table.put_grave(&snapshot, 1).await),
        ("delete_snapshot", table.delete_snapshot(&snapshot).await),
    ] {
        assert!(matches!(result, Err(TableError::Failed(_))), "{write}: {result:?}");
    }
    assert!(matches!(table.put_snapshot(&snapshot, PutCondition::Absent).await, Err(TableError::Failed(_))));
    assert!(matches!(table.announce_shards(2).await, Err(TableError::Failed(_))));
}

#[tokio::test]
async fn every_read_is_strongly_consistent() {
    let dynamodb = DynamoDbLocal::start().await;
    let recorder = Recorder::default();
    let table = recorder.recorded(&dynamodb.client());
    table.shards().await.unwrap();
    table.snapshots(0).await.unwrap();
    table.base(0).await.unwrap();
    table.part(0, part().id()).await.unwrap();
    table.parts(0).await.unwrap();
    table.grave(snapshot().writer).await.unwrap();
    let sent = recorder.sent();
    assert_eq!(sent.len(), 6);
    for (operation, request) in sent {
        assert_eq!(request["ConsistentRead"], true, "{operation} {request}");
    }
}

#[tokio::test]
async fn every_write_asks_for_what_the_documentation_says() {
    let dynamodb = DynamoDbLocal::start().await;
    let recorder = Recorder::default();
    let table = recorder.recorded(&dynamodb.client());
    let (snapshot, part) = (snapshot(), part());
    table.put_snapshot(&snapshot, PutCondition::Absent).await.unwrap();
    table.put_snapshot(&Snapshot { seq: 2, ..snapshot.clone() }, PutCondition::Older).await.unwrap();
    table.seal(&snapshot, 1).await.unwrap();
    table.put_part(0, &part).await.unwrap();
    table.put_base(0, &base(1)).await.unwrap();
    table.put_base(0, &base(2)).await.unwrap();
    table.note_unnamed(0, part.id(), 1).await.unwrap();
    table.delete_part(0, part.id()).await.unwrap();
    table.put_grave(&snapshot, 1).await.unwrap();
    table.delete_snapshot(&snapshot).await.unwrap();
    table.announce_shards(2).await.unwrap();
    let sent: Vec<_> = recorder
        .sent()
        .into_iter()
        .map(|(operation, request)| (operation, request["ConditionExpression"].clone()))
        .collect();
    let expected = [
        ("PutItem", "attribute_not_exists(pk)"),
        ("PutItem", "attribute_not_exists(sealed_at) AND seq < :seq"),
        ("UpdateItem", "attribute_not_exists(sealed_at) AND seq = :seq"),
        ("PutItem", "attribute_not_exists(pk)"),
        ("PutItem", "attribute_not_exists(pk)"),
        ("PutItem", "#version = :before"),
        ("UpdateItem", "attribute_exists(pk) AND attribute_not_exists(unnamed_at)"),
        ("DeleteItem", "attribute_exists(unnamed_at)"),
        ("PutItem", "attribute_not_exists(pk)"),
        ("DeleteItem", "attribute_exists(sealed_at)"),
        ("PutItem", "attribute_not_exists(pk) OR highest < :shards"),
    ];
    assert_eq!(sent, expected.map(|(operation, condition)| (operation.to_owned(), json!(condition))));
}

#[tokio::test]
async fn a_grave_expires_after_30_days() {
    let dynamodb = DynamoDbLocal::start().await;
    let recorder = Recorder::default();
    let table = recorder.recorded(&dynamodb.client());
    table.put_grave(&snapshot(), 5_999).await.unwrap();
    let expiry = 5 + 30 * 24 * 60 * 60;
    assert_eq!(recorder.sent()[0].1["Item"]["ttl"], json!({"N": expiry.to_string()}), "in seconds");
}

#[tokio::test]
async fn a_first_put_is_sent_once_and_others_are_repeated() {
    let dynamodb = DynamoDbLocal::start().await;
    let client = dynamodb.client();
    // Nothing listens on this port.
    let retries = RetryConfig::standard().with_max_attempts(3).with_initial_backoff(Duration::from_millis(1));
    let config = client.config().to_builder().endpoint_url("http://127.0.0.1:1").retry_config(retries).build();
    let recorder = Recorder::default();
    let table = recorder.recorded(&Client::from_conf(config));
    for (condition, attempts) in [(PutCondition::Absent, 1), (PutCondition::Older, 3)] {
        table.put_snapshot(&snapshot(), condition).await.unwrap_err();
        assert_eq!(recorder.sent().len(), attempts, "{condition:?}");
    }
}

/// A network that breaks each request off.
#[derive(Debug)]
struct Broken;

impl HttpConnector for Broken {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::ready(Err(ConnectorError::io("the connection was closed".into())))
    }
}

/// An environment can be frozen between two attempts for so long that the structure that the snapshot names is gone.
#[tokio::test(start_paused = true)]
async fn the_put_of_a_snapshot_or_structure_is_not_repeated_long_after_it_began() {
    const MINUTE: Duration = Duration::from_secs(60);
    for (pause, attempts) in [(MINUTE * 2, 3), (MINUTE * 6, 1), (MINUTE * 60 * 18, 1)] {
        let retries = RetryConfig::standard().with_max_attempts(3).with_use_static_exponential_base(true);
        let retries = retries.with_initial_backoff(pause).with_max_backoff(pause);
        let config = DynamoDbLocal::client_of("http://127.0.0.1").config().to_builder().retry_config(retries);
        let config = config.http_client(http_client_fn(|_, _| SharedHttpConnector::new(Broken))).build();
        let recorder = Recorder::default();
        let table = recorder.recorded(&Client::from_conf(config));
        let error = table.put_snapshot(&snapshot(), PutCondition::Older).await.unwrap_err();
        assert_eq!(recorder.sent().len(), attempts, "{pause:?}: {error}");
        let structure = StructureItem { families: snapshot().families, renewed_at_ms: 1 };
        let error = table.put_structure(0, StructureId::of(b""), &structure).await.unwrap_err();
        assert_eq!(recorder.sent().len(), attempts, "{pause:?}: {error}");
    }
}

/// The expected bytes are those that version 0.1 wrote for a base that names one writer and has no families.
#[tokio::test]
async fn a_base_without_parts_is_stored_as_it_always_was_and_one_with_parts_is_refused_by_whoever_does_not_know_them() {
    let dynamodb = DynamoDbLocal::start().await;
    let recorder = Recorder::default();
    let table = recorder.recorded(&dynamodb.client());
    table.put_base(0, &base(1)).await.unwrap();
    let expected = json!({
        "pk": {"S": "shard#0"},
        "sk": {"S": "base"},
        "version": {"N": "1"},
        "folded": {"B": "ChIKEAcHBwcHBwcHBwcHBwcHBwc="},
        "format": {"N": "1"},
        "families": {"B": "AwA="},
    });
    assert_eq!(recorder.sent()[0].1["Item"], expected);
    assert_eq!(table.base(0).await.unwrap(), Some(base(1)));

    let in_parts = Base { parts: vec![part().id()], ..base(2) };
    table.put_base(0, &in_parts).await.unwrap();
    assert_eq!(recorder.sent().pop().unwrap().1["Item"]["format"], json!({"N": (PARTS_FORMAT + 1).to_string()}));
    assert_eq!(table.base(0).await.unwrap(), Some(in_parts));
}

#[tokio::test]
async fn the_time_is_that_of_the_answers() {
    let dynamodb = DynamoDbLocal::start().await;
    let table = dynamodb.table();
    table.shards().await.unwrap();
    let (answered_at_ms, now_ms) = (table.answered_at_ms(), table.now_ms());
    let clock_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    assert_eq!(answered_at_ms % 1000, 0, "a Date has whole seconds");
    assert!(answered_at_ms <= clock_ms && clock_ms - answered_at_ms < 60_000, "{answered_at_ms} {clock_ms}");
    assert!(now_ms.abs_diff(clock_ms) < 60_000);
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(table.answered_at_ms(), answered_at_ms, "it does not go on by itself");
}
