//! Reads a request to encode.

use function_runtime::http::{Caller, HttpRequest};
use sigil::encode::EncodeRequest;
use sigil::record::{self, IdempotencyKey};
use sigil_http::body::{self, JsonObject};
use sigil_http::error::ApiError;

/// Header in which a client names a request, so that the client can safely send it again.
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// Reads a request to encode: the body `{"data":…, "ttl_seconds"?, "metadata"?}`, and the header `Idempotency-Key`.
pub fn read(request: &HttpRequest, max_ttl_seconds: u64) -> Result<EncodeRequest, ApiError> {
    let text = body::text(request)?;
    let mut body = JsonObject::read(&text, &["data", "ttl_seconds", "metadata"])?;
    let data = body.required("data").and_then(|raw| body.canonical("data", raw));
    let ttl_seconds = body.optional("ttl_seconds").and_then(|raw| {
        let expected = format!("a whole number from 1 to {max_ttl_seconds} is needed");
        let seconds = body.typed::<u64>("ttl_seconds", raw, &expected)?;
        if !(1..=max_ttl_seconds).contains(&seconds) {
            body.refuse("/ttl_seconds", expected);
        }
        Some(seconds)
    });
    let metadata = body.optional("metadata").and_then(|raw| {
        if !raw.get().starts_with('{') {
            body.refuse("/metadata", "an object is needed");
        }
        body.canonical("metadata", raw)
    });
    let idempotency_key = request.header("idempotency-key").and_then(|key| {
        let Some(caller) = caller(request.caller()) else {
            body.refuse(IDEMPOTENCY_KEY, "a token with the claim sub is needed, which tells callers apart");
            return None;
        };
        let key = IdempotencyKey::parse(caller, key);
        if key.is_none() {
            let max = IdempotencyKey::MAX_CHARACTERS;
            body.refuse(IDEMPOTENCY_KEY, format!("1 to {max} printable ASCII characters are needed"));
        }
        key
    });
    body.finish(|| Some(EncodeRequest { data: data?, metadata, ttl_seconds, idempotency_key }))
}

/// Returns the owner of an idempotency key, or `None` if the caller is one of several who cannot be told apart.
fn caller(caller: &Caller) -> Option<record::Caller> {
    Some(match caller {
        Caller::Anonymous => record::Caller::anonymous(),
        Caller::Iam { arn, cognito_identity: None } => record::Caller::named("iam", &[arn]),
        Caller::Iam { arn, cognito_identity: Some(identity) } => record::Caller::named("iam", &[arn, identity]),
        Caller::Jwt { issuer, subject } => record::Caller::named("jwt", &[issuer, subject.as_deref()?]),
    })
}
