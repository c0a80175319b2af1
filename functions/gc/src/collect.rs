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
    Sweep(#[source] StorageError),
    /// Compacting the metrics failed.
    #[error("the metrics could not all be compacted")]
    Compact(#[source] CompactError),
}

impl CollectError {
    fn reason(&self) -> ErrorReason {
        match self {
            Self::Sweep(error) => ErrorReason::of(error),
            Self::Compact(error) if error.is_throttled() => ErrorReason::Throttled,
            Self::Compact(_) => ErrorReason::Unavailable,
        }
    }
}

/// Error that Lambda reports. Its type shows alarms and retries which of the two steps failed.
impl From<CollectError> for Diagnostic {
    fn from(error: CollectError) -> Self {
        let error_type = match error {
            CollectError::Sweep(_) => "SweepFailed",
            CollectError::Compact(_) => "CompactFailed",
        };
        Self { error_type: error_type.to_owned(), error_message: error.to_string() }
    }
}

impl<S: ListDue + DeleteDue, T: CompactStats> Collector<S, T> {
    /// Sweeps and compacts until everything is done or the deadline comes near. If both fail, both errors are logged and
    /// counted, and that of the sweep is returned.
    pub(crate) async fn collect(&self, deadline: Instant) -> Result<Summary, CollectError> {
        let _timer = self.metrics.start();
        let now = Timestamp::now();
        // Both run at once, so that much garbage of one kind does not delay the other kind run after run.
        let ((sigils, swept), (stats, compacted)) =
            tokio::join!(sweep(&self.store, now, deadline), self.compactor.run(deadline));
        self.metrics.swept(&sigils);
        let summary = Summary { sigils, stats };
        tracing::info!(?summary, "a run ended");

        let (swept, compacted) = (swept.map_err(CollectError::Sweep), compacted.map_err(CollectError::Compact));
        for error in [swept.as_ref().err(), compacted.as_ref().err()].into_iter().flatten() {
            self.errors.count(Operation::Gc, error.reason());
            tracing::error!(error = error as &dyn std::error::Error, "a run failed");
        }
        swept?;
        compacted?;
        // A run that has left something is no success, although the next one continues: if runs never catch up, the
        // alerts on the last success must tell.
        if summary.sigils.finished && summary.stats.finished {
            self.metrics.succeeded(Timestamp::now());
        }
        Ok(summary)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use harness::kit::dynamodb_local::DynamoDbLocal;
    use harness::kit::fault_proxy::{Fault, FaultProxy};
    use prometheus::Registry;
    use prometheus_dynamodb::aws_sdk_dynamodb::Client;
    use prometheus_dynamodb::aws_sdk_dynamodb::config::retry::RetryConfig;
    use prometheus_dynamodb::{DynamoDbStatsTable, MemoryStatsTable, TableSettings};
    use sigil::metrics::LAST_SUCCESS;
    use sigil::store::{DynamoDbStore, MemoryStore};

    /// Both tables: the proxy lets all calls to one table meet a fault.
    const TABLE: &str = "table";

    /// Makes a run in which every call meets this fault. Returns its result, and the counted errors by their reason.
    async fn run_with(fault: Fault) -> (Result<Summary, CollectError>, Vec<(String, u64)>) {
        // No call reaches the target.
        let proxy = FaultProxy::before("http://127.0.0.1:9").await.unwrap();
        proxy.set_outage(TABLE, Some(fault));
        let client = DynamoDbLocal::client_of(&proxy.url());
        let client = Client::from_conf(client.config().to_builder().retry_config(RetryConfig::disabled()).build());
        let registry = Registry::new();
        let stats_table = DynamoDbStatsTable::new(client.clone(), TABLE);
        let settings = TableSettings::builder(TABLE).build().unwrap();
        let collector = Collector {
            store: DynamoDbStore::new(client, TABLE),
            compactor: Compactor::new(stats_table, settings, &registry).unwrap(),
            metrics: GcMetrics::register(&registry).unwrap(),
            errors: ErrorMetrics::register(&registry, &[Operation::Gc]).unwrap(),
        };
        let result = collector.collect(Instant::now() + Duration::from_secs(30)).await;

        let families = registry.gather();
        let errors = families.iter().find(|family| family.name() == "sigil_error_total").unwrap();
        let counted = errors.get_metric().iter().filter_map(|metric| {
            let reason = metric.get_label().iter().find(|label| label.name() == "reason")?.value().to_owned();
            let count = metric.get_counter().get_value() as u64;
            (count > 0).then_some((reason, count))
        });
        (result, counted.collect())
    }

    #[tokio::test]
    async fn a_run_that_leaves_something_is_no_success() {
        let registry = Registry::new();
        let settings = TableSettings::builder(TABLE).build().unwrap();
        let collector = Collector {
            store: MemoryStore::default(),
            compactor: Compactor::new(MemoryStatsTable::default(), settings, &registry).unwrap(),
            metrics: GcMetrics::register(&registry).unwrap(),
            errors: ErrorMetrics::register(&registry, &[Operation::Gc]).unwrap(),
        };
        let last_success = || {
            let families = registry.gather();
            let family = families.iter().find(|family| family.name() == LAST_SUCCESS).unwrap();
            family.get_metric()[0].get_gauge().get_value()
        };
        let without_time = collector.collect(Instant::now()).await.unwrap();
        assert!(!without_time.sigils.finished && !without_time.stats.finished, "{without_time:?}");
        assert_eq!(last_success(), 0.0);

        let started_at = Timestamp::now().seconds() as f64;
        collector.collect(Instant::now() + Duration::from_secs(30)).await.unwrap();
        assert!(last_success() >= started_at);
    }

    #[tokio::test]
    async fn both_failures_of_a_run_are_counted_by_their_reason() {
        for (fault, reason) in [(Fault::Throttle, "throttled"), (Fault::InternalError, "unavailable")] {
            let (result, counted) = run_with(fault).await;
            assert!(matches!(result, Err(CollectError::Sweep(_))), "{result:?}");
            assert_eq!(counted, [(reason.to_owned(), 2)], "{fault:?}");
        }
    }
}
