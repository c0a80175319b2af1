//! Runs the Lambda runtime loop of a function that publishes metrics.

use std::sync::Arc;
use std::time::Duration;

use lambda_runtime::{LambdaInvocation, Runtime};
use prometheus_dynamodb::{PublishService, PublishStats, Publisher};
use tower::Service;

use crate::deadline::{DeadlineLayer, DeadlineService};

/// Runs the loop. It gives each invocation at most the time `limit`, publishes metrics after each response, and
/// publishes a last time on SIGTERM. Up to `AWS_LAMBDA_MAX_CONCURRENCY` invocations run at once. If Lambda takes an
/// image of the initialized function, the counts from before are counted once.
///
/// # Errors
///
/// If the Runtime API fails, which ends the environment.
pub async fn serve<T, S>(
    runtime: Runtime<S>,
    limit: Duration,
    publisher: Publisher<T>,
) -> Result<(), lambda_runtime::Error>
where
    T: PublishStats,
    S: Service<LambdaInvocation, Response = (), Error = lambda_runtime::Error>,
    PublishService<T, DeadlineService<S>>:
        Service<LambdaInvocation, Response = (), Error = lambda_runtime::Error, Future: Send> + Clone + Send + 'static,
{
    let closing = publisher.clone();
    // Lambda sends SIGTERM only to environments in which an extension is registered. This call registers an empty one.
    lambda_runtime::spawn_graceful_shutdown_handler(move || async move { closing.close().await }).await;
    runtime
        // The resource that is registered first is notified last before the image is taken, and first after it is
        // restored. So the publisher sees everything that other resources count.
        .register_snapstart_resource(Arc::new(publisher.clone()))
        // Publishing happens after the response and has its own budget, so its layer is outside the invocation's
        // deadline.
        .layer(DeadlineLayer::new(limit))
        .layer(publisher.layer())
        .run_concurrent()
        .await
}
