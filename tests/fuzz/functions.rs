//! Runs the HTTP functions on stores in memory, builds requests for them, and checks every response. The fuzzer and the
//! seeded test in `tests/e2e/hostile_requests.rs` share this code.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use encode::handler::Encode;
use function_runtime::http::HttpRequest;
use lambda_http::{Body, Response};
use metrics::access::Access;
use metrics::handler::Metrics;
use metrics::tokens::{Token, Tokens};
use prometheus::Registry;
use prometheus_dynamodb::{MemoryStatsTable, TableSettings};
use secrets::Secret;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sigil::canonical::CanonicalJson;
use sigil::encode::{EncodeRequest, Encoder, Lifetimes};
use sigil::keys::SigningKeys;
use sigil::metrics::{EncodeMetrics, ErrorMetrics, VerifyMetrics};
use sigil::record::{Caller, IdempotencyKey, SigilRecord};
use sigil::revoke::Revoker;
use sigil::store::{InsertRecord, MemoryStore};
use sigil::timestamp::Timestamp;
use sigil::verify::Verifier;
use tokio::runtime::Runtime;
use verify::handler::Verify;

/// Size of the largest response to a request that is refused, in bytes.
const MAX_REFUSAL_BYTES: usize = 16 * 1024;

/// Longest time that all functions may take for one event, on a busy machine and without optimization.
const MAX_TIME: Duration = Duration::from_secs(10);

/// Number of events after which everything is created anew, so that the stores stay small.
const EVENTS: usize = 1000;

/// A token that was signed for the sigil, but is not the one in its record: each request with the sigil's idempotency key
/// would have had another one. So it has no record.
const OTHER_TOKEN: &str = include_str!("seeds/tokens/signed");

/// Record of the sigil with which all functions begin. Its token has a random number, so it is made once.
static RECORD: OnceLock<SigilRecord> = OnceLock::new();

/// Where scrapes may come from.
const NETWORK: &str = "192.0.2.0/24";

const SIGILS: &str = "/api/consciousness/sigils";

/// The functions.
pub(super) struct Functions {
    runtime: Runtime,
    encode: Encode<MemoryStore>,
    verify: Verify<MemoryStore>,
    metrics: Metrics<MemoryStatsTable>,
    token: String,
    left: usize,
}

impl Functions {
    /// Creates the functions and one sigil, which is the same for all of this process.
    pub(super) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let keys = SigningKeys::parse(&json!({ "seed": "s".repeat(32) }).to_string()).unwrap();
        let verifying = Secret::fixed(keys.verifying().clone());
        let keys = Secret::fixed(keys);
        let lifetimes = Lifetimes { max_ttl_seconds: 3_000_000_000, retention_seconds: 60 };
        let store = MemoryStore::default();
        let registry = Registry::new();
        let encoder = Encoder::new(store.clone(), keys.clone(), lifetimes);
        let record = RECORD.get_or_init(|| {
            let request = EncodeRequest {
                data: CanonicalJson::from_json(r#"{"a":1}"#).unwrap(),
                metadata: None,
                ttl_seconds: None,
                idempotency_key: IdempotencyKey::parse(Caller::anonymous(), "seed"),
            };
            let made_at = Timestamp::from_seconds(1_750_000_000).unwrap();
            runtime
                .block_on(Encoder::new(MemoryStore::default(), keys.clone(), lifetimes).encode(request, made_at))
                .unwrap()
                .record
        });
        runtime.block_on(store.insert(record)).unwrap();
        let tokens = Secret::fixed(Tokens { current: Token::parse("0123456789abcdef").ok(), previous: None });
        Self {
            encode: Encode::new(
                encoder,
                Revoker::new(store.clone(), keys, 60),
                EncodeMetrics::register(&registry).unwrap(),
                ErrorMetrics::register(&registry, &encode::handler::OPERATIONS).unwrap(),
            ),
            verify: Verify::new(
                Verifier::new(store, verifying),
                VerifyMetrics::register(&Registry::new()).unwrap(),
                ErrorMetrics::register(&Registry::new(), &verify::handler::OPERATIONS).unwrap(),
            ),
            metrics: Metrics::new(
                MemoryStatsTable::default(),
                TableSettings::builder("stats").build().unwrap(),
                Access::new(Some(tokens), Some(vec![NETWORK.parse().unwrap()])),
            ),
            token: record.token.clone(),
            runtime,
            left: EVENTS,
        }
    }

    /// Lets each function answer the event, and checks the responses.
    pub(super) fn event(&mut self, event: &RawValue) {
        self.left -= 1;
        if self.left == 0 {
            *self = Self::new();
        }
        let started = Instant::now();
        for answer in [
            self.runtime.block_on(self.encode.answer(event.to_owned())),
            self.runtime.block_on(self.verify.answer(event.to_owned())),
            self.runtime.block_on(self.metrics.answer(event.to_owned())),
        ] {
            check(&answer, event);
        }
        assert!(started.elapsed() < MAX_TIME, "{:?}", started.elapsed());
    }

    /// Verifies the token, and checks that only the token in the sigil's record is valid.
    pub(super) fn token(&mut self, token: &str) {
        self.left -= 1;
        if self.left == 0 {
            *self = Self::new();
        }
        let body = json!({ "token": token, "data": { "a": 1 } }).to_string();
        let event = request("POST", "/verify", &body);
        let answer = self.runtime.block_on(self.verify.answer(event.clone()));
        check(&answer, &event);
        let Body::Text(text) = answer.body() else { panic!("an answer is a text") };
        let answer: Value = serde_json::from_str(text).unwrap();
        let expected = match token {
            _ if token == self.token => "valid",
            OTHER_TOKEN => "unknown",
            _ => "bad_signature",
        };
        assert_eq!(answer["verdict"], expected, "{token}");
    }

    /// Returns the one valid token.
    pub(super) fn valid_token(&self) -> &str {
        &self.token
    }
}

fn check(answer: &Response<Body>, event: &RawValue) {
    assert!(answer.status().as_u16() < 500, "{answer:?}");
    if answer.status().as_u16() < 400 {
        return;
    }
    match answer.body() {
        Body::Text(text) => {
            assert!(serde_json::to_string(text).unwrap().len() <= MAX_REFUSAL_BYTES, "{} bytes", text.len());
            assert!(serde_json::from_str::<Value>(text).unwrap()["error"].is_string());
        }
        Body::Empty => {
            let method = HttpRequest::read(event).map(|request| request.method().to_owned());
            assert_eq!(method.as_deref(), Ok("HEAD"), "{answer:?}");
        }
        _ => panic!("a problem is a text: {answer:?}"),
    }
}

/// Returns a request as API Gateway sends it, to a path below that of the sigils.
pub(super) fn request(method: &str, below: &str, body: &str) -> Box<RawValue> {
    let event = json!({
        "version": "2.0",
        "rawPath": format!("{SIGILS}{below}"),
        "headers": { "content-type": "application/json" },
        "requestContext": { "http": { "method": method } },
        "body": body,
        "isBase64Encoded": false,
    });
    serde_json::value::to_raw_value(&event).unwrap()
}
