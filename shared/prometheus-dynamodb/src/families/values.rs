//! The numbers and times of families, in the order of a structure.

use crate::families::exact_sum::ExactSum;

/// The largest whole number up to which every one is an `f64`.
pub(crate) const MAX_WHOLE: u64 = 1 << 53;

/// What one writer's slots hold; see [`Structure`](crate::families::structure::Structure). Slots that hold 0 take no room:
/// most do.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Values {
    /// When the writer was born, in milliseconds since the epoch. Times in slots are counted from it.
    pub(crate) born_at_ms: u64,
    /// What is not 0, in ascending order of the slots. The parts of one exact sum stand one after another.
    pub(crate) entries: Vec<Entry>,
    /// How many slots there are.
    pub(crate) slots: usize,
}

/// What one slot holds, or a part of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Entry {
    pub(crate) slot: usize,
    pub(crate) value: EntryValue,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum EntryValue {
    /// A whole number; where the slot holds a number, of [`MAX_WHOLE`] at most.
    Whole(u64),
    /// A number, or one of those that add up to a sum.
    Part(f64),
}

impl Values {
    /// Values of a writer that was born then, without a slot yet.
    pub(crate) fn new(born_at_ms: u64) -> Self {
        Self { born_at_ms, ..Self::default() }
    }

    pub(crate) fn push_whole(&mut self, value: u64) {
        if value != 0 {
            self.push(EntryValue::Whole(value));
        }
        self.slots += 1;
    }

    pub(crate) fn push_number(&mut self, value: f64) {
        // 0 with its sign is not nothing.
        if value.to_bits() != 0 {
            self.push(entry_value(value));
        }
        self.slots += 1;
    }

    pub(crate) fn push_sum(&mut self, sum: &ExactSum) {
        match sum.parts()[..] {
            [] => {}
            [part] => self.push(entry_value(part)),
            ref parts => parts.iter().for_each(|part| self.push(EntryValue::Part(*part))),
        }
        self.slots += 1;
    }

    pub(crate) fn push(&mut self, value: EntryValue) {
        self.entries.push(Entry { slot: self.slots, value });
    }

    /// Reads slot after slot, from this one on.
    pub(crate) fn cursor(&self, slot: usize) -> Cursor<'_> {
        let behind = self.entries.partition_point(|entry| entry.slot < slot);
        Cursor { slot, entries: &self.entries[behind..] }
    }
}

/// A whole number where it is one: it takes less room, and adds up faster.
fn entry_value(value: f64) -> EntryValue {
    let whole = value as u64;
    match value {
        _ if whole > 0 && whole <= MAX_WHOLE && whole as f64 == value => EntryValue::Whole(whole),
        _ => EntryValue::Part(value),
    }
}

/// Reads slot after slot.
#[derive(Debug)]
pub(crate) struct Cursor<'a> {
    slot: usize,
    entries: &'a [Entry],
}

impl Cursor<'_> {
    /// The next slot, which holds a whole number.
    pub(crate) fn whole(&mut self) -> u64 {
        match self.next() {
            [Entry { value: EntryValue::Whole(value), .. }] => *value,
            _ => 0,
        }
    }

    /// The next slot, which holds one number.
    pub(crate) fn number(&mut self) -> f64 {
        self.next().first().map_or(0.0, |entry| entry.value.as_f64())
    }

    /// The next slot, which holds an exact sum.
    pub(crate) fn sum(&mut self) -> ExactSum {
        ExactSum::of(self.next().iter().map(|entry| entry.value.as_f64()))
    }

    fn next(&mut self) -> &[Entry] {
        let length = self.entries.iter().take_while(|entry| entry.slot == self.slot).count();
        let (own, behind) = self.entries.split_at(length);
        self.entries = behind;
        self.slot += 1;
        own
    }
}

impl EntryValue {
    /// The number.
    pub(crate) fn as_f64(self) -> f64 {
        match self {
            Self::Whole(value) => value as f64,
            Self::Part(value) => value,
        }
    }
}
