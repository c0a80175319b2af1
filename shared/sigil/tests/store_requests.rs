//! Checks how the store calls DynamoDB and what is measured of it: what the requests ask for, which DynamoDB Local cannot
//! show, and how each call ends that fails.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::interceptors::{
    BeforeSerializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
};
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use harness::kit::dynamodb_local::DynamoDbLocal;
use harness::kit::fault_proxy::{Fault, FaultProxy};
use harness::kit::tables;
use prometheus::Registry;
use prometheus::proto::{LabelPair, Metric};
use secrets::Secret;
use sigil::canonical::CanonicalJson;
use sigil::encode::{EncodeRequest, Encoder, Lifetimes};
use sigil::keys::{SigningKeys, generate};
use sigil::metrics::StorageMetrics;
use sigil::record::{SigilId, SigilRecord};
use sigil::store::{
    DeleteDue, DynamoDbStore, InsertRecord, ListDue, LoadRecord, MemoryStore, Observed, RevokeRecord, StorageError,
    StorageOperation,
};
use sigil::timestamp::Timestamp;

const OPERATIONS: [StorageOperation; 5] = [
    StorageOperation::Put,
    StorageOperation::Get,
    StorageOperation::Update,
    StorageOperation::Query,
    StorageOperation::Delete,
];

/// Records the bodies of the requests, once for every attempt to send one.
#[derive(Debug, Clone, Default)]
struct Recorder(Arc<Mutex<Vec<String>>>);

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
        let body = context.request().body().bytes().expect("it is in memory");
        self.0.lock().unwrap().push(String::from_utf8(body.to_vec())?);
        Ok(())
    }
}

/// Refuses to send anything, as the functions do once no time is left.
#[derive(Debug)]
struct Refusing;

impl Intercept for Refusing {
    fn name(&self) -> &'static str {
        "Refusing"
    }

    fn read_before_execution(
        &self,
        _: &BeforeSerializationInterceptorContextRef<'_>,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        Err("no time is left".into())
    }
}

async fn a_record() -> SigilRecord {
    let keys = Secret::fixed(SigningKeys::parse(&generate("test")).unwrap());
    let lifetimes = Lifetimes { max_ttl_seconds: 1000, retention_seconds: 100 };
    let data = CanonicalJson::from_json("1").unwrap();
    let request = EncodeRequest { data, metadata: None, ttl_seconds: None, idempotency_key: None };
    Encoder::new(MemoryStore::default(), keys, lifetimes).encode(request, Timestamp::now()).await.unwrap().record
}

/// Makes a call of this kind to the store.
async fn call<S>(store: &S, operation: StorageOperation, record: &SigilRecord) -> Result<(), StorageError>
where
    S: InsertRecord + LoadRecord + RevokeRecord + ListDue + DeleteDue,
{
    match operation {
        StorageOperation::Put => store.insert(record).await.map(drop),
        StorageOperation::Get => store.load(record.id).await.map(drop),
        StorageOperation::Update => {
            let revoked = SigilRecord { revoked_at: Some(record.due), ..record.clone() };
            store.revoke(&revoked, "another").await.map(drop)
        }
        StorageOperation::Query => store.list_due(0, record.due, None).await.map(drop),
        StorageOperation::Delete => store.delete_due(record.id, record.due).await.map(drop),
    }
}

/// A table behind a proxy, and what is measured of the calls to it.
struct Observation {
    _folder: tempfile::TempDir,
    _dynamodb: DynamoDbLocal,
    proxy: FaultProxy,
    registry: Registry,
    metrics: StorageMetrics,
    client: Client,
}

