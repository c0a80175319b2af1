//! Answers requests to verify a token, to show a record, and to get the public keys.

use function_runtime::http::{HttpRequest, as_asked};
use lambda_http::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use lambda_http::http::{HeaderValue, StatusCode};
use lambda_http::{Body, Response};
use serde::Serialize;
use serde_json::value::RawValue;
use sigil::metrics::{ErrorMetrics, Operation, VerifyMetrics};
use sigil::record::SigilId;
use sigil::store::{LoadRecord, Loaded};
use sigil::timestamp::Timestamp;
use sigil::verify::{Verdict, Verifier};
use sigil::view::SigilView;
use sigil_http::body::{self, JsonObject};
use sigil_http::error::ApiError;
use sigil_http::{path, reply};

/// Path of the public keys: a well-known URI (RFC 8615).
const JWKS: &str = "/.well-known/jwks.json";

/// Time for which clients may cache the keys, as `Cache-Control`. A client may not know a new key for that long, so a
/// key should be published for that long before it signs.
const JWKS_CACHE: &str = "public, max-age=300";

/// Operations for which this function counts errors.
pub const OPERATIONS: [Operation; 3] = [Operation::Verify, Operation::Get, Operation::Other];

/// Answers requests.
#[derive(Debug)]
pub struct Verify<S> {
    verifier: Verifier<S>,
    metrics: VerifyMetrics,
    errors: ErrorMetrics,
}

#[derive(Serialize)]
struct Verified<'a> {
    valid: bool,
    verdict: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    sigil: Option<SigilView<'a>>,
}

impl<S: LoadRecord> Verify<S> {
    /// Creates a handler.
    pub fn new(verifier: Verifier<S>, metrics: VerifyMetrics, errors: ErrorMetrics) -> Self {
        Self { verifier, metrics, errors }
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
        let other = |error| (Operation::Other, Err(error));
        if request.path().ends_with(JWKS) {
            return match request.method() {
                "GET" | "HEAD" => (Operation::Other, Ok(self.keys().await)),
                _ => other(ApiError::MethodNotAllowed { allowed: "GET, HEAD" }),
            };
        }
        match (path::below_sigils(request.path()), request.method()) {
            (Some("/verify"), "POST") => {
                let _timer = self.metrics.start();
                (Operation::Verify, self.verify(request, now).await)
            }
            (Some("/verify"), _) => other(ApiError::MethodNotAllowed { allowed: "POST" }),
            (Some(below), "GET" | "HEAD") if below.len() > 1 => (Operation::Get, self.get(&below[1..], now).await),
            (Some(below), _) if below.len() > 1 => other(ApiError::MethodNotAllowed { allowed: "GET, HEAD" }),
            _ => other(ApiError::NotFound("tokens are verified at /api/consciousness/sigils/verify")),
        }
    }

    /// Answers a request to verify. Its body is `{"token", "data"?}`. Unlike in other members, `null` is data here,
    /// because it may be the data that was registered.
    async fn verify(&self, request: &HttpRequest, now: Timestamp) -> Result<Response<Body>, ApiError> {
        let text = body::text(request)?;
        let mut body = JsonObject::read(&text, &["token", "data"])?;
        let token = body.required("token").and_then(|raw| body.typed::<String>("token", raw, "a text is needed"));
        let data = body.take("data");
        let token = body.finish(|| token)?;

        let verification = self.verifier.verify(&token, data, now).await?;
        self.metrics.verified(verification.verdict);
        let verified = Verified {
            valid: verification.verdict == Verdict::Valid,
            verdict: verification.verdict,
            sigil: verification.record.as_ref().map(|record| SigilView::for_holder(record, now)),
        };
        Ok(reply::json(StatusCode::OK, &verified))
    }

    async fn get(&self, id: &str, now: Timestamp) -> Result<Response<Body>, ApiError> {
        let id = SigilId::parse(id).ok_or(ApiError::Unknown)?;
        match self.verifier.load(id).await? {
            Some(Loaded::Record(record)) => Ok(reply::json(StatusCode::OK, &SigilView::of_record(&record, now))),
            Some(Loaded::Damaged) => Err(ApiError::Damaged),
            None => Err(ApiError::Unknown),
        }
    }

