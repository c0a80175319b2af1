//! Compacts the stats table, and counts in metrics what was done.

use std::time::Instant;

use prometheus::Registry;

use crate::compact::metrics::CompactMetrics;
use crate::compact::{CompactReport, Fault, compact};
use crate::settings::TableSettings;
use crate::table::{CompactStats, DynamoDbStatsTable, TableError};

/// Compacts the stats table: adds the counts of environments that are gone to a sum for all of them, and deletes their
/// items.
///
/// It counts what it does in `prometheus_dynamodb_folds_total`, `prometheus_dynamodb_burials_total` and
/// `prometheus_dynamodb_base_full_writers` of the registry, which the function should publish.
#[derive(Debug)]
pub struct Compactor<T = DynamoDbStatsTable> {
    table: T,
    settings: TableSettings,
    metrics: CompactMetrics,
}

/// Error returned when a run could not be finished: the table could not be used, or something in it is damaged. What was done
/// before stays done.
#[derive(Debug, thiserror::Error)]
#[error("the stats table could not be compacted")]
pub struct CompactError(#[source] Fault);

impl CompactError {
    /// Returns `true` if DynamoDB throttled a call: it works, and the next run goes on.
    pub fn is_throttled(&self) -> bool {
        matches!(self.0, Fault::Table(TableError::Throttled(_)))
    }
}

impl<T: CompactStats> Compactor<T> {
    /// Makes a compactor of this table, and registers its metrics.
    ///
    /// # Errors
    ///
    /// If the registry already has metrics of these names, for instance those of another compactor.
    pub fn new(table: T, settings: TableSettings, registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self { table, settings, metrics: CompactMetrics::register(registry)? })
    }

    /// Does the work that is due, until it is done or the deadline comes near. The report says what was done, even if a step
    /// failed. Runs may overlap, and may end at any point.
    pub async fn run(&self, deadline: Instant) -> (CompactReport, Result<(), CompactError>) {
        let (report, result) = compact(&self.table, &self.settings, deadline).await;
        self.metrics.compacted(&report);
        (report, result.map_err(CompactError))
    }
}
