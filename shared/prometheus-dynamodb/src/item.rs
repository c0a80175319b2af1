//! The items of the stats table, as plain data.

use std::collections::BTreeSet;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

/// One execution environment's incarnation. Random, never reused, and never a label: cardinality does not grow with
/// concurrency.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriterId(String);

impl WriterId {
    /// A new random id.
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().simple().to_string())
    }

    /// The id with this text.
    pub fn from_text(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The id's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Which of `shards` partition keys this writer's item stands under. Only its writer relies on it: a reader looks
    /// under all of them.
    pub fn shard(&self, shards: u32) -> u32 {
        let mut hasher = DefaultHasher::new();
        self.0.hash(&mut hasher);
        u32::try_from(hasher.finish() % u64::from(shards)).expect("a remainder is smaller than its divisor")
    }
}

impl fmt::Display for WriterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One writer's cumulative snapshot, as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// Whose it is.
    pub writer: WriterId,
    /// Which partition key it stands under.
    pub shard: u32,
    /// Counts the writer's publishes, from 1.
    pub seq: u64,
    /// The function's name: for people who read the table.
    pub function: String,
    /// The function's version: for people who read the table.
    pub version: String,
    /// When it was published, by the writer's clock, in milliseconds since the epoch.
    pub updated_at_ms: u64,
    /// Whether compaction has begun; from then on it does not change any more.
    pub sealed: bool,
    /// Whether the writer said that this is its last.
    pub closed: bool,
    /// The version of the encoding of `families`; see [`crate::wire::FORMAT`].
    pub format: u64,
    /// The families; see [`crate::wire`].
    pub families: Vec<u8>,
}

/// One shard's folded writers, merged.
#[derive(Debug, Clone, PartialEq)]
pub struct Base {
    /// Counts the base's versions, from 1.
    pub version: u64,
    /// The writers whose families are in here, and whose snapshots therefore do not count.
    pub folded: BTreeSet<WriterId>,
    /// The version of the encoding of `families`; see [`crate::wire::FORMAT`].
    pub format: u64,
    /// The families of all folded writers; see [`crate::wire`].
    pub families: Vec<u8>,
}
