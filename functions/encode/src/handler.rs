//! Answers requests to encode and to revoke.

use function_runtime::http::{HttpRequest, as_asked};
use lambda_http::http::header::LOCATION;
use lambda_http::http::{HeaderValue, StatusCode};
use lambda_http::{Body, Response};
use serde::Serialize;
use serde_json::value::RawValue;
use sigil::encode::{Encoded, Encoder};
use sigil::metrics::{EncodeMetrics, ErrorMetrics, Operation};
use sigil::record::SigilId;
use sigil::revoke::Revoker;
use sigil::store::{InsertRecord, LoadRecord, RevokeRecord};
use sigil::timestamp::Timestamp;
use sigil::view::SigilView;
use sigil_http::error::ApiError;
use sigil_http::{path, reply};

use crate::request;

/// Operations for which this function counts errors.
pub const OPERATIONS: [Operation; 3] = [Operation::Encode, Operation::Revoke, Operation::Other];

/// Answers requests.
#[derive(Debug)]
pub struct Encode<S> {
    encoder: Encoder<S>,
    revoker: Revoker<S>,
    metrics: EncodeMetrics,
    errors: ErrorMetrics,
}

#[derive(Serialize)]
struct Created<'a> {
    success: bool,
    sigil: SigilView<'a>,
}

#[derive(Serialize)]
struct Revoked {
    success: bool,
    revoked_at: Timestamp,
}

impl<S: InsertRecord + LoadRecord + RevokeRecord> Encode<S> {
    /// Creates a handler.
    pub fn new(encoder: Encoder<S>, revoker: Revoker<S>, metrics: EncodeMetrics, errors: ErrorMetrics) -> Self {
        Self { encoder, revoker, metrics, errors }
    }

    /// Answers one event.
    pub async fn answer(&self, event: Box<RawValue>) -> Response<Body> {
        let request = HttpRequest::read(&event);
        // The event can have 6 MB, and the request owns a copy of everything that is needed.
        drop(event);
        let (operation, result) = match &request {
            Ok(request) => self.handle(request).await,
            Err(error) => (Operation::Other, Err((*error).into())),
        };
        let response = result.unwrap_or_else(|error| {
            self.errors.count(operation, error.reason());
            error.into_problem().into_response()
        });
        as_asked(&request, response)
    }

    async fn handle(&self, request: &HttpRequest) -> (Operation, Result<Response<Body>, ApiError>) {
        let now = Timestamp::now();
        match (path::below_sigils(request.path()), request.method()) {
            (Some("" | "/"), "POST") => {
                let _timer = self.metrics.start();
                (Operation::Encode, self.encode(request, now).await)
            }
            (Some("" | "/"), _) => (Operation::Other, Err(ApiError::MethodNotAllowed { allowed: "POST" })),
            (Some(below), "DELETE") => (Operation::Revoke, self.revoke(&below[1..], now).await),
            (Some(_), _) => (Operation::Other, Err(ApiError::MethodNotAllowed { allowed: "DELETE" })),
            (None, _) => (Operation::Other, Err(ApiError::NotFound("sigils are at /api/consciousness/sigils"))),
        }
    }

    async fn encode(&self, request: &HttpRequest, now: Timestamp) -> Result<Response<Body>, ApiError> {
        let request = request::read(request, self.encoder.max_ttl_seconds())?;
        let Encoded { record, newly } = self.encoder.encode(request, now).await?;
        self.metrics.encoded(newly);
        let created = Created { success: true, sigil: SigilView::for_creator(&record, now) };
        let mut response = reply::json(StatusCode::CREATED, &created);
        let location = HeaderValue::from_str(&format!("{}/{}", path::SIGILS, record.id));
        response.headers_mut().insert(LOCATION, location.expect("an id is ASCII"));
        Ok(response)
    }

