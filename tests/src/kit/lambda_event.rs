//! Builds events as AWS services send them to functions.

use bytes::Bytes;
use hyper::Response;
use lambda_runtime::{Context, LambdaInvocation};
use serde_json::{Value, json};

/// Returns an event as the runtime hands it to the layers around a handler. The deadline is in milliseconds since the
/// epoch.
pub fn invocation(deadline_ms: u64) -> LambdaInvocation {
    let (parts, ()) = Response::new(()).into_parts();
    let mut context = Context::default();
    context.deadline = deadline_ms;
    LambdaInvocation { parts, body: Bytes::new(), context }
}

/// Returns a request as API Gateway's HTTP API sends it, in payload format 2.0.
pub fn http_request(method: &str, path: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Value {
    let headers: serde_json::Map<String, Value> = std::iter::once(("host", "api.example"))
        .chain(body.map(|_| ("content-type", "application/json")))
        .chain(headers.iter().copied())
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": headers,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "api",
            "domainName": "api.example",
            "domainPrefix": "api",
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.1",
                "userAgent": "test",
            },
            "requestId": "request",
            "routeKey": "$default",
            "stage": "$default",
            "time": "12/Mar/2020:19:03:58 +0000",
            "timeEpoch": 1_583_348_638_390_u64,
        },
        "body": body.map(Value::to_string),
        "isBase64Encoded": false,
    })
}

/// Returns the event that EventBridge Scheduler sends when a schedule is due.
pub fn scheduled() -> Value {
    json!({
        "version": "0",
        "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa",
        "detail-type": "Scheduled Event",
        "source": "aws.scheduler",
        "account": "123456789012",
        "time": "2020-03-12T19:03:58Z",
        "region": "us-east-1",
        "resources": [],
        "detail": {},
    })
}
