//! Encodes and decodes structures, and snapshots that name one.

use std::sync::Arc;

use prost::Message;

use super::{
    DecodeError, FORMAT, FamiliesMessage, FamilyMessage, MAX_MESSAGE_BYTES, SeriesMessage, decode_families, deflated,
    encode_families, family_key, inflated, kind_message, values,
};
use crate::families::Families;
use crate::families::merge::merge;
use crate::families::rules::{FamilyFault, normal};
use crate::families::split::Split;
use crate::families::structure::{FamilyStructure, Structure};
use crate::families::values::Values;
use crate::table::item::{Encoded, MAX_ENCODED_BYTES, StructureId};

/// Version of the encoding of structures, and of snapshots that name one.
pub const FORMAT_STRUCTURED: u64 = 2;

/// A structure that is stored or will be, with its id.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedStructure {
    id: StructureId,
    structure: Arc<Structure>,
    /// Size of the structure before compression, in bytes.
    message_bytes: usize,
    /// Size of the structure as it is stored, in bytes.
    stored_bytes: usize,
}

impl NamedStructure {
    /// Returns the structure of these families, and its encoding.
    ///
    /// Returns `None` if the families' structure cannot be stored. The families can still be stored in full.
    pub fn of(families: &Families) -> Option<(Self, Encoded)> {
        Self::new(Arc::new(Structure::of(families)))
    }

    /// Returns this structure with its id, and its encoding, or `None` if it cannot be stored.
    pub(crate) fn new(structure: Arc<Structure>) -> Option<(Self, Encoded)> {
        let message = message_of(&structure).encode_to_vec();
        let bytes = deflated(&message);
        if bytes.len() > MAX_ENCODED_BYTES || message.len() > MAX_MESSAGE_BYTES || !structure.can_be_read() {
            return None;
        }
        let id = StructureId::of(&message);
        let (message_bytes, stored_bytes) = (message.len(), bytes.len());
        let named = Self { id, structure, message_bytes, stored_bytes };
        Some((named, Encoded { format: FORMAT_STRUCTURED, bytes }))
    }

    /// Decodes the structure with this id, and checks everything that merging and rendering rely on.
    pub fn decode(id: StructureId, encoded: &Encoded) -> Result<Self, DecodeError> {
        if encoded.format != FORMAT_STRUCTURED {
            return Err(DecodeError::Format { found: encoded.format });
        }
        let message = inflated(&encoded.bytes)?;
        if StructureId::of(&message) != id {
            return Err(DecodeError::StructureId);
        }
        let message_bytes = message.len();
        let message = FamiliesMessage::decode(message.as_slice()).map_err(DecodeError::Message)?;
        let families = message.family.into_iter().map(family_structure).collect::<Result<_, _>>()?;
        let structure = Structure::read(families).ok_or(DecodeError::TooLarge)?;
        if !structure.has_no_duplicates() {
            return Err(DecodeError::DuplicateInStructure);
        }
        let stored_bytes = encoded.bytes.len();
        Ok(Self { id, structure: Arc::new(structure), message_bytes, stored_bytes })
    }

    /// Returns the id of the structure.
    pub fn id(&self) -> StructureId {
        self.id
    }

    /// Returns the structure.
    pub fn structure(&self) -> &Arc<Structure> {
        &self.structure
    }

    /// Returns the size of the structure before compression, in bytes.
    pub fn message_bytes(&self) -> usize {
        self.message_bytes
    }

    /// Encodes families as a snapshot that names this structure: the values of the series that the structure has, and
    /// the rest in full.
    ///
    /// Returns `None` if the families do not have everything that the structure has, are not those of one writer, or
    /// might be too large to be stored without the structure.
    pub fn encode(&self, families: &Families) -> Option<Structured> {
        let whole = Structure::of(families);
        self.encode_parts(&Split::of(&whole, &self.structure)?, &whole.values(families)?)
    }

    /// Encodes values, which `split` divides, as a snapshot that names this structure.
    ///
    /// Returns `None` if the values might be too large to be stored without the structure, as they are in a grave.
    pub(crate) fn encode_parts(&self, split: &Split, values: &Values) -> Option<Structured> {
        let (values, rest) = split.divide(values);
        let rest = split.rest().families_of(&rest);
        let rest = if rest.is_empty() { Vec::new() } else { encode_families(&rest, 0).ok()? };
        let mut bytes = self.id.as_bytes().to_vec();
        values::encode(&values, &mut bytes);
        let without_structure = self.stored_bytes + GROWTH * bytes.len() + rest.len();
        let message_bytes = self.message_bytes + GROWTH * self.structure.slots();
        if without_structure > MAX_ENCODED_BYTES || message_bytes > MAX_MESSAGE_BYTES {
            return None;
        }
        bytes.extend(&rest);
        Some(Structured { encoded: Encoded { format: FORMAT_STRUCTURED, bytes }, rest_bytes: rest.len() })
    }
}

