//! A request to verify a token, to show a record, or for the keys.

use function_kit::problem::Problem;
use lambda_http::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use lambda_http::http::{HeaderValue, Method, StatusCode};
use lambda_http::{Body, Request, RequestExt, Response};
use serde_json::json;
use sigil::metrics::{ErrorMetrics, Operation, VerifyMetrics};
use sigil::record::SigilId;
use sigil::store::{LoadRecord, Loaded};
use sigil::timestamp::Timestamp;
use sigil::verify::{Verdict, Verifier};
use sigil::view::SigilView;
use sigil_http::body::JsonObject;
use sigil_http::error::ApiError;
use sigil_http::{path, reply};

/// Where the keys are: a well-known place (RFC 8615).
const JWKS: &str = "/.well-known/jwks.json";

/// How long the keys may be cached. A new key is published at once and signs at once, so this is also how long a client
/// may not know it.
const JWKS_CACHE: &str = "public, max-age=300";

/// Answers requests.
#[derive(Debug)]
pub struct Verify<S> {
    verifier: Verifier<S>,
    metrics: VerifyMetrics,
    errors: ErrorMetrics,
}

impl<S: LoadRecord> Verify<S> {
    /// Answers requests by these.
    pub fn new(verifier: Verifier<S>, metrics: VerifyMetrics, errors: ErrorMetrics) -> Self {
        Self { verifier, metrics, errors }
    }

    /// Answers one request.
    pub async fn handle(&self, request: &Request) -> Response<Body> {
        let now = Timestamp::now();
        if request.raw_http_path().ends_with(JWKS) {
            return if request.method() == Method::GET {
                self.keys().await
            } else {
                Problem::method_not_allowed("GET").into_response()
            };
        }
        let (operation, result) = match (path::below_sigils(request), request.method()) {
            (Some("/verify"), &Method::POST) => {
                let _timer = self.metrics.start();
                (Operation::Verify, self.verify(request, now).await)
            }
            (Some("/verify"), _) => return Problem::method_not_allowed("POST").into_response(),
            (Some(below), &Method::GET) if below.len() > 1 => (Operation::Get, self.get(&below[1..], now).await),
            (Some(below), _) if below.len() > 1 => return Problem::method_not_allowed("GET").into_response(),
            _ => {
                let detail = format!("tokens are verified at {}/verify", path::SIGILS);
                return Problem::new(StatusCode::NOT_FOUND, "not_found", detail).into_response();
            }
        };
        result.unwrap_or_else(|error| {
            self.errors.count(operation, error.reason());
            error.into_problem().into_response()
        })
    }

    /// The body is `{"token", "data"?}`. Unlike elsewhere, `null` is data: it can be what was registered.
    async fn verify(&self, request: &Request, now: Timestamp) -> Result<Response<Body>, ApiError> {
        let mut body = JsonObject::read(request)?;
        let token = body.required("token").and_then(|raw| body.typed::<String>("token", raw, "a text is needed"));
        let data = body.take("data").map(|raw| body.canonical("data", raw));
        let (token, data) = body.finish(|| Some((token?, data)))?;
        let data = data.flatten();

        let verification = self.verifier.verify(&token, data.as_ref(), now).await?;
        self.metrics.verified(verification.verdict);
        let mut answer = json!({ "valid": verification.verdict == Verdict::Valid, "verdict": verification.verdict });
        if let Some(record) = &verification.record {
            answer["sigil"] = json!(SigilView::for_holder(record, now));
        }
        Ok(reply::json(StatusCode::OK, &answer))
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
