//! The numbers and times of families, in the order of a structure.

use crate::families::exact_sum::ExactSum;

/// Largest number up to which every whole number is exactly representable as an `f64`.
pub(crate) const MAX_WHOLE: u64 = 1 << 53;

/// Content of one writer's slots; see [`Structure`](crate::families::structure::Structure). Slots that hold 0, as most
/// do, take no room.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Values {
    /// Time at which the writer was born, in milliseconds since the epoch. Times in slots are relative to it.
    pub(crate) born_at_ms: u64,
    /// Content of the slots that do not hold 0, in ascending order of the slots. The parts of one exact sum stand one
    /// after another.
    pub(crate) entries: Vec<Entry>,
    /// Number of slots.
    pub(crate) slots: usize,
}

/// Content of one slot, or a part of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Entry {
    pub(crate) slot: usize,
    pub(crate) value: EntryValue,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum EntryValue {
    /// A whole number. In a slot for a number or a sum it is at most [`MAX_WHOLE`].
    Whole(u64),
    /// A number, or one of the numbers that add up to a sum.
    Part(f64),
}

impl Values {
    /// Returns a cursor that reads slot after slot, beginning with `slot`.
    pub(crate) fn cursor(&self, slot: usize) -> Cursor<'_> {
        let behind = self.entries.partition_point(|entry| entry.slot < slot);
        Cursor { slot, entries: &self.entries[behind..] }
    }
}

/// Builder of the values of a writer, series after series in the structure's order.
#[derive(Debug)]
pub(crate) struct Builder {
    born_at_ms: u64,
    /// The three parts of the slots. Each part counts its slots from 0.
    starts: Slots,
    additive: Slots,
    gauges: Slots,
}

impl Builder {
    /// Creates a builder for a writer that was born at `born_at_ms`, without any series yet.
    pub(crate) fn new(born_at_ms: u64) -> Self {
        Self { born_at_ms, starts: Slots::default(), additive: Slots::default(), gauges: Slots::default() }
    }

    /// Begins a series that counts since `created_at_ms`.
    pub(crate) fn start(&mut self, created_at_ms: u64) {
        self.starts.push_whole(created_at_ms.wrapping_sub(self.born_at_ms));
    }

    /// Adds the count of a bucket of the series.
    pub(crate) fn count(&mut self, count: u64) {
        self.additive.push_whole(count);
    }

    /// Adds the series' sum.
    pub(crate) fn sum(&mut self, sum: &ExactSum) {
        match sum.parts()[..] {
            [] => {}
            [part] => self.additive.push(entry_value(part)),
            ref parts => parts.iter().for_each(|part| self.additive.push(EntryValue::Part(*part))),
        }
        self.additive.length += 1;
    }

    /// Adds the series' sum if it is a single number. Does the same as [`sum`](Self::sum), without creating an
    /// [`ExactSum`].
    pub(crate) fn number(&mut self, number: f64) {
        if number.is_nan() {
            self.additive.push(EntryValue::Part(f64::NAN));
        } else if number != 0.0 {
            self.additive.push(entry_value(number));
        }
        self.additive.length += 1;
    }

    /// Adds the value of a gauge that does not add up.
    pub(crate) fn gauge(&mut self, value: f64) {
        // Only +0.0 takes no room: -0.0 must keep its sign.
        if value.to_bits() != 0 {
            self.gauges.push(entry_value(value));
        }
        self.gauges.length += 1;
    }

    /// Adds the value of a gauge whose most recent value counts, and the time at which it was published.
    pub(crate) fn gauge_at(&mut self, value: f64, at_ms: u64) {
        self.gauge(value);
        self.gauges.push_whole(at_ms.wrapping_sub(self.born_at_ms));
    }

    /// Returns the values.
    pub(crate) fn finish(self) -> Values {
        let mut all = self.starts;
        for part in [self.additive, self.gauges] {
            let behind = part.entries.iter().map(|entry| Entry { slot: all.length + entry.slot, ..*entry });
            all.entries.extend(behind);
            all.length += part.length;
        }
        Values { born_at_ms: self.born_at_ms, entries: all.entries, slots: all.length }
    }
}

/// Some slots, one after another.
#[derive(Debug, Default)]
struct Slots {
    entries: Vec<Entry>,
    length: usize,
}

impl Slots {
    fn push_whole(&mut self, value: u64) {
        if value != 0 {
            self.push(EntryValue::Whole(value));
        }
        self.length += 1;
    }

    fn push(&mut self, value: EntryValue) {
        self.entries.push(Entry { slot: self.length, value });
    }
}

/// Returns the number as a whole one if it is one: that takes less room, and adds up faster.
fn entry_value(value: f64) -> EntryValue {
    let whole = value as u64;
    match value {
        _ if whole > 0 && whole <= MAX_WHOLE && whole as f64 == value => EntryValue::Whole(whole),
        _ => EntryValue::Part(value),
    }
}

/// Cursor that reads slot after slot.
#[derive(Debug)]
pub(crate) struct Cursor<'a> {
    slot: usize,
    entries: &'a [Entry],
}

impl Cursor<'_> {
    /// Reads the next slot, which holds a whole number.
    pub(crate) fn whole(&mut self) -> u64 {
        match self.next() {
            [Entry { value: EntryValue::Whole(value), .. }] => *value,
            _ => 0,
        }
    }

    /// Reads the next slot, which holds one number.
    pub(crate) fn number(&mut self) -> f64 {
        self.next().first().map_or(0.0, |entry| entry.value.as_f64())
    }

    /// Reads the next slot, which holds an exact sum.
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
    /// Returns the number.
    pub(crate) fn as_f64(self) -> f64 {
        match self {
            Self::Whole(value) => value as f64,
            Self::Part(value) => value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_number_is_stored_as_a_whole_one_if_it_is_one() {
        for whole in [1, 2, 1000, MAX_WHOLE] {
            assert_eq!(entry_value(whole as f64), EntryValue::Whole(whole));
        }
        for part in [-0.0, -1.0, 0.5, 1.5, 2.0 * MAX_WHOLE as f64, f64::MAX, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(entry_value(part), EntryValue::Part(part));
        }
    }

    proptest! {
        #[test]
        fn a_number_is_laid_out_as_its_sum_is(number in prop::num::f64::ANY, small in -3.0f64..3.0) {
            for number in [number, small, small.trunc(), -0.0] {
                let laid_out = |lay_out: &dyn Fn(&mut Builder)| {
                    let mut values = Builder::new(0);
                    lay_out(&mut values);
                    format!("{:?}", values.finish())
                };
                let sum = ExactSum::of([number]);
                prop_assert_eq!(laid_out(&|values| values.number(number)), laid_out(&|values| values.sum(&sum)));
            }
        }
    }
}
