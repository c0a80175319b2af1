//! Converts items to DynamoDB's attributes and back.

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;

use super::{PART_PREFIX, PARTITION_KEY, PARTS_FORMAT, SORT_KEY, STRUCTURE_PREFIX, shard_key};
use crate::protocol::condition::StoredHead;
use crate::table::item::{
    Base, Encoded, Folded, Part, PartId, Snapshot, StoredPart, StoredStructure, StructureId, StructureItem, WriterId,
};
use crate::table::{UnreadableItem, WRITER_PREFIX, wire};

pub(super) type Item = HashMap<String, AttributeValue>;

pub(super) fn key_of(snapshot: &Snapshot) -> Item {
    shard_key(snapshot.shard, format!("{WRITER_PREFIX}{}", snapshot.writer))
}

pub(super) fn item_from(snapshot: &Snapshot) -> Item {
    let sealed_at = snapshot.sealed_at_ms.map(|at_ms| ("sealed_at", number(at_ms)));
    let attributes = [
        ("seq", number(snapshot.seq)),
        ("function", AttributeValue::S(snapshot.function.clone())),
        ("version", AttributeValue::S(snapshot.version.clone())),
        ("updated_at", number(snapshot.updated_at_ms)),
        ("closed", AttributeValue::Bool(snapshot.closed)),
        ("format", number(snapshot.families.format)),
        ("families", AttributeValue::B(Blob::new(snapshot.families.bytes.clone()))),
    ];
    let mut item = key_of(snapshot);
    item.extend(attributes.into_iter().chain(sealed_at).map(|(name, value)| (name.to_owned(), value)));
    item
}

pub(super) fn snapshot_from(item: &Item, shard: u32) -> Result<Snapshot, UnreadableItem> {
    let attributes = Attributes::new(item);
    let writer = attributes.text(SORT_KEY)?.strip_prefix(WRITER_PREFIX).and_then(WriterId::parse);
    Ok(Snapshot {
        writer: writer.ok_or_else(|| attributes.unreadable(SORT_KEY))?,
        shard,
        seq: attributes.u64("seq")?,
        function: attributes.text("function")?.to_owned(),
        version: attributes.text("version")?.to_owned(),
        updated_at_ms: attributes.u64("updated_at")?,
        sealed_at_ms: attributes.time("sealed_at")?,
        closed: attributes.bool("closed")?,
        families: attributes.families()?,
    })
}

/// Reads the part of a stored snapshot that its writer needs after the snapshot has refused a put.
pub(super) fn stored_from(item: &Item) -> Result<(StoredHead, Encoded), UnreadableItem> {
    let attributes = Attributes::new(item);
    let head = StoredHead { seq: attributes.u64("seq")?, sealed: attributes.time("sealed_at")?.is_some() };
    Ok((head, attributes.families()?))
}

pub(super) fn base_from(item: &Item) -> Result<Base, UnreadableItem> {
    let attributes = Attributes::new(item);
    let mut families = attributes.families()?;
    let mut parts = Vec::new();
    if families.format > PARTS_FORMAT {
        families.format -= PARTS_FORMAT;
        parts = attributes.parts()?;
    }
    Ok(Base { version: attributes.u64("version")?, folded: attributes.folded()?, families, parts })
}

/// Returns the attributes of a base without its key.
pub(super) fn base_attributes(base: &Base) -> impl Iterator<Item = (String, AttributeValue)> {
    let with_parts = if base.parts.is_empty() { 0 } else { PARTS_FORMAT };
    let parts = base.parts.iter().map(|id| AttributeValue::S(id.to_string())).collect();
    let parts = (!base.parts.is_empty()).then(|| ("parts".to_owned(), AttributeValue::L(parts)));
    content_attributes(base.version, &base.folded, &base.families, with_parts).chain(parts)
}

pub(super) fn part_from(item: &Item) -> Result<Part, UnreadableItem> {
    let attributes = Attributes::new(item);
    Ok(Part { version: attributes.u64("version")?, folded: attributes.folded()?, families: attributes.families()? })
}

/// Returns the attributes of a part without its key.
pub(super) fn part_attributes(part: &Part) -> impl Iterator<Item = (String, AttributeValue)> {
    content_attributes(part.version, &part.folded, &part.families, 0)
}

pub(super) fn stored_part_from(item: &Item) -> Result<StoredPart, UnreadableItem> {
    let attributes = Attributes::new(item);
    let id = attributes.text(SORT_KEY)?.strip_prefix(PART_PREFIX).and_then(PartId::parse);
    Ok(StoredPart {
        id: id.ok_or_else(|| attributes.unreadable(SORT_KEY))?,
        version: attributes.u64("version")?,
        unnamed_at_ms: attributes.time("unnamed_at")?,
    })
}

