//! The tower layer that publishes after the response, on nobody's time.
//!
//! The runtime's outermost service posts the response before its future ends, and asks for the next event only after
//! that. What a layer does in between costs the client nothing.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tower::{Layer, Service};

use crate::publisher::Publisher;
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

impl<T, S, R> Service<R> for PublishService<T, S>
where
    T: PublishStats,
    S: Service<R>,
    S::Future: Send + 'static,
    S::Response: Send,
    S::Error: Send,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let in_flight = self.publisher.begin_request();
        let response = self.inner.call(request);
        Box::pin(async move {
            let result = response.await;
            in_flight.response_is_out().await;
            // The inner result as it is: an error of our own would end the runtime's loop and with it the process.
            result
        })
    }
}
