//! The items of the stats table, as plain data.

use std::collections::BTreeMap;
use std::fmt;

use sha2::{Digest, Sha256};

/// Largest encoded content that is written, in bytes: DynamoDB's limit of 400 KB for an item, less room for keys and
/// names of attributes.
pub const MAX_ENCODED_BYTES: usize = 400 * 1024 - 2 * 1024;

/// Id of a writer, which is one incarnation of an execution environment. The id is random, never reused, and never a
/// label, so cardinality does not grow with concurrency.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriterId([u8; 16]);

impl WriterId {
    /// The smallest id.
    pub(crate) const FIRST: Self = Self([0; 16]);

    /// Returns a new random id. It comes from the operating system: a generator in this process would be copied with it, and
    /// environments that are restored from one image would share an id.
    pub fn random() -> Self {
        let mut id = [0; 16];
        getrandom::fill(&mut id).expect("the operating system has random numbers");
        Self(id)
    }

    /// Returns the id with these bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the id that [`Display`](fmt::Display) wrote: 32 hexadecimal digits, in lower case. An id has one spelling, since
    /// items are found by it.
    pub fn parse(text: &str) -> Option<Self> {
        let id = Self(u128::from_str_radix(text, 16).ok()?.to_be_bytes());
        (id.to_string() == text).then_some(id)
    }

    /// Returns the id's bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Returns the number of the partition key, out of `shards`, under which this writer's snapshot is stored. Only the
    /// writer relies on it: a reader looks under all of them.
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
    /// Version of the encoding.
    pub format: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// One writer's cumulative snapshot, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Snapshot {
    /// Writer of the snapshot.
    pub writer: WriterId,
    /// Shard in which the snapshot is stored.
    pub shard: u32,
    /// Sequence number among the writer's puts, from 1.
    pub seq: u64,
    /// Name of the function, for people who read the table.
    pub function: String,
    /// Version of the function, for people who read the table.
    pub version: String,
    /// Time of the publish by the writer's clock, corrected by the table's answers, in milliseconds since the epoch.
    pub updated_at_ms: u64,
    /// Time at which the snapshot was sealed, if it was, in milliseconds since the epoch. A sealed snapshot never
    /// changes.
    pub sealed_at_ms: Option<u64>,
    /// Set if the writer said that this snapshot is its last.
    pub closed: bool,
    /// Families that the writer counted.
    pub families: Encoded,
}

/// Writers whose content a base holds, each with the time at which it was found buried, if it was, in milliseconds
/// since the epoch.
pub type Folded = BTreeMap<WriterId, Option<u64>>;

/// Merged content of one shard's folded writers: all of it, or the rest that the parts do not hold.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Base {
    /// Version of the base. The first is 1, and each later base has the next one.
    pub version: u64,
    /// Writers whose families are in this base, so that their snapshots do not count.
    pub folded: Folded,
    /// Merged families of all folded writers.
    pub families: Encoded,
    /// Parts that hold the rest, if the whole outgrows an item.
    pub parts: Vec<PartId>,
}

/// A part of a base. It never changes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Part {
    /// Version of the one base that may name the part.
    pub version: u64,
    /// Some of the folded writers.
    pub folded: Folded,
    /// Some of the merged families of all folded writers.
    pub families: Encoded,
}

/// Id of a part.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartId([u8; 16]);

impl PartId {
    /// Returns the id with these bytes.
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

/// Id of a structure: the start of the SHA-256 of its message. 128 bits are enough: only a writer could store two
/// structures with the same id, and would have to try 2^64 of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StructureId([u8; 16]);

impl StructureId {
    /// Returns the id of the structure that has this message before compression.
    pub fn of(message: &[u8]) -> Self {
        let mut id = [0; 16];
        id.copy_from_slice(&Sha256::digest(message)[..16]);
        Self(id)
    }

    /// Returns the id with these bytes.
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

/// A structure as it is stored. It holds what many snapshots have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StructureItem {
    /// The structure; see [`crate::table::wire`].
    pub families: Encoded,
    /// Time at which a writer last renewed the structure, in milliseconds since the epoch.
    pub renewed_at_ms: u64,
}

/// A stored structure without its content, as a gc run lists it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StoredStructure {
    /// The structure's id.
    pub id: StructureId,
    /// Time at which a writer last renewed the structure, in milliseconds since the epoch.
    pub renewed_at_ms: u64,
}

/// A stored part without its content, as a gc run lists it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StoredPart {
    /// The part's id.
    pub id: PartId,
    /// Version of the one base that may name the part.
    pub version: u64,
    /// Time at which the part was noted as unnamed, if it was, in milliseconds since the epoch.
    pub unnamed_at_ms: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_spelling() {
        let id = WriterId::from_bytes([0xab; 16]);
        assert_eq!(WriterId::parse(&"ab".repeat(16)), Some(id));
        assert_eq!(WriterId::parse(&"0".repeat(32)), Some(WriterId::FIRST));
        let with_hyphens = "abababab-abab-abab-abab-abababababab".to_owned();
        for other in [
            "AB".repeat(16),
            with_hyphens,
            format!("+{}", "ab".repeat(16)),
            format!("0{}", "ab".repeat(16)),
            "ab".repeat(15),
            "0".to_owned(),
            String::new(),
            "ä".repeat(16),
        ] {
            assert_eq!(WriterId::parse(&other), None, "{other}");
        }
    }
}
