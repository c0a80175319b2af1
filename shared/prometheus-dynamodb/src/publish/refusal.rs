//! What is not published, and why.

use std::collections::{BTreeMap, BTreeSet};

use crate::families::rules::FamilyFault;

/// So many metrics are named in the log; the counter counts all of them.
const MOST_NAMED: usize = 100;

/// Why a series is not published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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
    /// Samples would be called as those of another metric, such as those of a histogram `x` and a counter `x_count`.
    NameConflict,
    /// Another registry has the same series already.
    Duplicate,
    /// A counter's value or a histogram's sum is not finite. The series stays, and the sum stands still.
    NotFinite,
    /// The snapshot would not fit into an item.
    TooLarge,
}

impl Refusal {
    /// All reasons.
    pub(crate) const ALL: [Self; 9] = [
        Self::MetricName,
        Self::LabelNames,
        Self::Bounds,
        Self::Kind,
        Self::TypeConflict,
        Self::NameConflict,
        Self::Duplicate,
        Self::NotFinite,
        Self::TooLarge,
    ];

    /// The reason as a label's value.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::MetricName => "metric_name",
            Self::LabelNames => "label_names",
            Self::Bounds => "bounds",
            Self::Kind => "kind",
            Self::TypeConflict => "type_conflict",
            Self::NameConflict => "name_conflict",
            Self::Duplicate => "duplicate",
            Self::NotFinite => "not_finite",
            Self::TooLarge => "too_large",
        }
    }
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

/// Counts refusals, and names each metric once in the log.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    series: BTreeMap<Refusal, u64>,
    named: BTreeSet<(String, Refusal)>,
}

impl Refusals {
    /// Begins to count anew.
    pub(crate) fn begin(&mut self) {
        self.series.clear();
    }

    /// Begins to count those of this reason anew.
    pub(crate) fn begin_only(&mut self, refusal: Refusal) {
        self.series.remove(&refusal);
    }

    /// So many series of this metric are refused.
    pub(crate) fn add(&mut self, metric: &str, refusal: Refusal, series: u64) {
        *self.series.entry(refusal).or_default() += series;
        if self.named.len() < MOST_NAMED && self.named.insert((metric.to_owned(), refusal)) {
            tracing::warn!(metric, reason = refusal.as_str(), "series of this metric are not published");
        }
    }

    /// How many series are refused for this reason.
    pub(crate) fn series(&self, refusal: Refusal) -> u64 {
        self.series.get(&refusal).copied().unwrap_or_default()
    }
}
