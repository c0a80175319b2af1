//! The tower layer that publishes after the response, on nobody's time.
//!
//! The runtime's outermost service posts the response before its future ends, and asks for the next event only after
//! that. What a layer does in between costs the client nothing.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use lambda_runtime::LambdaInvocation;
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::publish::publisher::{Publisher, RequestInFlight};
use crate::table::PublishStats;

/// See [`Publisher::layer`].
pub struct PublishLayer<T> {
    publisher: Publisher<T>,
}

impl<T> PublishLayer<T> {
    pub(crate) fn new(publisher: Publisher<T>) -> Self {
        Self { publisher }
    }
}

impl<T> fmt::Debug for PublishLayer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishLayer").finish_non_exhaustive()
    }
}

impl<T, S> Layer<S> for PublishLayer<T> {
    type Service = PublishService<T, S>;

    fn layer(&self, inner: S) -> Self::Service {
        PublishService { publisher: self.publisher.clone(), inner }
    }
}

/// See [`Publisher::layer`].
#[derive(Debug)]
pub struct PublishService<T, S> {
    publisher: Publisher<T>,
    inner: S,
}

impl<T, S: Clone> Clone for PublishService<T, S> {
    fn clone(&self) -> Self {
        Self { publisher: self.publisher.clone(), inner: self.inner.clone() }
    }
}

impl<T, S> Service<LambdaInvocation> for PublishService<T, S>
where
    T: PublishStats,
    S: Service<LambdaInvocation>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = PublishFuture<T, S::Future, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, invocation: LambdaInvocation) -> Self::Future {
        let in_flight = self.publisher.begin_request(invocation.context.deadline);
        PublishFuture::Responding { response: self.inner.call(invocation), in_flight: Some(in_flight) }
    }
}

pin_project! {
    /// See [`Publisher::layer`]. It can be sent between threads if the inner service's future can, which a runtime that
    /// serves several requests at once needs.
    #[project = Projection]
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub enum PublishFuture<T: PublishStats, F, O> {
        /// The response is not out yet.
        Responding {
            #[pin]
            response: F,
            in_flight: Option<RequestInFlight<T>>,
        },
        /// The response is out.
        Publishing {
            publish: Publish,
            result: Option<O>,
        },
    }
}

impl<T, F, O> Future for PublishFuture<T, F, O>
where
    T: PublishStats,
    F: Future<Output = O>,
{
    type Output = O;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<O> {
        loop {
            match self.as_mut().project() {
                Projection::Responding { response, in_flight } => {
                    let result = ready!(response.poll(context));
                    let in_flight = in_flight.take().expect("the response comes once");
                    let publish = Publish(Box::pin(in_flight.response_is_out()));
                    self.set(Self::Publishing { publish, result: Some(result) });
                }
                Projection::Publishing { publish, result } => {
                    ready!(publish.0.as_mut().poll(context));
                    // The inner result as it is: an error of our own would end the runtime's loop and with it the process.
                    return Poll::Ready(result.take().expect("the future is not polled again"));
                }
            }
        }
    }
}

/// Publishing, after the response.
pub struct Publish(Pin<Box<dyn Future<Output = ()> + Send>>);

impl fmt::Debug for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Publish")
    }
}