pub(super) fn structure_from(item: &Item) -> Result<StructureItem, UnreadableItem> {
    let attributes = Attributes::new(item);
    Ok(StructureItem { families: attributes.families()?, renewed_at_ms: attributes.u64("renewed_at")? })
}

pub(super) fn stored_structure_from(item: &Item) -> Result<StoredStructure, UnreadableItem> {
    let attributes = Attributes::new(item);
    let id = attributes.text(SORT_KEY)?.strip_prefix(STRUCTURE_PREFIX).and_then(StructureId::parse);
    Ok(StoredStructure {
        id: id.ok_or_else(|| attributes.unreadable(SORT_KEY))?,
        renewed_at_ms: attributes.u64("renewed_at")?,
    })
}

/// Returns the attributes of a structure without its key.
pub(super) fn structure_attributes(
    structure: &StructureItem,
) -> impl Iterator<Item = (String, AttributeValue)> + use<> {
    let attributes = [
        ("format", number(structure.families.format)),
        ("families", AttributeValue::B(Blob::new(structure.families.bytes.clone()))),
        ("renewed_at", number(structure.renewed_at_ms)),
    ];
    attributes.into_iter().map(|(name, value)| (name.to_owned(), value))
}

fn content_attributes(
    version: u64,
    folded: &Folded,
    families: &Encoded,
    with_parts: u64,
) -> impl Iterator<Item = (String, AttributeValue)> {
    let attributes = [
        ("version", number(version)),
        ("folded", AttributeValue::B(Blob::new(wire::encode_folded(folded)))),
        ("format", number(families.format + with_parts)),
        ("families", AttributeValue::B(Blob::new(families.bytes.clone()))),
    ];
    attributes.into_iter().map(|(name, value)| (name.to_owned(), value))
}

pub(super) fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// Reader of an item's attributes. Its errors name the attribute that is wrong.
pub(super) struct Attributes<'a> {
    item: &'a Item,
}

impl<'a> Attributes<'a> {
    pub(super) fn new(item: &'a Item) -> Self {
        Self { item }
    }

    fn text(&self, name: &'static str) -> Result<&'a str, UnreadableItem> {
        self.get(name, |value| value.as_s().ok().map(String::as_str))
    }

    pub(super) fn u64(&self, name: &'static str) -> Result<u64, UnreadableItem> {
        self.get(name, |value| value.as_n().ok()?.parse().ok())
    }

    fn bool(&self, name: &'static str) -> Result<bool, UnreadableItem> {
        self.get(name, |value| value.as_bool().ok().copied())
    }

    fn bytes(&self, name: &'static str) -> Result<&'a [u8], UnreadableItem> {
        self.get(name, |value| value.as_b().ok().map(AsRef::as_ref))
    }

    /// Returns a time that an item has only once something was done to the item.
    fn time(&self, name: &'static str) -> Result<Option<u64>, UnreadableItem> {
        self.item.contains_key(name).then(|| self.u64(name)).transpose()
    }

    fn folded(&self) -> Result<Folded, UnreadableItem> {
        wire::decode_folded(self.bytes("folded")?).ok_or_else(|| self.unreadable("folded"))
    }

    fn parts(&self) -> Result<Vec<PartId>, UnreadableItem> {
        self.get("parts", |value| value.as_l().ok()?.iter().map(|id| PartId::parse(id.as_s().ok()?)).collect())
    }

    pub(super) fn families(&self) -> Result<Encoded, UnreadableItem> {
        Ok(Encoded { format: self.u64("format")?, bytes: self.bytes("families")?.to_vec() })
    }

    fn get<T>(
        &self,
        name: &'static str,
        read: impl FnOnce(&'a AttributeValue) -> Option<T>,
    ) -> Result<T, UnreadableItem> {
        self.item.get(name).and_then(read).ok_or_else(|| self.unreadable(name))
    }

    pub(super) fn unreadable(&self, attribute: &'static str) -> UnreadableItem {
        let key = |name| self.item.get(name).and_then(|key| key.as_s().ok()).cloned().unwrap_or_default();
        UnreadableItem { partition_key: key(PARTITION_KEY), sort_key: key(SORT_KEY), attribute }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The formats of bases are those of families, and larger by 100 if the base has parts.
    #[test]
    fn the_format_of_a_base_tells_whether_it_has_parts() {
        let id = PartId::from_bytes([1; 16]);
        for (stored, format, has_parts) in [(1, 1, false), (100, 100, false), (101, 1, true), (102, 2, true)] {
            let families = Encoded { format: stored, bytes: vec![3, 0] };
            let mut item: Item = content_attributes(7, &Folded::new(), &families, 0).collect();
            item.insert("parts".to_owned(), AttributeValue::L(vec![AttributeValue::S(id.to_string())]));
            let base = base_from(&item).unwrap();
            assert_eq!((base.version, base.families.format), (7, format), "{stored}");
            assert_eq!(base.parts, if has_parts { vec![id] } else { Vec::new() }, "{stored}");
        }
    }
}
