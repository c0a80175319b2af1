//! HTTP requests and responses, as API Gateway's HTTP APIs and function URLs hand them over: payload format 2.0.
//!
//! event → [`request`] → handler → response → `response`
//!
//! `lambda_http` has all of this, too, but makes a URI of whatever the client has sent and panics when that is none.

pub mod request;
mod response;

use lambda_http::{Body, Response};
use lambda_runtime::{LambdaEvent, LambdaInvocation, Runtime};
use serde_json::value::RawValue;
use tower::{Service, service_fn};

pub use request::{Caller, HttpRequest, UnsupportedEvent};

/// A runtime that has every event answered by this handler. It is given the event as it came, so that it can answer and
/// count one that is no HTTP request as well.
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
        async move { Ok::<_, lambda_runtime::Error>(response::to_payload(response.await)) }
    }))
}
