//! Metric families as plain data: what one writer publishes, what a base holds, and what merging works on.

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

/// Identity of a family. Data under different keys never mix: a deploy that changes a metric's type, labels or buckets
/// starts a new family beside the old one, and the page decides which of them it can show.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FamilyKey {
    /// The metric's name, without the suffixes `_bucket`, `_sum` and `_count`.
    pub name: String,
    /// The metric's type, with everything in it that decides how values merge.
    pub kind: Kind,
    /// The names of its labels, in ascending order.
    pub label_names: Vec<String>,
}

/// A metric's type, with everything in it that decides how values merge.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A counter. Its values add up over all writers that ever existed.
    Counter,
    /// A gauge. Its values merge as declared.
    Gauge(GaugeMerge),
    /// A histogram. Its buckets and sums add up over all writers that ever existed.
    Histogram(Bounds),
}

/// Rule by which the values of one gauge in many execution environments become one value.
///
/// An environment is *live* if it has not said that it ends, and has not been silent for longer than
/// `STATS_WRITER_IDLE`. The names are those of the multi-process mode of Prometheus's Python client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum GaugeMerge {
    /// The sum over live environments; 0 if none is live. For a quantity that an environment *has*.
    #[default]
    LiveSum,
    /// The largest value of a live environment.
    LiveMax,
    /// The smallest value of a live environment.
    LiveMin,
    /// The value of the environment that published last.
    MostRecent,
    /// The largest of the values that the environments published last. For the time of a last success.
    Max,
    /// The smallest of the values that the environments published last.
    Min,
}

/// Upper bounds of a histogram's buckets, finite and ascending. The bucket up to +Inf is implied.
#[derive(Debug, Clone, Default)]
pub struct Bounds(Vec<f64>);

impl Bounds {
    /// Returns these bounds, or `None` if they are not finite and ascending.
    pub fn new(bounds: Vec<f64>) -> Option<Self> {
        let in_order = bounds.windows(2).all(|pair| pair[0] < pair[1]);
        (in_order && bounds.iter().all(|bound| bound.is_finite())).then_some(Self(bounds))
    }

    /// Returns the bounds in ascending order.
    pub fn as_slice(&self) -> &[f64] {
        &self.0
    }

    /// Returns whether `bound` is one of the bounds.
    pub fn contains(&self, bound: f64) -> bool {
        self.0.binary_search_by(|known| known.total_cmp(&bound)).is_ok()
    }

    /// Returns the bounds that both have.
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
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Family {
    /// The help text.
    pub help: String,
    /// Time at which the youngest writer that has this family was born, in milliseconds since the epoch. The page shows
    /// that writer's help text.
    pub born_at_ms: u64,
    /// The series by their label values, which stand in the order of [`FamilyKey::label_names`].
    pub series: BTreeMap<Vec<String>, Series>,
    /// Start time of the oldest series that is gone because its environment has ended, in milliseconds since the epoch.
    pub ended_since_ms: Option<u64>,
    /// `true` if a live writer has this family. It is not stored: readers find out who is live.
    pub live: bool,
}

impl Family {
    /// Returns the time since which the oldest series counts, or counted, in milliseconds since the epoch.
    pub(crate) fn since_ms(&self) -> u64 {
        self.oldest_ms().unwrap_or(self.born_at_ms)
    }

    fn oldest_ms(&self) -> Option<u64> {
        self.series.values().map(|series| series.created_at_ms).chain(self.ended_since_ms).min()
    }
}

/// One series' data.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Time since which the series counts, in milliseconds since the epoch: the latest moment at which the series is
    /// known not to have existed in the environment that had it first.
    pub created_at_ms: u64,
    /// The value.
    pub value: Value,
}

/// Value of one series. Its form follows from the family's [`Kind`].
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Value of a counter, or of a gauge that merges by [`GaugeMerge::LiveSum`].
    Sum(ExactSum),
    /// Value of a gauge that merges by its largest or smallest value.
    Extreme(f64),
    /// Value of a gauge that merges by [`GaugeMerge::MostRecent`].
    Latest {
        /// Time at which the value was published, in milliseconds since the epoch.
        at_ms: u64,
        /// The value at that time.
        value: f64,
    },
    /// Value of a histogram.
    Histogram {
        /// Number of observations in each bucket **alone**, not cumulated. There is one more bucket than there are
        /// bounds.
        counts: Vec<u64>,
        /// The sum of all observations.
        sum: ExactSum,
    },
}