/// Largest factor by which numbers can be longer in format 1: a whole number that takes one byte here is a double
/// there.
const GROWTH: usize = 12;

/// A snapshot that names a structure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Structured {
    /// Encoding of the snapshot.
    pub encoded: Encoded,
    /// Number of bytes in it that hold what the structure does not have.
    pub rest_bytes: usize,
}

/// Returns the id of the structure that a snapshot names, or `None` if it stands alone.
///
/// # Errors
///
/// If the snapshot cannot be read, or a later version of this crate wrote it. It may then name any structure.
pub fn structure_of(encoded: &Encoded) -> Result<Option<StructureId>, DecodeError> {
    match encoded.format {
        FORMAT => Ok(None),
        FORMAT_STRUCTURED => {
            let id = encoded.bytes.first_chunk().ok_or(DecodeError::Values)?;
            Ok(Some(StructureId::from_bytes(*id)))
        }
        found => Err(DecodeError::Format { found }),
    }
}

/// Decodes a snapshot that names this structure. Replaces the content of `values` by the snapshot's values, and returns
/// the families and series that the structure does not have, if there are any.
pub fn decode_structured(
    encoded: &Encoded,
    structure: &NamedStructure,
    values: &mut Values,
) -> Result<Option<Families>, DecodeError> {
    debug_assert_eq!(structure_of(encoded).ok().flatten(), Some(structure.id), "it was looked up by its id");
    let bytes = encoded.bytes.get(size_of::<StructureId>()..).ok_or(DecodeError::Values)?;
    let rest = values::decode(&structure.structure, bytes, values).ok_or(DecodeError::Values)?;
    (!rest.is_empty()).then(|| decode_families(rest)).transpose()
}

/// Decodes a snapshot that names this structure.
pub fn decode_with(encoded: &Encoded, structure: &NamedStructure) -> Result<Families, DecodeError> {
    let mut values = Values::default();
    let rest = decode_structured(encoded, structure, &mut values)?;
    let mut families = structure.structure.families_of(&values);
    merge(&mut families, rest.unwrap_or_default());
    Ok(normal(families))
}

fn message_of(structure: &Structure) -> FamiliesMessage {
    let series = |label_values: &Vec<String>| SeriesMessage { label_value: label_values.clone(), ..Default::default() };
    let family = structure.families().iter().map(|family| FamilyMessage {
        help: family.help.clone(),
        series: family.series.iter().map(series).collect(),
        ..kind_message(&family.key)
    });
    FamiliesMessage { family: family.collect() }
}

fn family_structure(message: FamilyMessage) -> Result<FamilyStructure, DecodeError> {
    let refuse = |fault| DecodeError::Family { family: message.name.clone(), fault };
    let key = family_key(&message).map_err(refuse)?;
    let series: Vec<_> = message.series.into_iter().map(|series| series.label_value).collect();
    if series.iter().any(|label_values| label_values.len() != key.label_names.len()) {
        return Err(DecodeError::Family { family: message.name, fault: FamilyFault::LabelValues });
    }
    Ok(FamilyStructure { key, help: message.help, series })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{families, of_one_writer, values_like};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(before in families(), after in families()) {
            let (written, encoded) = NamedStructure::of(&before).unwrap();
            let read = NamedStructure::decode(written.id(), &encoded).unwrap();
            prop_assert_eq!(&read, &written);

            let mut families = before;
            merge(&mut families, after);
            let families = of_one_writer(families);
            if let Some(Structured { encoded, .. }) = written.encode(&families) {
                prop_assert_eq!(structure_of(&encoded).unwrap(), Some(written.id()));
                prop_assert_eq!(decode_with(&encoded, &read).unwrap(), families);
            }
        }

        #[test]
        fn numbers_and_times_do_not_change_the_id(
            writers in families().prop_flat_map(|families| (Just(families.clone()), values_like(families))),
        ) {
            let id = |families| NamedStructure::of(families).unwrap().0.id();
            prop_assert_eq!(id(&writers.0), id(&writers.1));
        }
    }

    #[test]
    fn another_structure_than_the_one_that_is_named_is_refused() {
        use crate::families::Kind;
        use crate::families::Value;
        let of = |name| NamedStructure::of(&crate::testing::one(name, Kind::Counter, Value::Sum(Default::default())));
        let (one, _) = of("a").unwrap();
        let (_, other) = of("b").unwrap();
        assert!(matches!(NamedStructure::decode(one.id(), &other), Err(DecodeError::StructureId)));
    }
}
