//! An exact sum of floating-point numbers, which does not depend on the order of adding.
//!
//! Adding the same numbers in another order can change a rounded sum by one unit in the last place. Folding writers
//! changes the order. If a `_sum` then falls by one unit, it looks like a counter reset, and `rate()` adds the whole
//! sum once more. So sums are kept exactly, as a list of numbers that do not overlap, and are rounded only where they
//! are shown. Since rounding is monotone, a sum of parts that only grow is never shown falling.
//!
//! There is one exception: a sum that exceeds the largest `f64` while numbers are added stays infinite, and whether it
//! does can depend on the order.
//!
//! The method is that of Shewchuk, *Adaptive Precision Floating-Point Arithmetic* (1997), which Python's `math.fsum`
//! uses too.

/// An exact sum of `f64`s.
#[derive(Debug, Clone, Default)]
pub struct ExactSum {
    /// Non-zero, finite, non-overlapping numbers of ascending magnitude, whose mathematical sum is the sum.
    parts: Vec<f64>,
    /// Sum of the numbers that were not finite, and of those that overflowed. They are not in `parts`. If this is not
    /// 0, it is the value of the whole sum.
    special: f64,
}

impl ExactSum {
    /// Returns the sum of these numbers.
    pub fn of(numbers: impl IntoIterator<Item = f64>) -> Self {
        let mut sum = Self::default();
        numbers.into_iter().for_each(|number| sum.add(number));
        sum
    }

    /// Adds a number.
    pub fn add(&mut self, number: f64) {
        if !number.is_finite() {
            self.add_special(number);
            return;
        }
        let mut carry = number;
        let mut kept = 0;
        for i in 0..self.parts.len() {
            let (high, low) = two_sum(carry, self.parts[i]);
            if !high.is_finite() {
                // Beyond the largest f64: what remains cannot be shown as a number anyway.
                self.add_special(high);
                self.parts.clear();
                return;
            }
            if low != 0.0 {
                self.parts[kept] = low;
                kept += 1;
            }
            carry = high;
        }
        self.parts.truncate(kept);
        if carry != 0.0 {
            self.parts.push(carry);
        }
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: &Self) {
        self.add_special(other.special);
        other.parts.iter().for_each(|&part| self.add(part));
    }

    /// Subtracts another sum.
    pub fn subtract(&mut self, other: &Self) {
        self.add_special(-other.special);
        other.parts.iter().for_each(|&part| self.add(-part));
    }

    /// Adds a number that is not finite. Every NaN becomes the same one, whatever bits the processor gives it.
    fn add_special(&mut self, special: f64) {
        self.special += special;
        if self.special.is_nan() {
            self.special = f64::NAN;
        }
    }

    /// Returns the sum, rounded once to the nearest `f64`, half to even.
    pub fn value(&self) -> f64 {
        if self.special != 0.0 {
            return self.special;
        }
        let mut parts = self.parts.iter().rev().copied();
        let Some(mut high) = parts.next() else { return 0.0 };
        let mut low = 0.0;
        for part in parts.by_ref() {
            (high, low) = two_sum(high, part);
            if low != 0.0 {
                break;
            }
        }
        // `high` is the sum rounded half to even by its first error term alone. If that term is exactly half a unit, a
        // further part of the same sign tips the balance. Neither is 0: parts never are, and the loop left one only
        // because of `low`.
        if let Some(next) = parts.next()
            && low.is_sign_negative() == next.is_sign_negative()
        {
            let doubled = low * 2.0;
            let up = high + doubled;
            if doubled == up - high {
                return up;
            }
        }
        high
    }

    /// Returns whether the sum is 0.
    pub(crate) fn is_zero(&self) -> bool {
        self.parts.is_empty() && self.special == 0.0
    }

    /// Returns numbers whose exact sum this is, for storage. There are none if the sum is 0.
    pub fn parts(&self) -> Vec<f64> {
        let special = (self.special != 0.0).then_some(self.special);
        self.parts.iter().copied().chain(special).collect()
    }
}

/// Compares the sums themselves and not their representations, so sums that came about differently can be equal.
impl PartialEq for ExactSum {
    fn eq(&self, other: &Self) -> bool {
        let mut difference = self.clone();
        difference.subtract(other);
        difference.parts.is_empty() && self.special.total_cmp(&other.special).is_eq()
    }
}