impl Observation {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dynamodb = DynamoDbLocal::start_in_memory(&folder.path().join("dynamodb.log")).await.unwrap();
        tables::create(&dynamodb.client()).await.unwrap();
        let proxy = FaultProxy::before(&dynamodb.url()).await.unwrap();
        let registry = Registry::new();
        let metrics = StorageMetrics::register(&registry, &OPERATIONS).unwrap();
        let config = DynamoDbLocal::client_of(&proxy.url()).config().to_builder();
        let retries = RetryConfig::standard().with_max_attempts(3).with_initial_backoff(Duration::from_millis(1));
        let client = Client::from_conf(config.retry_config(retries).interceptor(metrics.attempts()).build());
        Self { _folder: folder, _dynamodb: dynamodb, proxy, registry, metrics, client }
    }

    fn store(&self, client: Client) -> Observed<DynamoDbStore> {
        Observed::new(DynamoDbStore::new(client, tables::SIGILS), self.metrics.clone())
    }

    /// Returns the value of the series whose labels have these values in the order of their names. A histogram's value
    /// is the number of its observations.
    fn value(&self, name: &str, labels: &[&str]) -> u64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name).expect(name);
        let has = |metric: &&Metric| metric.get_label().iter().map(LabelPair::value).eq(labels.iter().copied());
        let metric = family.get_metric().iter().find(has).expect("it is exported from the start");
        match metric.get_histogram().get_sample_count() {
            0 => metric.get_counter().get_value() as u64,
            observations => observations,
        }
    }

    fn calls(&self, operation: StorageOperation, outcome: &str) -> u64 {
        self.value("sigil_storage_operation_duration_seconds", &[operation.as_ref(), outcome])
    }
}

#[tokio::test]
async fn a_record_is_read_strongly_consistent() {
    let observation = Observation::start().await;
    let recorder = Recorder::default();
    let config = observation.client.config().to_builder().interceptor(recorder.clone()).build();
    observation.store(Client::from_conf(config)).load(SigilId::random()).await.unwrap();
    let sent = recorder.0.lock().unwrap();
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert!(sent[0].contains(r#""ConsistentRead":true"#), "a revoked sigil may not be read as it was: {sent:?}");
}

#[tokio::test]
async fn calls_are_counted_by_operation_and_outcome_and_their_attempts_too() {
    let observation = Observation::start().await;
    let (store, record) = (observation.store(observation.client.clone()), a_record().await);
    for operation in OPERATIONS {
        let label = [operation.as_ref()];
        let attempts = |kind: &str| observation.value(&format!("sigil_storage_{kind}_total"), &label);

        call(&store, operation, &record).await.unwrap();
        assert_eq!((observation.calls(operation, "ok"), attempts("retries"), attempts("throttles")), (1, 0, 0));

        observation.proxy.set_outage(tables::SIGILS, Some(Fault::Throttle));
        let throttled = call(&store, operation, &record).await;
        assert!(matches!(throttled, Err(StorageError::Throttled(_))), "{throttled:?}");
        assert_eq!((observation.calls(operation, "throttled"), attempts("retries"), attempts("throttles")), (1, 2, 3));

        observation.proxy.set_outage(tables::SIGILS, Some(Fault::InternalError));
        let failed = call(&store, operation, &record).await;
        assert!(matches!(failed, Err(StorageError::Unavailable(_))), "{failed:?}");
        assert_eq!(
            (observation.calls(operation, "unavailable"), attempts("retries"), attempts("throttles")),
            (1, 4, 3)
        );

        observation.proxy.set_outage(tables::SIGILS, None);
        assert_eq!(observation.calls(operation, "ok"), 1, "{operation:?}");
    }
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_told_apart_from_one_that_was_not_asked() {
    let observation = Observation::start().await;
    observation.proxy.set_outage(tables::SIGILS, Some(Fault::Delay(Duration::from_secs(60))));
    let patience = TimeoutConfig::builder().operation_timeout(Duration::from_millis(50)).build();
    let config = observation.client.config().to_builder().timeout_config(patience).build();
    let started = Instant::now();
    let silent = observation.store(Client::from_conf(config)).load(SigilId::random()).await;
    assert!(matches!(silent, Err(StorageError::TimedOut(_))), "{silent:?}");
    assert!(started.elapsed() < Duration::from_secs(60));
    assert_eq!(observation.calls(StorageOperation::Get, "timeout"), 1);

    let asked = observation.proxy.traffic().total();
    let config = observation.client.config().to_builder().interceptor(Refusing).build();
    let not_sent = observation.store(Client::from_conf(config)).load(SigilId::random()).await;
    assert!(matches!(not_sent, Err(StorageError::NotSent(_))), "{not_sent:?}");
    assert_eq!(observation.proxy.traffic().total(), asked);
}
