//! The metrics of sigils: names, labels and buckets. The domain knows nothing of them; functions and wrapping stores
//! count.
//!
//! Every set of labels that can occur is there from the start, at 0: a counter that first appears at 1 has no increase
//! that `rate()` could see.

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

/// Adds a metric to a registry and gives it back.
fn registered<M: Collector + Clone + 'static>(registry: &Registry, metric: Result<M, Error>) -> Result<M, Error> {
    let metric = metric?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}