    async fn keys(&self) -> Response<Body> {
        let mut response = Response::new(Body::Text(self.verifier.keys().await.jwks()));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/jwk-set+json"));
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(JWKS_CACHE));
        response
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lambda_http::http::header::ALLOW;
    use prometheus::Registry;
    use secrets::Secret;
    use serde_json::{Value, json};
    use sigil::canonical::CanonicalJson;
    use sigil::encode::{EncodeRequest, Encoder, Lifetimes};
    use sigil::keys::{self, SigningKeys};
    use sigil::record::SigilRecord;
    use sigil::store::{MemoryStore, StorageError};

    use super::*;

    /// A store that takes its time.
    struct Slow(MemoryStore);

    const SLOWNESS: Duration = Duration::from_millis(20);

    impl LoadRecord for Slow {
        async fn load(&self, id: SigilId) -> Result<Option<Loaded>, StorageError> {
            tokio::time::sleep(SLOWNESS).await;
            self.0.load(id).await
        }
    }

    /// A store whose every item was changed by someone else.
    struct Damaged;

    impl LoadRecord for Damaged {
        async fn load(&self, _: SigilId) -> Result<Option<Loaded>, StorageError> {
            Ok(Some(Loaded::Damaged))
        }
    }

    /// Returns the function, and a record that is in its store.
    async fn function() -> (Verify<MemoryStore>, SigilRecord) {
        function_with(|store| store, &Registry::new()).await
    }

