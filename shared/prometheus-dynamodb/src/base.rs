//! Reads, decodes and packs a shard's base as a whole, whether it is stored in one item or in parts.
//!
//! The counts of many writers merge into few numbers, so nearly always one item holds a base. There are two exceptions.
//! After a day on which very many writers died, the list of folded writers outgrows an item for two graces. And series that
//! differ from writer to writer can outgrow an item for good. Then the `base` item is a root that names *parts*:
//!
//! - A part never changes, and is stored before a root names it.
//! - The one conditional put of the root commits all of its parts.
//! - Only the root of the same version may name a part. So once a later root is stored, no delayed put can name the part.
//! - A part is deleted a grace after it was found unnamed, which outlasts every reader that has read a root that named it.

use crate::families::Families;
use crate::families::merge::merge;
use crate::table::item::{Base, Encoded, Folded, Part, PartId};
use crate::table::wire::{self, DecodeError, TooLarge};
use crate::table::{ReadStats, TableError};

/// Maximum number of folded writers that one item names. At 27 bytes each, they leave room for the families of an ordinary
/// base.
pub(crate) const WRITERS_IN_ITEM: usize = 8192;

/// Error returned when a base cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BaseError {
    /// The content of the base cannot be decoded.
    #[error("the content of the base cannot be decoded")]
    Decode(#[from] DecodeError),
    /// The base names a part that is not stored.
    #[error("part {0} of the base is missing")]
    PartMissing(PartId),
}

/// A base as it was read.
#[derive(Debug, Clone)]
pub(crate) struct StoredBase {
    pub(crate) root: Base,
    parts: Vec<(PartId, Option<Part>)>,
}

/// Reads a base. The root is read first and then the parts that it names, since parts are stored before a root names them
/// and deleted long after.
pub(crate) async fn read<T: ReadStats>(table: &T, shard: u32) -> Result<Option<StoredBase>, TableError> {
    let Some(root) = table.base(shard).await? else { return Ok(None) };
    let mut parts = Vec::new();
    for id in &root.parts {
        parts.push((*id, table.part(shard, *id).await?));
    }
    Ok(Some(StoredBase { root, parts }))
}

/// Content of a base.
#[derive(Debug, Clone, Default)]
pub(crate) struct Content {
    pub(crate) families: Families,
    pub(crate) folded: Folded,
}

impl StoredBase {
    /// Decodes the root and all parts. No part may be missing, since counters would fall without it.
    pub(crate) fn content(self) -> Result<Content, BaseError> {
        let mut content = Content { families: wire::decode(&self.root.families)?, folded: self.root.folded };
        for (id, part) in self.parts {
            let part = part.ok_or(BaseError::PartMissing(id))?;
            merge(&mut content.families, wire::decode(&part.families)?);
            content.folded.extend(part.folded);
        }
        Ok(content)
    }
}

impl Content {
    /// Divides the content into a root and the parts that the root names. There are no parts if one item holds all of it. An
    /// item names at most `writers_in_item` writers.
    pub(crate) fn pack(&self, version: u64, writers_in_item: usize) -> Result<(Base, Vec<Part>), TooLarge> {
        let folded_bytes = wire::encode_folded(&self.folded).len();
        if self.folded.len() <= writers_in_item
            && let Ok(families) = wire::encode(&self.families, folded_bytes)
        {
            return Ok((Base { version, folded: self.folded.clone(), families, parts: Vec::new() }, Vec::new()));
        }
        let part = |families, folded| Part { version, folded, families };
        let nothing = wire::encode(&Families::new(), 0)?;
        let mut parts: Vec<_> = pieces(&self.families)?.into_iter().map(|piece| part(piece, Folded::new())).collect();
        let writers: Vec<_> = self.folded.iter().map(|(writer, at_ms)| (*writer, *at_ms)).collect();
        parts.extend(
            writers.chunks(writers_in_item.max(1)).map(|chunk| part(nothing.clone(), chunk.iter().copied().collect())),
        );
        let root =
            Base { version, folded: Folded::new(), families: nothing, parts: parts.iter().map(Part::id).collect() };
        Ok((root, parts))
    }
}

