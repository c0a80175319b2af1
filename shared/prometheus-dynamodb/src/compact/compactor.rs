//! Compacting as a function does it: with what it did in its metrics.

use std::time::Instant;

use prometheus::Registry;

use crate::compact::metrics::CompactMetrics;
use crate::compact::{CompactReport, Fault, compact};
use crate::settings::TableSettings;
use crate::table::{CompactStats, DynamoDbStatsTable};

/// Compacts the table: adds what environments that are gone have counted to a sum for all of them, and deletes their items.
///
/// What it does is counted in `prometheus_dynamodb_folds_total`, `prometheus_dynamodb_burials_total` and
/// `prometheus_dynamodb_base_full_writers` of the registry, which the function should publish.
#[derive(Debug)]
pub struct Compactor<T = DynamoDbStatsTable> {
    table: T,
    settings: TableSettings,
    metrics: CompactMetrics,
}

/// Why a run could not be finished: the table could not be used, or something in it is damaged. What was done until then stays.
#[derive(Debug, thiserror::Error)]
#[error("the stats table could not be compacted")]
pub struct CompactError(#[source] Fault);

impl<T: CompactStats> Compactor<T> {
    /// Makes a compactor of this table, and registers its metrics.
    ///
    /// # Errors
    ///
    /// If the registry has metrics of these names, as it has after another compactor.
    pub fn new(table: T, settings: TableSettings, registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self { table, settings, metrics: CompactMetrics::register(registry)? })
    }

    /// Does what is due, until it is done or the deadline comes near. What was done is in the report even when a step failed.
    /// Runs may overlap, and end at any point.
    pub async fn run(&self, deadline: Instant) -> (CompactReport, Result<(), CompactError>) {
        let (report, result) = compact(&self.table, &self.settings, deadline).await;
        self.metrics.compacted(&report);
        (report, result.map_err(CompactError))
    }
}
