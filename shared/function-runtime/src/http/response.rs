//! Turns a response into the payload that Lambda expects.

use std::collections::BTreeMap;

use lambda_http::http::HeaderValue;
use lambda_http::{Body, Response};
use serde::Serialize;

/// Marks a response whose payload may not have the member `cookies`.
#[derive(Debug, Clone, Copy)]
pub(super) struct WithoutCookies;

/// A response in payload format 2.0.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Payload {
    status_code: u16,
    headers: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Body>,
    is_base64_encoded: bool,
    /// Always empty. `cargo lambda watch` needs the member, while a REST API refuses a response that has it, and answers 502
    /// instead of passing on the message that says what is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    cookies: Option<[&'static str; 0]>,
}

impl From<Response<Body>> for Payload {
    fn from(response: Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        Self {
            status_code: parts.status.as_u16(),
            headers: parts.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
            is_base64_encoded: matches!(body, Body::Binary(_)),
            body: (!matches!(body, Body::Empty)).then_some(body),
            cookies: parts.extensions.get::<WithoutCookies>().is_none().then_some([]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{HttpRequest, as_asked};
    use super::*;
    use serde_json::json;
    use serde_json::value::RawValue;

    fn response(body: Body) -> Response<Body> {
        Response::builder().status(404).header("Retry-After", "1").body(body).unwrap()
    }

    #[test]
    fn a_payload_has_the_members_of_format_2() {
        for (body, members) in [
            (Body::Text("é".to_owned()), json!({ "body": "é", "isBase64Encoded": false })),
            (Body::Binary(vec![255]), json!({ "body": "/w==", "isBase64Encoded": true })),
            (Body::Empty, json!({ "isBase64Encoded": false })),
        ] {
            let mut expected = members;
            expected["statusCode"] = json!(404);
            expected["headers"] = json!({ "retry-after": "1" });
            expected["cookies"] = json!([]);
            assert_eq!(serde_json::to_value(Payload::from(response(body))).unwrap(), expected);
        }
    }

    #[test]
    fn the_answer_to_an_event_that_is_no_request_can_go_to_a_rest_api() {
        let request = HttpRequest::read(&RawValue::from_string(r#"{"httpMethod":"GET"}"#.to_owned()).unwrap());
        let answer = as_asked(&request, response(Body::Empty));
        let expected = json!({ "statusCode": 404, "headers": { "retry-after": "1" }, "isBase64Encoded": false });
        assert_eq!(serde_json::to_value(Payload::from(answer)).unwrap(), expected);
    }
}