/// Returns `a + b` rounded, and the rounding error (Knuth).
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let b_rounded = sum - a;
    let a_rounded = sum - b_rounded;
    (sum, (a - a_rounded) + (b - b_rounded))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keeps_what_plain_addition_loses() {
        assert_eq!(ExactSum::of([1e100, 1.0, -1e100]).value(), 1.0);
        assert_eq!(ExactSum::of([0.1; 10]).value(), 1.0);
        assert_eq!(ExactSum::default().value(), 0.0);
    }

    #[test]
    fn a_tie_is_broken_by_what_lies_below_it() {
        let half_unit = f64::EPSILON / 2.0;
        assert_eq!(ExactSum::of([1.0, half_unit]).value(), 1.0);
        assert_eq!(ExactSum::of([1.0, half_unit, 1e-300]).value(), 1.0 + f64::EPSILON);
    }

    #[test]
    fn what_is_not_finite_decides() {
        assert_eq!(ExactSum::of([1.0, f64::INFINITY]).value(), f64::INFINITY);
        assert!(ExactSum::of([f64::NEG_INFINITY, f64::INFINITY]).value().is_nan());
        assert_eq!(ExactSum::of([f64::MAX, f64::MAX]).value(), f64::INFINITY);
        assert_eq!(ExactSum::of(ExactSum::of([f64::INFINITY, 2.0]).parts()).value(), f64::INFINITY);
    }

    #[test]
    fn what_is_not_finite_is_merged_and_taken_away_as_numbers_are() {
        let infinite = ExactSum::of([1.0, f64::INFINITY]);
        let mut sum = ExactSum::of([2.0]);
        sum.merge(&infinite);
        assert_eq!(sum.value(), f64::INFINITY);
        sum.subtract(&infinite);
        assert!(sum.value().is_nan());
        let mut sum = ExactSum::of([2.0]);
        sum.subtract(&infinite);
        assert_eq!(sum.value(), f64::NEG_INFINITY);
        assert_eq!(ExactSum::of([f64::NAN]), ExactSum::of([-f64::NAN]), "there is but one");
        assert_ne!(infinite, ExactSum::of([1.0]));
    }

    /// Finite numbers of very different magnitude, small enough that no sum of them overflows.
    fn numbers() -> impl Strategy<Value = Vec<f64>> {
        prop::collection::vec((any::<f64>(), -60i32..60).prop_map(|(x, e)| (x % 1.0) * 2f64.powi(e)), 0..60)
            .prop_map(|numbers| numbers.into_iter().filter(|x| x.is_finite()).collect())
    }

    proptest! {
        #[test]
        fn the_order_and_the_grouping_do_not_matter(
            (numbers, shuffled) in numbers().prop_flat_map(|n| (Just(n.clone()), Just(n).prop_shuffle())),
            cut in 0usize..60,
        ) {
            let whole = ExactSum::of(numbers.iter().copied());
            let (left, right) = shuffled.split_at(cut.min(shuffled.len()));
            let mut grouped = ExactSum::of(left.iter().copied());
            grouped.merge(&ExactSum::of(right.iter().copied()));
            prop_assert_eq!(whole.value().to_bits(), grouped.value().to_bits());
            prop_assert_eq!(&whole, &grouped);
            prop_assert_eq!(ExactSum::of(whole.parts()).value().to_bits(), whole.value().to_bits());
        }

        #[test]
        fn a_sum_never_falls_when_a_part_grows(numbers in numbers(), index in 0usize..60, growth in 0.0f64..1e-9) {
            prop_assume!(!numbers.is_empty());
            let mut grown = numbers.clone();
            let index = index % numbers.len();
            grown[index] += growth;
            prop_assume!(grown[index] >= numbers[index]);
            prop_assert!(ExactSum::of(grown).value() >= ExactSum::of(numbers).value());
        }
    }

    /// The sum on a page never falls while 100 writers observe some 1,000 durations each and are folded at any time, in
    /// any order.
    #[test]
    fn a_sum_of_100_000_values_never_falls_however_it_is_folded() {
        const WRITERS: usize = 100;
        let mut random = fastrand::Rng::with_seed(1);
        let mut writers = vec![ExactSum::default(); WRITERS];
        let (mut base, mut all, mut shown) = (ExactSum::default(), Vec::new(), 0.0);
        for _ in 0..100_000 {
            // From nanoseconds to hours, with digits all the way down.
            let value = f64::from(random.u32(..)) * 2f64.powi(random.i32(-62..-19));
            let writer = random.usize(..WRITERS);
            writers[writer].add(value);
            all.push(value);
            if random.u8(..50) == 0 {
                base.merge(&std::mem::take(&mut writers[random.usize(..WRITERS)]));
            }
            if random.u8(..20) == 0 {
                let mut total = base.clone();
                let first = random.usize(..WRITERS);
                (0..WRITERS).for_each(|i| total.merge(&writers[(first + i) % WRITERS]));
                assert!(total.value() >= shown, "{} after {shown}", total.value());
                shown = total.value();
            }
        }
        writers.iter().for_each(|writer| base.merge(writer));
        all.sort_by(f64::total_cmp);
        assert_eq!(base.value().to_bits(), ExactSum::of(all).value().to_bits());
    }
}
