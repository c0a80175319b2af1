//! The reasons why series are not published, and the counts of these series.

use std::collections::{BTreeMap, BTreeSet};

use strum::{AsRefStr, VariantArray};

use crate::families::rules::FamilyFault;

/// Maximum number of pairs of metric and reason that the log names. The counter counts all series.
const MOST_NAMED: usize = 100;

/// Reason why a series is not published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, VariantArray, AsRefStr)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum Refusal {
    /// The metric's name is not allowed, for instance because its registry's prefix is not.
    MetricName,
    /// A label's name is not allowed, or stands twice: once from the metric and once from its registry.
    LabelNames,
    /// A histogram's bounds are not finite and ascending.
    Bounds,
    /// A summary or an untyped metric: they cannot be merged.
    Kind,
    /// The environment has a metric of this name and another type already.
    TypeConflict,
    /// The samples would have the names of another metric's, such as those of a histogram `x` and a counter `x_count`.
    NameConflict,
    /// Another registry has the same series already.
    Duplicate,
    /// A counter's value or a histogram's sum is not finite, or a counter's value is below zero. The series stays, and the
    /// sum stands still.
    NotFinite,
    /// The snapshot would not fit into an item.
    TooLarge,
}

impl From<FamilyFault> for Refusal {
    fn from(fault: FamilyFault) -> Self {
        match fault {
            FamilyFault::MetricName => Self::MetricName,
            FamilyFault::LabelNames | FamilyFault::LabelValues => Self::LabelNames,
            FamilyFault::Kind | FamilyFault::GaugeValue => Self::Kind,
            FamilyFault::Bounds | FamilyFault::BucketCounts => Self::Bounds,
            FamilyFault::Duplicate => Self::Duplicate,
        }
    }
}

/// Counts of refusals. The log names each metric once for each reason.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    series: BTreeMap<Refusal, u64>,
    named: BTreeSet<(String, Refusal)>,
}

impl Refusals {
    /// Resets all counts.
    pub(crate) fn begin(&mut self) {
        self.series.clear();
    }

    /// Resets the count of this reason.
    pub(crate) fn begin_only(&mut self, refusal: Refusal) {
        self.series.remove(&refusal);
    }

    /// Counts this many series of the metric as refused, and logs the metric if it is new.
    pub(crate) fn add(&mut self, metric: &str, refusal: Refusal, series: u64) {
        *self.series.entry(refusal).or_default() += series;
        if self.named.len() < MOST_NAMED && self.named.insert((metric.to_owned(), refusal)) {
            tracing::warn!(metric, reason = refusal.as_ref(), "series of this metric are not published");
        }
    }

    /// Returns the number of series that are refused for this reason.
    pub(crate) fn series(&self, refusal: Refusal) -> u64 {
        self.series.get(&refusal).copied().unwrap_or_default()
    }
}
