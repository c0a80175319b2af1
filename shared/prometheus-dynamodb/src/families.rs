//! Metric families as plain data: what one writer publishes, what the base holds, and what merging works on.

pub mod exact_sum;
pub mod merge;
pub mod rules;
pub mod split;
pub mod structure;
pub mod tally;
pub mod values;

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::families::exact_sum::ExactSum;

/// The families of one writer, or of many merged.
pub type Families = BTreeMap<FamilyKey, Family>;

/// What tells one family's data from another's. Data under different keys never mix: a deploy that changes a metric's
/// type, labels or buckets starts a new family beside the old one, and the page decides what of them can be shown.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FamilyKey {
    /// The metric's name, without the suffixes `_bucket`, `_sum` and `_count`.
    pub name: String,
    /// Its type, and what of the type decides how values merge.
    pub kind: Kind,
    /// The names of its labels, in ascending order.
    pub label_names: Vec<String>,
}

/// A metric's type, and what of the type decides how values merge.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Adds up over all writers that ever were.
    Counter,
    /// Merges as declared.
    Gauge(GaugeMerge),
    /// Buckets and sum add up over all writers that ever were.
    Histogram(Bounds),
}

/// How the values of one gauge in many execution environments become one value.
///
/// *Live* is an environment that has neither said that it ends nor been silent for longer than `STATS_WRITER_IDLE`. The
/// names are those of the multi-process mode of Prometheus's Python client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum GaugeMerge {
    /// The sum over live environments; 0 when none is live. For what an environment *has*.
    #[default]
    LiveSum,
    /// The largest value of a live environment.
    LiveMax,
    /// The smallest value of a live environment.
    LiveMin,
    /// The value of whichever environment published last.
    MostRecent,
    /// The largest of the values that the environments published last. For the time of a last success.
    Max,
    /// The smallest of the values that the environments published last.
    Min,
}

/// The upper bounds of a histogram's buckets: finite and ascending. The bucket up to +Inf goes without saying.
#[derive(Debug, Clone, Default)]
pub struct Bounds(Vec<f64>);

impl Bounds {
    /// These bounds, or `None` when they are not finite and ascending.
    pub fn new(bounds: Vec<f64>) -> Option<Self> {
        let in_order = bounds.windows(2).all(|pair| pair[0] < pair[1]);
        (in_order && bounds.iter().all(|bound| bound.is_finite())).then_some(Self(bounds))
    }

    /// The bounds, ascending.
    pub fn as_slice(&self) -> &[f64] {
        &self.0
    }

    /// Whether this is one of the bounds.
    pub fn contains(&self, bound: f64) -> bool {
        self.0.binary_search_by(|known| known.total_cmp(&bound)).is_ok()
    }

    /// The bounds that both have.
    pub fn intersection(&self, other: &Self) -> Self {
        Self(self.0.iter().copied().filter(|bound| other.contains(*bound)).collect())
    }
}

impl Ord for Bounds {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_bound = self.0.iter().zip(&other.0).map(|(a, b)| a.total_cmp(b)).find(|order| order.is_ne());
        by_bound.unwrap_or_else(|| self.0.len().cmp(&other.0.len()))
    }
}

impl PartialOrd for Bounds {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Bounds {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Bounds {}

/// One family's data.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// The help text.
    pub help: String,
    /// When the youngest writer that has this family was born, in milliseconds since the epoch: its help text is shown.
    pub born_at_ms: u64,
    /// The series by their labels' values, which stand in the order of [`FamilyKey::label_names`].
    pub series: BTreeMap<Vec<String>, Series>,
}

/// One series' data.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Since when it counts, in milliseconds since the epoch: the latest moment at which it is known not to have existed in
    /// the environment that had it first.
    pub created_at_ms: u64,
    /// The value.
    pub value: Value,
}

/// The value of one series. Which form it has follows from the family's [`Kind`].
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Of a counter, or of a gauge that merges by [`GaugeMerge::LiveSum`].
    Sum(ExactSum),
    /// Of a gauge that merges by its extreme value.
    Extreme(f64),
    /// Of a gauge that merges by [`GaugeMerge::MostRecent`].
    Latest {
        /// When it was published, in milliseconds since the epoch.
        at_ms: u64,
        /// The value then.
        value: f64,
    },
    /// Of a histogram.
    Histogram {
        /// Observations in each bucket **alone**, not cumulated; one more than there are bounds.
        counts: Vec<u64>,
        /// The sum of all observations.
        sum: ExactSum,
    },
}
