//! The tower layer that publishes after the response, when no client waits any more.
//!
//! The service inside this layer posts the response before its future ends, and the runtime asks for the next event only
//! after the future of the layer has ended. So the time that the layer takes in between costs the client nothing.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use lambda_runtime::LambdaInvocation;
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::publish::publisher::{Publisher, RequestInFlight};
use crate::table::{DynamoDbStatsTable, PublishStats};

/// A layer that adds publishing to a Lambda runtime; see [`Publisher::layer`].
pub struct PublishLayer<T = DynamoDbStatsTable> {
    publisher: Publisher<T>,
}

impl<T: PublishStats> Publisher<T> {
    /// Returns the layer that publishes after each response. Add it last, so that it is outermost:
    /// `lambda_http::runtime(handler).layer(publisher.layer())`. Requests may be served one after the other (`run`) or several
    /// at once (`run_concurrent`).
    pub fn layer(&self) -> PublishLayer<T> {
        self.init_is_over();
        PublishLayer { publisher: self.clone() }
    }
}

impl<T> Clone for PublishLayer<T> {
    fn clone(&self) -> Self {
        Self { publisher: self.publisher.clone() }
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

/// A service that publishes after each response of the service inside; see [`Publisher::layer`].
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

/// Publishers that have counted an invocation. Where a layer was added twice, the inner one does not count it again.
#[derive(Debug, Clone, Default)]
struct CountedBy(Vec<usize>);

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

    fn call(&mut self, mut invocation: LambdaInvocation) -> Self::Future {
        let CountedBy(publishers) = invocation.parts.extensions.get_or_insert_default();
        let is_first = !publishers.contains(&self.publisher.address());
        publishers.push(self.publisher.address());
        let in_flight = is_first.then(|| self.publisher.begin_request(invocation.context.deadline));
        PublishFuture { state: State::Responding { response: self.inner.call(invocation), in_flight } }
    }
}

pin_project! {
    /// A future that answers an invocation and then publishes. It is `Send` if the inner service's future is, which a
    /// runtime that serves several requests at once needs.
    #[must_use = "futures do nothing unless polled"]
    pub struct PublishFuture<T: PublishStats, F, O> {
        #[pin]
        state: State<T, F, O>,
    }
}

pin_project! {
    #[project = Projection]
    enum State<T: PublishStats, F, O> {
        /// The response is not out yet.
        Responding {
            #[pin]
            response: F,
            in_flight: Option<RequestInFlight<T>>,
        },
        /// The response is out.
        Publishing {
            publish: Pin<Box<dyn Future<Output = ()> + Send>>,
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

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<O> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                Projection::Responding { response, in_flight } => {
                    let result = ready!(response.poll(context));
                    let Some(in_flight) = in_flight.take() else { return Poll::Ready(result) };
                    let publish = Box::pin(in_flight.response_is_out());
                    state.set(State::Publishing { publish, result: Some(result) });
                }
                Projection::Publishing { publish, result } => {
                    ready!(publish.as_mut().poll(context));
                    // The inner result is returned as it is: an error of this crate would end the runtime's loop and with it
                    // the process.
                    return Poll::Ready(result.take().expect("the future is not polled again"));
                }
            }
        }
    }
}

impl<T: PublishStats, F, O> fmt::Debug for PublishFuture<T, F, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishFuture").finish_non_exhaustive()
    }
}
