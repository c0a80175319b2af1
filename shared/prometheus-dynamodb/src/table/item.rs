//! The items of the stats table, as plain data.

use std::collections::BTreeMap;
use std::fmt;

use sha2::{Digest, Sha256};

/// The largest encoded content that is written, in bytes: DynamoDB's limit of 400 KB for an item, less room for keys and
/// names.
pub const MAX_ENCODED_BYTES: usize = 400 * 1024 - 2 * 1024;

/// One execution environment's incarnation. Random, never reused, and never a label: cardinality does not grow with
/// concurrency.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriterId([u8; 16]);

impl WriterId {
    /// The id before all others.
    pub(crate) const FIRST: Self = Self([0; 16]);

    /// A new random id.
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().into_bytes())
    }

    /// The id of these bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The id that [`Display`](fmt::Display) wrote: 32 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let id = uuid::Uuid::try_parse(text).ok()?;
        (text.len() == 32).then(|| Self(id.into_bytes()))
    }

    /// The id's bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Which of `shards` partition keys this writer's item stands under. Only its writer relies on it: a reader looks
    /// under all of them.
    pub fn shard(&self, shards: u32) -> u32 {
        let [a, b, c, d, ..] = self.0;
        u32::from_be_bytes([a, b, c, d]) % shards
    }
}

impl fmt::Display for WriterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for WriterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WriterId({self})")
    }
}

/// Families as they are stored; see [`crate::table::wire`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Encoded {
    /// The version of the encoding.
    pub format: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// One writer's cumulative snapshot, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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
    /// When compaction began, if it has, in milliseconds since the epoch; from then on nothing of it changes any more.
    pub sealed_at_ms: Option<u64>,
    /// Whether the writer said that this is its last.
    pub closed: bool,
    /// What the writer counted.
    pub families: Encoded,
}

/// The writers of which a base has the content, and when they were found buried, in milliseconds since the epoch.
pub type Folded = BTreeMap<WriterId, Option<u64>>;

/// One shard's folded writers, merged: the whole of it, or what its parts do not hold.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Base {
    /// Counts the base's versions, from 1.
    pub version: u64,
    /// The writers whose families are in here, so that their snapshots do not count.
    pub folded: Folded,
    /// What all folded writers counted.
    pub families: Encoded,
    /// Where the rest stands, if all together outgrows an item.
    pub parts: Vec<PartId>,
}

/// A part of a base. It never changes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Part {
    /// The version of the one base that may name it.
    pub version: u64,
    /// Some of the folded writers.
    pub folded: Folded,
    /// Some of what all folded writers counted.
    pub families: Encoded,
}

/// A part's id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartId([u8; 16]);

impl PartId {
    /// The id of these bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the id that [`Display`](fmt::Display) wrote: 32 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        WriterId::parse(text).map(|WriterId(bytes)| Self(bytes))
    }
}

impl fmt::Display for PartId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for PartId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PartId({self})")
    }
}

/// A structure's id: the start of the SHA-256 of its message. 128 bits are enough, for whoever wanted two structures of one
/// id would have to be a writer, and to try 2^64 of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StructureId([u8; 16]);

impl StructureId {
    /// Returns the id of the structure that has this message, before compression.
    pub fn of(message: &[u8]) -> Self {
        let mut id = [0; 16];
        id.copy_from_slice(&Sha256::digest(message)[..16]);
        Self(id)
    }

    /// Returns the id of these bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the id that [`Display`](fmt::Display) wrote: 32 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        WriterId::parse(text).map(|WriterId(bytes)| Self(bytes))
    }

    /// Returns the id's bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for StructureId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for StructureId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StructureId({self})")
    }
}

/// A structure as it is stored: what many snapshots have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StructureItem {
    /// The structure; see [`crate::table::wire`].
    pub families: Encoded,
    /// When a writer last saw to it, in milliseconds since the epoch.
    pub renewed_at_ms: u64,
}

/// What a gc run knows of a structure that it has not read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StoredStructure {
    /// The structure's id.
    pub id: StructureId,
    /// When a writer last saw to it, in milliseconds since the epoch.
    pub renewed_at_ms: u64,
}

/// What a gc run knows of a part that it has not read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StoredPart {
    /// The part's id.
    pub id: PartId,
    /// The version of the one base that may name it.
    pub version: u64,
    /// When no base was found to name it, in milliseconds since the epoch.
    pub unnamed_at_ms: Option<u64>,
}