    /// Returns the function on a store that is made of one with a record, and that record.
    async fn function_with<S: LoadRecord>(
        make: impl FnOnce(MemoryStore) -> S,
        registry: &Registry,
    ) -> (Verify<S>, SigilRecord) {
        let store = MemoryStore::default();
        let keys = SigningKeys::parse(&keys::generate("a")).unwrap();
        let verifier = Verifier::new(make(store.clone()), Secret::fixed(keys.verifying().clone()));
        let encoder =
            Encoder::new(store, Secret::fixed(keys), Lifetimes { max_ttl_seconds: 3600, retention_seconds: 60 });
        let raw = serde_json::value::RawValue::from_string(r#"{"a":1}"#.into()).unwrap();
        let data = CanonicalJson::from_raw(&raw).unwrap();
        let request = EncodeRequest { data, metadata: None, ttl_seconds: Some(60), idempotency_key: None };
        let record = encoder.encode(request, Timestamp::now()).await.unwrap().record;
        let metrics = VerifyMetrics::register(registry).unwrap();
        let errors = ErrorMetrics::register(registry, &OPERATIONS).unwrap();
        (Verify::new(verifier, metrics, errors), record)
    }

    fn request(method: &str, path: &str, body: &str) -> Box<RawValue> {
        serde_json::value::to_raw_value(&json!({
            "version": "2.0",
            "rawPath": path,
            "headers": { "content-type": "application/json" },
            "requestContext": { "http": { "method": method } },
            "body": body,
        }))
        .unwrap()
    }

    fn body(response: &Response<Body>) -> Value {
        let Body::Text(text) = response.body() else { panic!("the body is text") };
        serde_json::from_str(text).unwrap()
    }

    #[tokio::test]
    async fn a_token_is_verified_with_and_without_its_data() {
        let (verify, record) = function().await;
        let path = format!("{}/verify", path::SIGILS);
        let token = &record.token;
        for (sent, verdict) in [
            (json!({ "token": token }), "valid"),
            (json!({ "token": token, "data": { "a": 1.0 } }), "valid"),
            (json!({ "token": token, "data": { "a": 2 } }), "tampered"),
            (json!({ "token": token, "data": null }), "tampered"),
            (json!({ "token": "nonsense" }), "bad_signature"),
        ] {
            let answer = verify.answer(request("POST", &path, &sent.to_string())).await;
            assert_eq!(answer.status(), StatusCode::OK);
            let answer = body(&answer);
            assert_eq!((&answer["verdict"], &answer["valid"]), (&json!(verdict), &json!(verdict == "valid")), "{sent}");
        }
    }

    #[tokio::test]
    async fn whoever_has_only_the_token_is_shown_the_state_and_not_the_data() {
        let (verify, record) = function().await;
        let path = format!("{}/verify", path::SIGILS);
        let answer = verify.answer(request("POST", &path, &json!({ "token": record.token }).to_string())).await;
        let shown = &body(&answer)["sigil"];
        assert_eq!((&shown["id"], &shown["state"]), (&json!(record.id.to_string()), &json!("active")));
        for kept in ["data", "metadata", "token"] {
            assert_eq!(shown.get(kept), None, "{shown}");
        }
    }

    #[tokio::test]
    async fn a_damaged_record_is_not_shown_and_its_token_not_valid() {
        let registry = Registry::new();
        let (verify, record) = function_with(|_| Damaged, &registry).await;
        let shown = verify.answer(request("GET", &format!("{}/{}", path::SIGILS, record.id), "")).await;
        assert_eq!((shown.status(), &body(&shown)["error"]), (StatusCode::INTERNAL_SERVER_ERROR, &json!("damaged")));
        let sent = json!({ "token": record.token }).to_string();
        let verified = verify.answer(request("POST", &format!("{}/verify", path::SIGILS), &sent)).await;
        assert_eq!(body(&verified), json!({ "valid": false, "verdict": "tampered" }));
    }

    #[tokio::test]
    async fn the_duration_includes_the_calls_to_the_store() {
        let registry = Registry::new();
        let (verify, record) = function_with(Slow, &registry).await;
        let sent = json!({ "token": record.token }).to_string();
        verify.answer(request("POST", &format!("{}/verify", path::SIGILS), &sent)).await;
        let families = registry.gather();
        let family = families.iter().find(|family| family.name() == "sigil_verify_duration_seconds").unwrap();
        let histogram = family.get_metric()[0].get_histogram();
        assert_eq!(histogram.get_sample_count(), 1);
        assert!(histogram.get_sample_sum() >= SLOWNESS.as_secs_f64(), "{histogram:?}");
    }

    #[tokio::test]
    async fn data_are_looked_at_only_when_the_token_is_signed() {
        let (verify, record) = function().await;
        let path = format!("{}/verify", path::SIGILS);
        let sent = |token: &str| format!(r#"{{"token":"{token}","data":[1e400]}}"#);
        let forged = verify.answer(request("POST", &path, &sent("nonsense"))).await;
        assert_eq!(body(&forged)["verdict"], "bad_signature");
        let refused = verify.answer(request("POST", &path, &sent(&record.token))).await;
        assert_eq!(
            (refused.status(), &body(&refused)["faults"][0]["field"]),
            (StatusCode::BAD_REQUEST, &json!("/data/0"))
        );
    }

    #[tokio::test]
    async fn a_record_is_shown_by_its_id() {
        let (verify, record) = function().await;
        let shown = verify.answer(request("GET", &format!("{}/{}", path::SIGILS, record.id), "")).await;
        assert_eq!((shown.status(), &body(&shown)["data"]), (StatusCode::OK, &json!({ "a": 1 })));
        for unknown in ["00000000-0000-4000-8000-000000000000", "verifyx", "%2e%2e"] {
            let answer = verify.answer(request("GET", &format!("{}/{unknown}", path::SIGILS), "")).await;
            assert_eq!((answer.status(), &body(&answer)["error"]), (StatusCode::NOT_FOUND, &json!("unknown")));
        }
    }

    #[tokio::test]
    async fn the_keys_may_be_cached() {
        let (verify, _) = function().await;
        let keys = verify.answer(request("GET", JWKS, "")).await;
        assert_eq!(body(&keys)["keys"][0]["kid"], "a");
        assert_eq!(keys.headers()[CACHE_CONTROL], "public, max-age=300");
        assert_eq!(keys.headers()[CONTENT_TYPE], "application/jwk-set+json");
        let refused = verify.answer(request("POST", JWKS, "")).await;
        assert_eq!(
            (refused.status(), &refused.headers()[ALLOW]),
            (StatusCode::METHOD_NOT_ALLOWED, &"GET, HEAD".parse().unwrap())
        );
    }

    #[tokio::test]
    async fn head_is_answered_as_get_without_the_body() {
        let (verify, record) = function().await;
        let unknown = format!("{}/00000000-0000-4000-8000-000000000000", path::SIGILS);
        for path in [format!("{}/{}", path::SIGILS, record.id), JWKS.to_owned(), unknown] {
            let get = verify.answer(request("GET", &path, "")).await;
            let head = verify.answer(request("HEAD", &path, "")).await;
            assert_eq!((head.status(), head.headers()), (get.status(), get.headers()), "{path}");
            assert_eq!(head.body(), &Body::Empty, "{path}");
        }
    }
}
