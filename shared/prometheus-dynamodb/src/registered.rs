//! Registers metrics.

use prometheus::core::Collector;
use prometheus::{Error, Registry};

/// Registers a metric and returns it.
pub(crate) fn registered<M: Collector + Clone + 'static>(
    registry: &Registry,
    metric: Result<M, Error>,
) -> Result<M, Error> {
    let metric = metric?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}
