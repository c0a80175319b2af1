//! Turns a response into the payload that Lambda expects.

use std::collections::BTreeMap;

use lambda_http::{Body, Response};
use serde::Serialize;

/// A response in payload format 2.0, without the member `cookies`, which the functions never set: REST APIs refuse a
/// response that has it, and answer 502. So someone who puts a function behind a REST API or a load balancer sees the
/// function's own message, which says what is wrong.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Payload {
    status_code: u16,
    headers: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Body>,
    is_base64_encoded: bool,
}

impl From<Response<Body>> for Payload {
    fn from(response: Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        let text = |value: &lambda_http::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        Self {
            status_code: parts.status.as_u16(),
            headers: parts.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
            is_base64_encoded: matches!(body, Body::Binary(_)),
            body: (!matches!(body, Body::Empty)).then_some(body),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn payload(body: Body) -> Value {
        let response = Response::builder().status(404).header("Retry-After", "1").body(body).unwrap();
        serde_json::to_value(Payload::from(response)).unwrap()
    }

    #[test]
    fn a_payload_has_the_members_that_every_kind_of_api_takes_and_no_other() {
        let headers = json!({ "retry-after": "1" });
        assert_eq!(
            payload(Body::Text("é".to_owned())),
            json!({ "statusCode": 404, "headers": headers, "body": "é", "isBase64Encoded": false })
        );
        assert_eq!(
            payload(Body::Binary(vec![255])),
            json!({ "statusCode": 404, "headers": headers, "body": "/w==", "isBase64Encoded": true })
        );
        assert_eq!(payload(Body::Empty), json!({ "statusCode": 404, "headers": headers, "isBase64Encoded": false }));
    }
}
