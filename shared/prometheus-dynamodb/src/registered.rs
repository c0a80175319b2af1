//! Registering a metric.

use prometheus::core::Collector;
use prometheus::{Error, Registry};

/// Adds a metric to a registry and gives it back.
pub(crate) fn registered<M: Collector + Clone + 'static>(
    registry: &Registry,
    metric: Result<M, Error>,
) -> Result<M, Error> {
    let metric = metric?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}
