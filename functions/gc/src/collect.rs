//! Runs gc: sweeps the sigils and compacts the metrics.

use std::time::Instant;

use lambda_runtime::Diagnostic;
use prometheus_dynamodb::{CompactError, CompactReport, CompactStats, Compactor};
use serde::Serialize;
use sigil::metrics::{ErrorMetrics, ErrorReason, GcMetrics, Operation};
use sigil::store::{DeleteDue, ListDue, StorageError};
use sigil::sweep::{SweepReport, sweep};
use sigil::timestamp::Timestamp;

/// A garbage collector, with everything that a run needs.
pub(crate) struct Collector<S, T> {
    /// Store whose records are deleted when they are due.
    pub store: S,
    /// Compactor of the metrics of all environments.
    pub compactor: Compactor<T>,
    /// Metrics of the runs.
    pub metrics: GcMetrics,
    /// Counter of errors in runs.
    pub errors: ErrorMetrics,
}

/// Summary of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    /// Report on the records of sigils.
    pub sigils: SweepReport,
    /// Report on the metrics of environments that have ended.
    pub stats: CompactReport,
}

/// Error of a run. Everything that the run did before the error is done and counted, and the next run continues.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CollectError {
    /// The sweep of the sigils failed.
    #[error("the sigils could not all be swept")]
    Sweep(#[from] StorageError),
    /// Compacting the metrics failed.
    #[error("the metrics could not all be compacted")]
    Compact(#[from] CompactError),
}

/// Error that Lambda reports. Its type shows alarms and retries which of the two steps failed.
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
    /// Sweeps and compacts until everything is done or the deadline comes near.
    pub(crate) async fn collect(&self, deadline: Instant) -> Result<Summary, CollectError> {
        let _timer = self.metrics.start();
        let now = Timestamp::now();
        // Both run at once, so that much garbage of one kind does not delay the other kind run after run.
        let ((sigils, swept), (stats, compacted)) =
            tokio::join!(sweep(&self.store, now, deadline), self.compactor.run(deadline));
        self.metrics.swept(&sigils);
        let summary = Summary { sigils, stats };
        tracing::info!(?summary, "a run ended");

        swept.inspect_err(|error| self.errors.count(Operation::Gc, ErrorReason::of(error)))?;
        compacted.inspect_err(|_| self.errors.count(Operation::Gc, ErrorReason::Unavailable))?;
        self.metrics.succeeded(now);
        Ok(summary)
    }
}
