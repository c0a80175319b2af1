//! The metrics of the function that compacts.

use prometheus::{Error, IntCounter, IntGaugeVec, Opts, Registry};

use crate::compact::CompactReport;
use crate::registered::registered;

/// Metrics of what compacting does.
#[derive(Debug, Clone)]
pub(super) struct CompactMetrics {
    folds: IntCounter,
    burials: IntCounter,
    /// Without labels. It has no value before a run has finished: a newer 0 would replace what the last run found.
    unfolded: IntGaugeVec,
}

impl CompactMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    ///
    /// If the registry already has metrics of these names.
    pub(super) fn register(registry: &Registry) -> Result<Self, Error> {
        let folds = IntCounter::new(
            "prometheus_dynamodb_folds_total",
            "Execution environments that were gone and whose metrics were added to a base.",
        );
        let burials =
            IntCounter::new("prometheus_dynamodb_burials_total", "Snapshots of folded environments that were deleted.");
        let unfolded = Opts::new(
            "prometheus_dynamodb_base_full_writers",
            "Execution environments that are gone but are not folded, because one of their series could outgrow an item.",
        );
        Ok(Self {
            folds: registered(registry, folds)?,
            burials: registered(registry, burials)?,
            unfolded: registered(registry, IntGaugeVec::new(unfolded, &[]))?,
        })
    }

    /// Counts what a run did.
    pub(super) fn compacted(&self, report: &CompactReport) {
        self.folds.inc_by(report.folded);
        self.burials.inc_by(report.buried);
        if report.finished {
            let unfolded = i64::try_from(report.base_full).unwrap_or(i64::MAX);
            self.unfolded.with_label_values(&[] as &[&str]).set(unfolded);
        }
    }
}
