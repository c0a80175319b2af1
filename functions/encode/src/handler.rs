//! A request to encode or to revoke.

use function_kit::problem::Problem;
use lambda_http::http::header::LOCATION;
use lambda_http::http::{HeaderValue, Method, StatusCode};
use lambda_http::{Body, Request, Response};
use serde::Serialize;
use sigil::encode::{EncodeError, Encoder};
use sigil::metrics::{EncodeMetrics, ErrorMetrics, Operation};
use sigil::record::SigilId;
use sigil::revoke::Revoker;
use sigil::store::{InsertRecord, RevokeRecord};
use sigil::timestamp::Timestamp;
use sigil::view::SigilView;
use sigil_http::error::ApiError;
use sigil_http::{path, reply};

use crate::request;

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

impl<S: InsertRecord + RevokeRecord> Encode<S> {
    /// Answers requests by these.
    pub fn new(encoder: Encoder<S>, revoker: Revoker<S>, metrics: EncodeMetrics, errors: ErrorMetrics) -> Self {
        Self { encoder, revoker, metrics, errors }
    }

    /// Answers one request.
    pub async fn handle(&self, request: &Request) -> Response<Body> {
        let now = Timestamp::now();
        let (operation, result) = match (path::below_sigils(request), request.method()) {
            (Some("" | "/"), &Method::POST) => {
                let _timer = self.metrics.start();
                (Operation::Encode, self.encode(request, now).await)
            }
            (Some(below), &Method::DELETE) if below.len() > 1 => {
                (Operation::Revoke, self.revoke(&below[1..], now).await)
            }
            (Some(below), _) => {
                let allowed = if below.len() > 1 { "DELETE" } else { "POST" };
                return Problem::method_not_allowed(allowed).into_response();
            }
            (None, _) => {
                let detail = format!("sigils are at {}", path::SIGILS);
                return Problem::new(StatusCode::NOT_FOUND, "not_found", detail).into_response();
            }
        };
        result.unwrap_or_else(|error| {
            self.errors.count(operation, error.reason());
            error.into_problem().into_response()
        })
    }

    async fn encode(&self, request: &Request, now: Timestamp) -> Result<Response<Body>, ApiError> {
        let request = request::read(request, self.encoder.max_ttl_seconds())?;
        let record = self.encoder.encode(request, now).await.map_err(|error| match error {
            EncodeError::IdempotencyConflict => ApiError::Conflict,
            EncodeError::Storage(error) => ApiError::Storage(error),
            EncodeError::TtlOutOfRange { .. } => unreachable!("reading the request has checked it"),
        })?;
        self.metrics.encoded();
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
    use lambda_http::RequestExt;
    use lambda_http::http::header::{ALLOW, CONTENT_TYPE};
    use prometheus::Registry;
    use secrets::Secret;
    use serde_json::{Value, json};
    use sigil::encode::Lifetimes;
    use sigil::keys::{self, SigningKeys};
    use sigil::store::MemoryStore;

    use super::*;

    fn function() -> (Encode<MemoryStore>, Registry) {
        let registry = Registry::new();
        let keys = SigningKeys::parse(&keys::generate("a")).unwrap();
        let lifetimes = Lifetimes { max_ttl_seconds: 3600, retention_seconds: 60 };
        let store = MemoryStore::default();
        let encode = Encode::new(
            Encoder::new(store.clone(), Secret::fixed(keys), lifetimes),
            Revoker::new(store, lifetimes.retention_seconds),
            EncodeMetrics::register(&registry).unwrap(),
            ErrorMetrics::register(&registry, &[Operation::Encode, Operation::Revoke]).unwrap(),
        );
        (encode, registry)
    }

    fn request(method: Method, path: &str, body: &str) -> Request {
        let request = lambda_http::http::Request::builder()
            .method(method)
            .header(CONTENT_TYPE, "application/json")
            .body(Body::Text(body.to_owned()))
            .unwrap();
        request.with_raw_http_path(path)
    }

    fn post(body: &str) -> Request {
        request(Method::POST, path::SIGILS, body)
    }

    fn with_key(mut request: Request, key: &str) -> Request {
        request.headers_mut().insert("idempotency-key", HeaderValue::from_str(key).unwrap());
        request
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
        let created = encode.handle(&post(r#"{"data":{"a":1},"metadata":{"b":2}}"#)).await;
        assert_eq!(created.status(), StatusCode::CREATED);
        let sigil = &body(&created)["sigil"];
        let path = format!("{}/{}", path::SIGILS, sigil["id"].as_str().unwrap());
        assert_eq!(created.headers()[LOCATION], path);
        assert_eq!(sigil["metadata"], json!({ "b": 2 }));

        let first = encode.handle(&request(Method::DELETE, &path, "")).await;
        let second = encode.handle(&request(Method::DELETE, &path, "")).await;
        assert_eq!(first.status(), StatusCode::OK);
        assert_eq!(body(&first), body(&second), "the first revocation's time stays");
        assert_eq!(counter(&registry, "sigil_encode_total"), 1.0);
        assert_eq!(counter(&registry, "sigil_revoke_total"), 1.0);
        assert_eq!(counter(&registry, "sigil_error_total"), 0.0);
    }

    #[tokio::test]
    async fn an_idempotency_key_makes_one_sigil_of_one_body() {
        let (encode, _) = function();
        let first = encode.handle(&with_key(post(r#"{"data":1}"#), "key")).await;
        let again = encode.handle(&with_key(post(r#"{"data": 1.0}"#), "key")).await;
        assert_eq!(again.status(), StatusCode::CREATED);
        assert_eq!(body(&first), body(&again));
        let other = encode.handle(&with_key(post(r#"{"data":2}"#), "key")).await;
        assert_eq!((other.status(), &body(&other)["error"]), (StatusCode::CONFLICT, &json!("conflict")));
    }

    #[tokio::test]
    async fn every_fault_of_a_request_is_named_and_nothing_is_stored() {
        let (encode, registry) = function();
        let faulty = r#"{"data":9007199254740993,"ttl_seconds":3601,"metadata":[],"extra":0}"#;
        let refused = encode.handle(&with_key(post(faulty), "ü")).await;
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
        let refused = encode.handle(&request(Method::PUT, path::SIGILS, "")).await;
        assert_eq!(
            (refused.status(), &refused.headers()[ALLOW]),
            (StatusCode::METHOD_NOT_ALLOWED, &"POST".parse().unwrap())
        );
        let refused = encode.handle(&request(Method::PUT, &format!("{}/x", path::SIGILS), "")).await;
        assert_eq!(refused.headers()[ALLOW], "DELETE");
        assert_eq!(encode.handle(&request(Method::POST, "/elsewhere", "")).await.status(), StatusCode::NOT_FOUND);
    }
}
