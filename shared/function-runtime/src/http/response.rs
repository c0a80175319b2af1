//! Turns a response into the payload that Lambda expects.

use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpResponse;
use lambda_http::{Body, Response};

/// Returns the response in payload format 2.0. Load balancers and REST APIs can read that format too, so someone who
/// puts the function behind one of these sees the error message.
pub(super) fn to_payload(response: Response<Body>) -> ApiGatewayV2httpResponse {
    let (parts, body) = response.into_parts();
    let mut payload = ApiGatewayV2httpResponse::default();
    payload.status_code = i64::from(parts.status.as_u16());
    payload.headers = parts.headers;
    payload.is_base64_encoded = matches!(body, Body::Binary(_));
    payload.body = (!matches!(body, Body::Empty)).then_some(body);
    payload
}
