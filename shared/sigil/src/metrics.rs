//! Declares the metrics of sigils: names, labels and buckets. The domain does not know them; the functions and the
//! wrapping stores update them.
//!
//! Every set of labels that can occur is exported from the start, at 0: a counter that first appears at 1 shows no
//! increase to `rate()`.

mod attempts;
mod errors;
mod functions;
mod storage;

pub use attempts::AttemptCounter;
pub use errors::{ErrorMetrics, ErrorReason, Operation};
pub use functions::{EncodeMetrics, GcMetrics, LAST_SUCCESS, VerifyMetrics};
pub use storage::{BreakerGauge, StorageMetrics, StorageTimer};

use prometheus::core::Collector;
use prometheus::{Error, Registry};

/// Adds a metric to a registry and returns it.
fn registered<M: Collector + Clone + 'static>(registry: &Registry, metric: Result<M, Error>) -> Result<M, Error> {
    let metric = metric?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}
