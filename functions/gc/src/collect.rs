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
    use secrets::Secret;
    use sigil::canonical::CanonicalJson;
    use sigil::encode::{EncodeRequest, Encoder, Lifetimes};
    use sigil::keys::{self, SigningKeys};
    use sigil::metrics::LAST_SUCCESS;
    use sigil::record::SigilId;
    use sigil::revoke::Revoker;
    use sigil::store::{Deletion, DuePage, DynamoDbStore, MemoryStore};

    /// Both tables: the proxy lets all calls to one table meet a fault.
    const TABLE: &str = "table";

    fn collector<S, T: CompactStats>(store: S, table: T, registry: &Registry) -> Collector<S, T> {
        let settings = TableSettings::builder(TABLE).build().unwrap();
        Collector {
            store,
            compactor: Compactor::new(table, settings, registry).unwrap(),
            metrics: GcMetrics::register(registry).unwrap(),
            errors: ErrorMetrics::register(registry, &[Operation::Gc]).unwrap(),
        }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(30)
    }

    /// Returns the deadline of a run whose calls all fail. Those that are throttled are repeated for as long as there is time.
    fn shortly() -> Instant {
        Instant::now() + Duration::from_secs(2)
    }

    /// Returns the counts by reason that are not 0.
    fn by_reason(registry: &Registry, name: &str) -> Vec<(String, u64)> {
        let families = registry.gather();
        let family = families.iter().find(|family| family.name() == name).unwrap();
        let counted = family.get_metric().iter().filter_map(|metric| {
            let reason = metric.get_label().iter().find(|label| label.name() == "reason")?.value().to_owned();
            let count = metric.get_counter().get_value() as u64;
            (count > 0).then_some((reason, count))
        });
        counted.collect()
    }

    /// Returns a client of a DynamoDB whose every call meets this fault.
    async fn faulty(fault: Fault) -> (FaultProxy, Client) {
        // No call reaches the target.
        let proxy = FaultProxy::before("http://127.0.0.1:9").await.unwrap();
        proxy.set_outage(TABLE, Some(fault));
        let client = DynamoDbLocal::client_of(&proxy.url());
        let client = Client::from_conf(client.config().to_builder().retry_config(RetryConfig::disabled()).build());
        (proxy, client)
    }

    /// A store that takes its time.
    struct Slow(MemoryStore);

    const SLOWNESS: Duration = Duration::from_millis(20);

    impl ListDue for Slow {
        type PageStart = <MemoryStore as ListDue>::PageStart;

        async fn list_due(
            &self,
            shard: u8,
            now: Timestamp,
            from: Option<Self::PageStart>,
        ) -> Result<DuePage<Self::PageStart>, StorageError> {
            tokio::time::sleep(SLOWNESS).await;
            self.0.list_due(shard, now, from).await
        }
    }

    impl DeleteDue for Slow {
        async fn delete_due(&self, id: SigilId, now: Timestamp) -> Result<Option<Deletion>, StorageError> {
            self.0.delete_due(id, now).await
        }
    }

    #[tokio::test]
    async fn a_run_counts_what_it_deletes_and_how_long_it_takes() {
        let store = MemoryStore::default();
        let keys = Secret::fixed(SigningKeys::parse(&keys::generate("a")).unwrap());
        let lifetimes = Lifetimes { max_ttl_seconds: 60, retention_seconds: 1 };
        let long_ago = Timestamp::from_seconds(Timestamp::now().seconds() - 1000).unwrap();
        let encoder = Encoder::new(store.clone(), keys.clone(), lifetimes);
        let mut ids = Vec::new();
        for _ in 0..3 {
            let data = CanonicalJson::from_json("1").unwrap();
            let request = EncodeRequest { data, metadata: None, ttl_seconds: None, idempotency_key: None };
            ids.push(encoder.encode(request, long_ago).await.unwrap().record.id);
        }
        Revoker::new(store.clone(), keys, 1).revoke(ids[0], long_ago).await.unwrap();

        let registry = Registry::new();
        collector(Slow(store), MemoryStatsTable::default(), &registry).collect(soon()).await.unwrap();
        let mut deleted = by_reason(&registry, "sigil_gc_deleted_total");
        deleted.sort();
        assert_eq!(deleted, [("expired".to_owned(), 2), ("revoked".to_owned(), 1)]);
        let families = registry.gather();
        let family = families.iter().find(|family| family.name() == "sigil_gc_duration_seconds").unwrap();
        let histogram = family.get_metric()[0].get_histogram();
        assert_eq!(histogram.get_sample_count(), 1);
        assert!(histogram.get_sample_sum() >= SLOWNESS.as_secs_f64(), "{histogram:?}");
    }

    #[tokio::test]
    async fn a_run_that_leaves_something_is_no_success() {
        let registry = Registry::new();
        let collector = collector(MemoryStore::default(), MemoryStatsTable::default(), &registry);
        let last_success = || {
            let families = registry.gather();
            let family = families.iter().find(|family| family.name() == LAST_SUCCESS).unwrap();
            family.get_metric()[0].get_gauge().get_value()
        };
        let without_time = collector.collect(Instant::now()).await.unwrap();
        assert!(!without_time.sigils.finished && !without_time.stats.finished, "{without_time:?}");
        assert_eq!(last_success(), 0.0);

        let started_at = Timestamp::now().seconds() as f64;
        collector.collect(soon()).await.unwrap();
        assert!(last_success() >= started_at);
    }

    /// A store in which the records that are due have no end.
    struct Endless;

    impl ListDue for Endless {
        type PageStart = ();

        async fn list_due(&self, _: u8, _: Timestamp, _: Option<()>) -> Result<DuePage<()>, StorageError> {
            tokio::time::sleep(SLOWNESS).await;
            Ok(DuePage { ids: Vec::new(), next: Some(()), read_capacity_units: 0.0 })
        }
    }

    impl DeleteDue for Endless {
        async fn delete_due(&self, _: SigilId, _: Timestamp) -> Result<Option<Deletion>, StorageError> {
            unreachable!("no record is listed")
        }
    }

    #[tokio::test]
    async fn a_run_that_finishes_one_of_its_two_parts_is_no_success() {
        let registry = Registry::new();
        let collector = collector(Endless, MemoryStatsTable::default(), &registry);
        let summary = collector.collect(Instant::now() + Duration::from_secs(3)).await.unwrap();
        assert!(!summary.sigils.finished && summary.stats.finished, "{summary:?}");
        let families = registry.gather();
        let family = families.iter().find(|family| family.name() == LAST_SUCCESS).unwrap();
        assert_eq!(family.get_metric()[0].get_gauge().get_value(), 0.0);
    }

    #[tokio::test]
    async fn the_failures_of_a_run_are_counted_by_their_reason_and_the_error_names_the_step() {
        for (fault, reason) in [(Fault::Throttle, "throttled"), (Fault::InternalError, "unavailable")] {
            let (_proxy, client) = faulty(fault).await;
            let table = DynamoDbStatsTable::new(client.clone(), TABLE);
            let registry = Registry::new();
            let both = collector(DynamoDbStore::new(client, TABLE), table.clone(), &registry).collect(shortly()).await;
            assert_eq!(by_reason(&registry, "sigil_error_total"), [(reason.to_owned(), 2)], "{fault:?}");
            assert_eq!(Diagnostic::from(both.unwrap_err()).error_type, "SweepFailed");

            let registry = Registry::new();
            let one = collector(MemoryStore::default(), table, &registry).collect(shortly()).await;
            assert_eq!(by_reason(&registry, "sigil_error_total"), [(reason.to_owned(), 1)], "{fault:?}");
            assert_eq!(Diagnostic::from(one.unwrap_err()).error_type, "CompactFailed");
        }
    }
}
