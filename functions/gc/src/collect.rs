//! One run of gc.

use std::time::Instant;

use lambda_runtime::Diagnostic;
use prometheus_dynamodb::{CompactError, CompactReport, CompactStats, Compactor};
use serde::Serialize;
use sigil::metrics::{ErrorMetrics, ErrorReason, GcMetrics, Operation};
use sigil::store::{DeleteDue, ListDue, StorageError};
use sigil::sweep::{SweepReport, sweep};
use sigil::timestamp::Timestamp;

/// Collects garbage.
pub struct Collector<S, T> {
    /// The sigils.
    pub store: S,
    /// Compacts the metrics of all environments.
    pub compactor: Compactor<T>,
    /// What is measured of a run.
    pub metrics: GcMetrics,
    /// What is measured of failures.
    pub errors: ErrorMetrics,
}

/// What a run did.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// To the sigils.
    pub sigils: SweepReport,
    /// To the metrics of environments that are gone.
    pub stats: CompactReport,
}

/// Why a run failed. What it did until then is done and counted, and the next run goes on.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The sigils could not be swept.
    #[error("the sigils could not all be swept")]
    Sweep(#[from] StorageError),
    /// The metrics could not be compacted.
    #[error("the metrics could not all be compacted")]
    Compact(#[from] CompactError),
}

/// What Lambda is told: by the type, alarms and retries can tell the one from the other.
impl From<CollectError> for Diagnostic {
    fn from(error: CollectError) -> Self {
        let error_type = match error {
            CollectError::Sweep(_) => "SweepFailed",
            CollectError::Compact(_) => "CompactFailed",
        };
        tracing::error!(error = &error as &dyn std::error::Error, "a run failed");
        Self { error_type: error_type.to_owned(), error_message: error.to_string() }
    }
}

impl<S: ListDue + DeleteDue, T: CompactStats> Collector<S, T> {
    /// Runs until all is done or the deadline comes near.
    pub async fn collect(&self, deadline: Instant) -> Result<Summary, CollectError> {
        let _timer = self.metrics.start();
        let now = Timestamp::now();
        // At once, so that much garbage of one kind does not keep the other waiting run after run.
        let ((sigils, swept), (stats, compacted)) =
            tokio::join!(sweep(&self.store, now, deadline), self.compactor.run(deadline));
        self.metrics.swept(&sigils);
        let summary = Summary { sigils, stats };
        tracing::info!(?summary, "collected");

        swept.inspect_err(|error| self.errors.count(Operation::Gc, ErrorReason::of(error)))?;
        compacted.inspect_err(|_| self.errors.count(Operation::Gc, ErrorReason::Unavailable))?;
        self.metrics.succeeded(now);
        Ok(summary)
    }
}
