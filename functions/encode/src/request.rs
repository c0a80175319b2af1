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
        let key = IdempotencyKey::parse(caller(request.caller()), key);
        if key.is_none() {
            let max = IdempotencyKey::MAX_CHARACTERS;
            body.refuse(IDEMPOTENCY_KEY, format!("1 to {max} printable ASCII characters are needed"));
        }
        key
    });
    body.finish(|| Some(EncodeRequest { data: data?, metadata, ttl_seconds, idempotency_key }))
}

fn caller(caller: &Caller) -> record::Caller {
    match caller {
        Caller::Anonymous => record::Caller::anonymous(),
        Caller::Iam { arn } => record::Caller::named("iam", &[arn]),
        Caller::Jwt { issuer, subject } => record::Caller::named("jwt", &[issuer, subject]),
    }
}