/// Encodes families in as many pieces as it takes. A reader of all pieces merges again what was divided.
fn pieces(families: &Families) -> Result<Vec<Encoded>, TooLarge> {
    match wire::encode(families, 0) {
        Ok(piece) => Ok(vec![piece]),
        Err(too_large) => {
            let (first, second) = halves(families).ok_or(too_large)?;
            Ok([pieces(&first)?, pieces(&second)?].concat())
        }
    }
}

/// Divides families by their keys, or a single family by its series. Returns `None` for a single series, which cannot be
/// divided.
fn halves(families: &Families) -> Option<(Families, Families)> {
    let mut first = families.clone();
    if let Some(middle) = families.keys().nth(families.len() / 2).filter(|_| families.len() > 1) {
        let second = first.split_off(middle);
        return Some((first, second));
    }
    let (key, mut family) = first.pop_first()?;
    let middle = family.series.keys().nth(family.series.len() / 2).filter(|_| family.series.len() > 1)?.clone();
    let second = family.series.split_off(&middle);
    let rest = crate::families::Family { help: family.help.clone(), series: second, ..family };
    Some((Families::from([(key.clone(), family)]), Families::from([(key, rest)])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families::exact_sum::ExactSum;
    use crate::families::{Family, FamilyKey, Kind, Series, Value};
    use crate::table::item::{MAX_ENCODED_BYTES, WriterId};
    use std::collections::BTreeMap;

    /// Returns this many metrics with this many series each. Random label values of `ids` ids hardly compress.
    fn wide(metrics: usize, series: usize, ids: usize) -> Families {
        let one = |_| {
            let value = (0..ids).map(|_| WriterId::random().to_string()).collect::<String>();
            (vec![value], Series { created_at_ms: 1, value: Value::Sum(ExactSum::of([1.0])) })
        };
        let metric = |number| {
            let name = format!("wide_{number}_total");
            let series: BTreeMap<_, _> = (0..series).map(one).collect();
            (
                FamilyKey { name, kind: Kind::Counter, label_names: vec!["id".into()] },
                Family { help: "Wide.".into(), born_at_ms: 1, series, ..Family::default() },
            )
        };
        (0..metrics).map(metric).collect()
    }

    fn folded(writers: usize) -> Folded {
        (0..writers).map(|_| (WriterId::random(), Some(1_763_913_600_123))).collect()
    }

    fn read_back(root: Base, parts: Vec<Part>) -> Content {
        let parts = parts.into_iter().map(|part| (part.id(), Some(part))).collect();
        StoredBase { root, parts }.content().unwrap()
    }

    #[test]
    fn an_ordinary_base_is_one_item() {
        let content = Content { families: wide(1, 100, 2), folded: folded(2000) };
        let (root, parts) = content.pack(7, WRITERS_IN_ITEM).unwrap();
        assert_eq!((root.version, root.parts.len(), parts.len()), (7, 0, 0));
        assert_eq!(root.folded, content.folded);
    }

    #[test]
    fn a_large_base_is_divided_and_read_as_it_was() {
        for (metrics, series, writers) in
            [(1, 40_000, 10), (1, 10, 20_000), (1, 20_000, 20_000), (2, 20_000, 10), (3, 10_000, 10), (40, 1000, 10)]
        {
            let content = Content { families: wide(metrics, series, 2), folded: folded(writers) };
            let (root, parts) = content.pack(7, WRITERS_IN_ITEM).unwrap();
            assert!(parts.len() > 1, "{metrics} {series} {writers}");
            assert!(parts.iter().all(|part| part.version == 7));
            let read = read_back(root, parts);
            assert!(read.families == content.families && read.folded == content.folded, "{metrics} {series} {writers}");
        }
    }

    #[test]
    fn a_series_that_no_item_holds_is_an_error() {
        let content = Content { families: wide(2, 1, MAX_ENCODED_BYTES / 8), folded: folded(1) };
        assert!(content.pack(1, WRITERS_IN_ITEM).is_err());
    }

    #[test]
    fn a_part_that_is_missing_is_an_error() {
        let content = Content { families: wide(1, 10, 2), folded: folded(3) };
        let (root, parts) = content.pack(1, 1).unwrap();
        let parts = parts.into_iter().map(|part| (part.id(), None)).collect();
        assert!(matches!(StoredBase { root, parts }.content(), Err(BaseError::PartMissing(_))));
    }
}
