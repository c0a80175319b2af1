//! A function that is invoked with plain events.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use prometheus::{IntCounter, Registry};
use serde::Deserialize;

#[derive(Deserialize)]
struct Order {
    items: u64,
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    lambda_runtime::tracing::init_default_subscriber();
    let items = IntCounter::new("ordered_items_total", "Items that were ordered.")?;
    let registry = Registry::new();
    registry.register(Box::new(items.clone()))?;

    let handler = service_fn(move |order: LambdaEvent<Order>| {
        items.inc_by(order.payload.items);
        async { Ok::<_, Error>("ordered") }
    });
    prometheus_dynamodb::run(handler, registry).await
}
