//! A request to encode or to revoke.

use function_kit::problem::Problem;
use lambda_http::http::header::LOCATION;
use lambda_http::http::{HeaderValue, Method, StatusCode};
use lambda_http::{Body, Request, Response};
use serde_json::json;
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
        let body = json!({ "success": true, "sigil": SigilView::for_creator(&record, now) });
        let mut response = reply::json(StatusCode::CREATED, &body);
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
        Ok(reply::json(StatusCode::OK, &json!({ "success": true, "revoked_at": revocation.at })))
    }
}