    async fn revoke(&self, id: &str, now: Timestamp) -> Result<Response<Body>, ApiError> {
        let id = SigilId::parse(id).ok_or(ApiError::Unknown)?;
        let revocation = self.revoker.revoke(id, now).await?.ok_or(ApiError::Unknown)?;
        if revocation.newly {
            self.metrics.revoked();
        }
        Ok(reply::json(StatusCode::OK, &Revoked { success: true, revoked_at: revocation.at }))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lambda_http::http::header::{ALLOW, CONTENT_TYPE};
    use prometheus::Registry;
    use secrets::Secret;
    use serde_json::{Value, json};
    use sigil::encode::Lifetimes;
    use sigil::keys::{self, SigningKeys};
    use sigil::record::SigilRecord;
    use sigil::store::{Insertion, Loaded, MemoryStore, Revoking, StorageError};

    use super::*;

    /// A store that takes its time, and whose every item was changed by someone else.
    #[derive(Clone)]
    struct SlowAndDamaged;

    const SLOWNESS: Duration = Duration::from_millis(20);

    impl InsertRecord for SlowAndDamaged {
        async fn insert(&self, _: &SigilRecord) -> Result<Insertion, StorageError> {
            tokio::time::sleep(SLOWNESS).await;
            Ok(Insertion::Existing(Loaded::Damaged))
        }
    }

    impl LoadRecord for SlowAndDamaged {
        async fn load(&self, _: SigilId) -> Result<Option<Loaded>, StorageError> {
            Ok(Some(Loaded::Damaged))
        }
    }

    impl RevokeRecord for SlowAndDamaged {
        async fn revoke(&self, _: &SigilRecord, _: &str) -> Result<Revoking, StorageError> {
            unreachable!("a damaged record is not revoked")
        }
    }

    fn function() -> (Encode<MemoryStore>, Registry) {
        function_with(MemoryStore::default())
    }

    fn function_with<S>(store: S) -> (Encode<S>, Registry)
    where
        S: InsertRecord + LoadRecord + RevokeRecord + Clone,
    {
        let registry = Registry::new();
        let keys = Secret::fixed(SigningKeys::parse(&keys::generate("a")).unwrap());
        let lifetimes = Lifetimes { max_ttl_seconds: 3600, retention_seconds: 60 };
        let encode = Encode::new(
            Encoder::new(store.clone(), keys.clone(), lifetimes),
            Revoker::new(store, keys, lifetimes.retention_seconds),
            EncodeMetrics::register(&registry).unwrap(),
            ErrorMetrics::register(&registry, &OPERATIONS).unwrap(),
        );
        (encode, registry)
    }

    /// Returns an event, after `change` has adapted it to the test.
    fn event(method: &str, path: &str, body: &str, change: impl FnOnce(&mut Value)) -> Box<RawValue> {
        let mut event = json!({
            "version": "2.0",
            "rawPath": path,
            "headers": { "content-type": "application/json" },
            "requestContext": { "http": { "method": method } },
            "body": body,
        });
        change(&mut event);
        serde_json::value::to_raw_value(&event).unwrap()
    }

    fn request(method: &str, path: &str, body: &str) -> Box<RawValue> {
        event(method, path, body, |_| {})
    }

    fn post(body: &str) -> Box<RawValue> {
        request("POST", path::SIGILS, body)
    }

    fn with_key(body: &str, key: &str) -> Box<RawValue> {
        with_key_of(json!(null), body, key)
    }

    fn with_key_of(authorizer: Value, body: &str, key: &str) -> Box<RawValue> {
        event("POST", path::SIGILS, body, |event| {
            event["headers"]["idempotency-key"] = json!(key);
            event["requestContext"]["authorizer"] = authorizer;
        })
    }

    fn body(response: &Response<Body>) -> Value {
        let Body::Text(text) = response.body() else { panic!("the body is text") };
        serde_json::from_str(text).unwrap()
    }

    fn counter(registry: &Registry, name: &str) -> f64 {
        let families = registry.gather();
        let family = families.iter().find(|family| family.name() == name).unwrap();
        family.get_metric().iter().map(|metric| metric.get_counter().get_value()).sum()
    }

    #[tokio::test]
    async fn a_sigil_is_created_and_revoked_once() {
        let (encode, registry) = function();
        let created = encode.answer(post(r#"{"data":{"a":1},"metadata":{"b":2}}"#)).await;
        assert_eq!(created.status(), StatusCode::CREATED);
        let sigil = &body(&created)["sigil"];
        let path = format!("{}/{}", path::SIGILS, sigil["id"].as_str().unwrap());
        assert_eq!(created.headers()[LOCATION], path);
        assert_eq!(sigil["metadata"], json!({ "b": 2 }));

        let first = encode.answer(request("DELETE", &path, "")).await;
        let second = encode.answer(request("DELETE", &path, "")).await;
        assert_eq!(first.status(), StatusCode::OK);
        assert_eq!(body(&first), body(&second), "the first revocation's time stays");
        assert_eq!(counter(&registry, "sigil_encode_total"), 1.0);
        assert_eq!(counter(&registry, "sigil_revoke_total"), 1.0);
        assert_eq!(counter(&registry, "sigil_error_total"), 0.0);
    }

    #[tokio::test]
    async fn an_idempotency_key_makes_one_sigil_of_one_body() {
        let (encode, registry) = function();
        let first = encode.answer(with_key(r#"{"data":1}"#, "key")).await;
        let again = encode.answer(with_key(r#"{"data": 1.0}"#, "key")).await;
        assert_eq!(again.status(), StatusCode::CREATED);
        assert_eq!(body(&first), body(&again));
        let other = encode.answer(with_key(r#"{"data":2}"#, "key")).await;
        assert_eq!((other.status(), &body(&other)["error"]), (StatusCode::CONFLICT, &json!("conflict")));
        assert_eq!(counter(&registry, "sigil_encode_total"), 1.0, "sigils that were created");
        assert_eq!(counter(&registry, "sigil_encode_repeats_total"), 1.0);
    }

    #[tokio::test]
    async fn a_damaged_record_is_neither_repeated_nor_revoked() {
        let (encode, registry) = function_with(SlowAndDamaged);
        let path = format!("{}/00000000-0000-4000-8000-000000000000", path::SIGILS);
        for event in [with_key(r#"{"data":1}"#, "key"), request("DELETE", &path, "")] {
            let refused = encode.answer(event).await;
            assert_eq!(
                (refused.status(), &body(&refused)["error"]),
                (StatusCode::INTERNAL_SERVER_ERROR, &json!("damaged"))
            );
        }
        assert_eq!(counter(&registry, "sigil_error_total"), 2.0);
        assert_eq!(counter(&registry, "sigil_encode_repeats_total"), 0.0);
        assert_eq!(counter(&registry, "sigil_revoke_total"), 0.0);
    }

    #[tokio::test]
    async fn the_duration_includes_the_calls_to_the_store() {
        let (encode, registry) = function_with(SlowAndDamaged);
        encode.answer(post(r#"{"data":1}"#)).await;
        let families = registry.gather();
        let family = families.iter().find(|family| family.name() == "sigil_encode_duration_seconds").unwrap();
        let histogram = family.get_metric()[0].get_histogram();
        assert_eq!(histogram.get_sample_count(), 1);
        assert!(histogram.get_sample_sum() >= SLOWNESS.as_secs_f64(), "{histogram:?}");
    }

    #[tokio::test]
    async fn a_body_that_does_not_say_that_it_is_json_is_refused() {
        let (encode, registry) = function();
        for content_type in [json!("text/plain"), json!("application/x-www-form-urlencoded"), json!("")] {
            let sent = event("POST", path::SIGILS, r#"{"data":1}"#, |event| {
                event["headers"]["content-type"] = content_type;
            });
            let refused = encode.answer(sent).await;
            assert_eq!(
                (refused.status(), &body(&refused)["error"]),
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, &json!("unsupported_media_type"))
            );
        }
        let without = event("POST", path::SIGILS, r#"{"data":1}"#, |event| event["headers"] = json!({}));
        assert_eq!(encode.answer(without).await.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
        assert_eq!(counter(&registry, "sigil_encode_total"), 0.0);
    }

    #[tokio::test]
    async fn callers_do_not_share_idempotency_keys() {
        let (encode, registry) = function();
        let jwt = |issuer, subject| json!({ "jwt": { "claims": { "iss": issuer, "sub": subject } } });
        // All users of a role share its ARN.
        let through_cognito = |identity| {
            json!({ "iam": {
                "userArn": "arn:aws:sts::123456789012:assumed-role/users/CognitoIdentityCredentials",
                "cognitoIdentity": { "identityId": identity },
            } })
        };
        let mut tokens = Vec::new();
        for authorizer in [
            json!(null),
            json!({ "iam": { "userArn": "arn:aws:iam::123456789012:user/a" } }),
            json!({ "iam": { "userArn": "arn:aws:iam::123456789012:user/b" } }),
            through_cognito("a"),
            through_cognito("b"),
            jwt("a", "b"),
            jwt("a", "c"),
            jwt("b", "b"),
        ] {
            let first = body(&encode.answer(with_key_of(authorizer.clone(), r#"{"data":1}"#, "key")).await);
            let again = body(&encode.answer(with_key_of(authorizer, r#"{"data":1}"#, "key")).await);
            assert_eq!(first, again);
            tokens.push(first["sigil"]["token"].to_string());
        }
        assert_eq!(tokens.iter().collect::<std::collections::BTreeSet<_>>().len(), 8, "{tokens:?}");
        assert_eq!(counter(&registry, "sigil_encode_total"), 8.0);
        assert_eq!(counter(&registry, "sigil_encode_repeats_total"), 8.0);
    }

    #[tokio::test]
    async fn a_token_without_a_subject_cannot_own_an_idempotency_key() {
        let (encode, registry) = function();
        let without_subject = json!({ "jwt": { "claims": { "iss": "a" } } });
        let refused = encode.answer(with_key_of(without_subject.clone(), r#"{"data":1}"#, "key")).await;
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
        let fault = &body(&refused)["faults"][0];
        assert_eq!(fault["field"], "Idempotency-Key");
        assert!(fault["detail"].as_str().unwrap().contains("sub"), "{fault}");
        assert_eq!(counter(&registry, "sigil_encode_total"), 0.0);

        let without_key = event("POST", path::SIGILS, r#"{"data":1}"#, |event| {
            event["requestContext"]["authorizer"] = without_subject;
        });
        assert_eq!(encode.answer(without_key).await.status(), StatusCode::CREATED);
    }

    #[tokio::test]
    async fn an_event_that_is_no_request_is_answered_and_counted() {
        let (encode, registry) = function();
        let rest = json!({ "httpMethod": "POST", "path": path::SIGILS, "requestContext": {}, "body": "{}" });
        let refused = encode.answer(serde_json::value::to_raw_value(&rest).unwrap()).await;
        assert_eq!(
            (refused.status(), &body(&refused)["error"]),
            (StatusCode::BAD_REQUEST, &json!("unsupported_event"))
        );
        assert_eq!(counter(&registry, "sigil_error_total"), 1.0);
    }

    #[tokio::test]
    async fn a_body_that_no_record_could_hold_is_refused_by_its_length() {
        let (encode, _) = function();
        let blanks = " ".repeat(sigil_http::body::MAX_BODY_BYTES - r#"{"data":1}"#.len());
        let longest = format!(r#"{{"data":1{blanks}}}"#);
        assert_eq!(encode.answer(post(&longest)).await.status(), StatusCode::CREATED);
        let refused = encode.answer(post(&(longest + " "))).await;
        assert_eq!((refused.status(), &body(&refused)["error"]), (StatusCode::PAYLOAD_TOO_LARGE, &json!("too_large")));
    }

    #[tokio::test]
    async fn however_much_is_wrong_the_answer_is_small() {
        let (encode, _) = function();
        let long = "é\u{1}\"".repeat(20_000);
        let unknown: Vec<_> = (0..50_000).map(|number| format!(r#""{number}":0"#)).collect();
        for faulty in [
            format!("{{{}}}", unknown.join(",")),
            format!(r#"{{"data":{{{}"a":0}}}}"#, r#""a":0,"#.repeat(50_000)),
            format!("{{{}:{{{}:1e400}}}}", json!(long), json!(long)),
            json!({ "data": 1, long.as_str(): 0, "metadata": { long.as_str(): { long.as_str(): 9.5e-300 } } })
                .to_string(),
            "[".repeat(100_000),
            format!(r#"{{"data":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000)),
        ] {
            let refused = encode.answer(with_key(&faulty, &"k".repeat(5000))).await;
            assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
            let Body::Text(text) = refused.body() else { panic!("a problem is a text") };
            assert!(text.len() < 16 * 1024, "{} bytes for {}", text.len(), &faulty[..20]);
        }
    }

    #[tokio::test]
    async fn every_fault_of_a_request_is_named_and_nothing_is_stored() {
        let (encode, registry) = function();
        let faulty = r#"{"data":9007199254740993,"ttl_seconds":3601,"metadata":[],"extra":0}"#;
        let refused = encode.answer(with_key(faulty, "ü")).await;
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
        assert_eq!(refused.headers()[CONTENT_TYPE], "application/problem+json");
        let problem = body(&refused);
        let fields: Vec<&str> =
            problem["faults"].as_array().unwrap().iter().map(|fault| fault["field"].as_str().unwrap()).collect();
        assert_eq!(fields, ["/data", "/ttl_seconds", "/metadata", "Idempotency-Key", "/extra"]);
        assert_eq!(counter(&registry, "sigil_encode_total"), 0.0);
        assert_eq!(counter(&registry, "sigil_error_total"), 1.0);
    }

    #[tokio::test]
    async fn other_methods_and_paths_are_refused_by_name() {
        let (encode, _) = function();
        let refused = encode.answer(request("PUT", path::SIGILS, "")).await;
        assert_eq!(
            (refused.status(), &refused.headers()[ALLOW]),
            (StatusCode::METHOD_NOT_ALLOWED, &"POST".parse().unwrap())
        );
        let refused = encode.answer(request("PUT", &format!("{}/x", path::SIGILS), "")).await;
        assert_eq!(refused.headers()[ALLOW], "DELETE");
        assert_eq!(encode.answer(request("POST", "/elsewhere", "")).await.status(), StatusCode::NOT_FOUND);
        let refused = encode.answer(request("HEAD", path::SIGILS, "")).await;
        assert_eq!((refused.status(), refused.body()), (StatusCode::METHOD_NOT_ALLOWED, &Body::Empty));
    }
}
