//! Encodes and decodes values as [`super`] describes. Most slots hold nothing, which takes a fraction of a byte, or a
//! small whole number, which takes one byte.

use crate::families::rules::is_part_of_sum;
use crate::families::structure::{SlotKind, Structure};
use crate::families::values::{Entry, EntryValue, MAX_WHOLE, Values};

/// Appends the encoded values to `bytes`.
pub(super) fn encode(values: &Values, bytes: &mut Vec<u8>) {
    put_varint(bytes, values.born_at_ms);
    let mut slot = 0;
    let mut entries = values.entries.as_slice();
    while let Some(first) = entries.first() {
        put_zeros(bytes, first.slot - slot);
        let length = entries.iter().take_while(|entry| entry.slot == first.slot).count();
        let (own, behind) = entries.split_at(length);
        put_slot(bytes, own);
        slot = first.slot + 1;
        entries = behind;
    }
    put_zeros(bytes, values.slots - slot);
}

fn put_slot(bytes: &mut Vec<u8>, entries: &[Entry]) {
    if let [Entry { value: EntryValue::Whole(value), .. }] = entries {
        if *value < 1 << 63 {
            put_varint(bytes, value << 1 | 1);
        } else {
            put_varint(bytes, 2);
            bytes.extend(value.to_le_bytes());
        }
        return;
    }
    put_varint(bytes, (entries.len() as u64 - 1) << 2 | 2);
    entries.iter().for_each(|entry| bytes.extend(entry.value.as_f64().to_le_bytes()));
}

fn put_zeros(bytes: &mut Vec<u8>, slots: usize) {
    if slots > 0 {
        put_varint(bytes, (slots as u64 - 1) << 2);
    }
}

fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// Reads the values of this structure into `values`, and returns the bytes behind them, or `None` if they are damaged.
pub(super) fn decode<'a>(structure: &Structure, mut bytes: &'a [u8], values: &mut Values) -> Option<&'a [u8]> {
    values.entries.clear();
    values.born_at_ms = take_varint(&mut bytes)?;
    let kinds = structure.slot_kinds();
    values.slots = kinds.len();
    let mut slot = 0;
    while let Some(kind) = kinds.get(slot) {
        let step = take_varint(&mut bytes)?;
        let mut push = |value| values.entries.push(Entry { slot, value });
        match (step & 3, kind) {
            (1 | 3, kind) => {
                let value = step >> 1;
                if value > MAX_WHOLE && *kind != SlotKind::Whole {
                    return None;
                }
                push(EntryValue::Whole(value));
            }
            (2, SlotKind::Whole) if step == 2 => push(EntryValue::Whole(u64::from_le_bytes(take(&mut bytes)?))),
            (2, SlotKind::Counted | SlotKind::Sum | SlotKind::Number) => {
                let parts = usize::try_from(step >> 2).ok()? + 1;
                if parts > 1 && *kind == SlotKind::Number {
                    return None;
                }
                for _ in 0..parts {
                    let part = f64::from_le_bytes(take(&mut bytes)?);
                    // A number that cannot be summed is left out, so that it does not spoil the rest.
                    if *kind != SlotKind::Counted || is_part_of_sum(part) {
                        push(EntryValue::Part(part));
                    }
                }
            }
            (0, _) => {
                slot = slot.checked_add(usize::try_from(step >> 2).ok()?)?;
                if slot >= kinds.len() {
                    return None;
                }
            }
            _ => return None,
        }
        slot += 1;
    }
    Some(bytes)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, behind) = bytes.split_first_chunk()?;
    *bytes = behind;
    Some(*taken)
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let [byte] = take(bytes)?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte <= 0x7f {
            // The tenth byte has room for one bit.
            return (shift < 63 || byte <= 1).then_some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{families, of_one_writer};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(families in families(), behind in prop::collection::vec(any::<u8>(), 0..4)) {
            let families = of_one_writer(families);
            let structure = Structure::of(&families);
            let values = structure.values(&families).unwrap();
            let mut bytes = Vec::new();
            encode(&values, &mut bytes);
            bytes.extend(&behind);
            // The values are decoded into a buffer that was used before.
            let mut decoded = values.clone();
            prop_assert_eq!(decode(&structure, &bytes, &mut decoded), Some(behind.as_slice()));
            prop_assert_eq!(decoded, values);
            for cut in 0..bytes.len() - behind.len() {
                prop_assert_eq!(decode(&structure, &bytes[..cut], &mut Values::default()), None);
            }
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(families in families(), bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let structure = Structure::of(&families);
            let mut values = Values::default();
            if decode(&structure, &bytes, &mut values).is_some() {
                structure.families_of(&values);
            }
        }

        #[test]
        fn any_number_is_kept(numbers in prop::collection::vec(any::<u64>(), 0..20)) {
            let mut bytes = Vec::new();
            numbers.iter().for_each(|number| put_varint(&mut bytes, *number));
            let mut rest = bytes.as_slice();
            let read: Vec<_> = numbers.iter().map(|_| take_varint(&mut rest).unwrap()).collect();
            prop_assert_eq!(read, numbers);
            prop_assert!(rest.is_empty());
        }
    }
}
