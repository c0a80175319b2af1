//! A function that handles several requests at once, as on Lambda Managed Instances: Lambda sets
//! `AWS_LAMBDA_MAX_CONCURRENCY`, and `run` obeys it. Nothing else differs: all requests share the metrics, and one
//! publish carries what all of them have counted.

use std::time::Duration;

use lambda_runtime::{Error, LambdaEvent, service_fn};
use prometheus::{IntCounter, IntGauge, Registry};
use serde::de::IgnoredAny;

#[tokio::main]
async fn main() -> Result<(), Error> {
    lambda_runtime::tracing::init_default_subscriber();
    let done = IntCounter::new("jobs_total", "Jobs that were done.")?;
    let running = IntGauge::new("jobs_running", "Jobs that are being done.")?;
    let registry = Registry::new();
    registry.register(Box::new(done.clone()))?;
    registry.register(Box::new(running.clone()))?;

    let handler = service_fn(move |_job: LambdaEvent<IgnoredAny>| {
        let (done, running) = (done.clone(), running.clone());
        async move {
            running.inc();
            // A request mostly waits for another service.
            tokio::time::sleep(Duration::from_millis(50)).await;
            running.dec();
            done.inc();
            Ok::<_, Error>(())
        }
    });
    prometheus_dynamodb::run(handler, registry).await
}
