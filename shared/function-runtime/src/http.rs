//! Handles HTTP requests and responses in the form in which API Gateway's HTTP APIs and function URLs pass them:
//! payload format 2.0.
//!
//! event → [`request`] → handler → response → `response`
//!
//! `lambda_http` offers all of this too, but it parses whatever the client sends as a URI, and panics if that fails.

pub mod request;
mod response;

use lambda_http::{Body, Response};
use lambda_runtime::{LambdaEvent, LambdaInvocation, Runtime};
use serde_json::value::RawValue;
use tower::{Service, service_fn};

use response::{Payload, WithoutCookies};

pub use request::{Caller, HttpRequest, UnsupportedEvent};

/// Returns the response in the form that the event asks for. The answer to HEAD is that to GET without its body (RFC 9110,
/// section 9.3.2), also if it is a refusal. The answer to an event that is no request may go to a REST API.
pub fn as_asked(request: &Result<HttpRequest, UnsupportedEvent>, mut response: Response<Body>) -> Response<Body> {
    match request {
        Ok(request) if request.method() == "HEAD" => *response.body_mut() = Body::Empty,
        Ok(_) => {}
        Err(_) => drop(response.extensions_mut().insert(WithoutCookies)),
    }
    response
}

/// Creates a runtime that answers every event with this handler. The handler is given the raw event, so that it can
/// also answer and count an event that is not an HTTP request.
pub fn runtime<F, R>(
    handler: F,
) -> Runtime<
    impl Service<LambdaInvocation, Response = (), Error = lambda_runtime::Error, Future: Send> + Clone + Send + 'static,
>
where
    F: Fn(Box<RawValue>) -> R + Clone + Send + 'static,
    R: Future<Output = Response<Body>> + Send + 'static,
{
    Runtime::new(service_fn(move |event: LambdaEvent<Box<RawValue>>| {
        let response = handler(event.payload);
        async move { Ok::<_, lambda_runtime::Error>(Payload::from(response.await)) }
    }))
}
