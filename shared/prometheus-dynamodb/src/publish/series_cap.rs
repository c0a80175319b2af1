//! The cap on the series that one environment publishes.

use std::collections::{BTreeMap, BTreeSet};

use crate::families::FamilyKey;

/// Lets so many series through, and no more. A label with too many values, such as a user's id, would otherwise make every
/// publish dearer, and in the end larger than an item may be, so that nothing was published at all.
///
/// Whatever was let through once always is: a series that vanished from a snapshot would make a counter fall.
#[derive(Debug)]
pub struct SeriesCap {
    max: usize,
    admitted: BTreeMap<FamilyKey, BTreeSet<Vec<String>>>,
    count: usize,
    refused: u64,
}

impl SeriesCap {
    /// A cap of so many series.
    pub fn new(max: usize) -> Self {
        Self { max, admitted: BTreeMap::new(), count: 0, refused: 0 }
    }

    /// Begins to count anew how many are refused.
    pub fn begin(&mut self) {
        self.refused = 0;
    }

    /// How many series were refused since it began to count.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Whether this series is to be published.
    pub fn admits(&mut self, key: &FamilyKey, label_values: &[String]) -> bool {
        if self.admitted.get(key).is_some_and(|series| series.contains(label_values)) {
            return true;
        }
        if self.count == self.max {
            self.refused += 1;
            return false;
        }
        self.admitted.entry(key.clone()).or_default().insert(label_values.to_vec());
        self.count += 1;
        true
    }
}
