//! The Lambda runtime loop of a function that publishes metrics.

use std::sync::Arc;
use std::time::Duration;

use lambda_runtime::{LambdaInvocation, Runtime};
use prometheus_dynamodb::{PublishService, PublishStats, Publisher};
use tower::Service;

use crate::deadline::{DeadlineLayer, DeadlineService};

/// Runs the loop: gives each invocation this time at most, publishes after each response, and a last time on SIGTERM. As many
/// invocations run at once as `AWS_LAMBDA_MAX_CONCURRENCY` says. Where Lambda takes an image of the initialised function,
/// what was counted before is counted once.
///
/// # Errors
///
/// When the Runtime API fails, which ends the environment.
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
    // Lambda sends SIGTERM only to environments in which an extension is registered; this registers an empty one.
    lambda_runtime::spawn_graceful_shutdown_handler(move || async move { closing.close().await }).await;
    runtime
        // The first resource is told of the image last and of the restoring first, and so sees all that others count.
        .register_snapstart_resource(Arc::new(publisher.clone()))
        // Publishing comes after the response and has a budget of its own, so it is outside of the invocation's deadline.
        .layer(DeadlineLayer::new(limit))
        .layer(publisher.layer())
        .run_concurrent()
        .await
}
