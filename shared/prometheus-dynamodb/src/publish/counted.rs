//! Counts what an environment has seen in one series, even if its program resets or removes the metric.
//!
//! A program may reset a counter, or remove a label's values and bring them back. Prometheus takes any decrease for a
//! restart and goes on adding. This module does the same for each environment: on the page, which adds up many of them, a
//! decrease in one environment could not be told from a restart of all. Counts between the last gathering and a reset are
//! lost, as they are between two scrapes.

use crate::families::exact_sum::ExactSum;
use crate::families::rules::is_summable;
use crate::families::values::Builder;

/// The numbers of a counter or histogram as the program has them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Reading<'a> {
    /// Observations in each bucket of a histogram alone, not cumulated; empty for a counter.
    pub counts: &'a [u64],
    /// A counter's value, or the sum of a histogram's observations.
    pub sum: f64,
}

impl Reading<'_> {
    /// Returns whether the sum can be added to those of all environments. A counter that is below zero would make the page's
    /// fall. A histogram's sum may be, since observations may.
    pub(crate) fn is_summable(&self) -> bool {
        let is_counter = self.counts.is_empty();
        is_summable(self.sum) && !(is_counter && self.sum < 0.0)
    }
}

/// One series of a counter or histogram.
#[derive(Debug, Clone)]
pub(super) struct Counted {
    /// Counts and sum from before the last reset.
    counts_before: Vec<u64>,
    sum_before: ExactSum,
    /// Counts and sum since the last reset, as of the last reading. The sum is always finite.
    last_counts: Vec<u64>,
    last_sum: f64,
}

impl Counted {
    /// Creates a series with this many buckets, in which nothing was counted yet.
    pub(super) fn new(buckets: usize) -> Self {
        Self {
            counts_before: vec![0; buckets],
            sum_before: ExactSum::default(),
            last_counts: vec![0; buckets],
            last_sum: 0.0,
        }
    }

    /// Takes a reading. Returns whether anything has changed since the last one.
    ///
    /// A sum that cannot be added stays so unless the program resets it. Until then the sum of the series stands still.
    pub(super) fn see(&mut self, reading: Reading<'_>) -> bool {
        if self.is_reset_by(reading) {
            self.reset();
        }
        let mut sum = reading.sum;
        if !reading.is_summable() {
            self.sum_before.add(self.last_sum);
            (self.last_sum, sum) = (0.0, 0.0);
        }
        let changed = sum != self.last_sum || reading.counts != self.last_counts;
        self.last_sum = sum;
        self.last_counts.copy_from_slice(reading.counts);
        changed
    }

    /// Returns whether the program has reset the series between the last reading and this one.
    fn is_reset_by(&self, reading: Reading<'_>) -> bool {
        if self.last_counts.is_empty() {
            reading.sum < self.last_sum
        } else {
            // The sum does not show a reset, since it also falls with each negative observation.
            reading.counts.iter().zip(&self.last_counts).any(|(now, earlier)| now < earlier)
        }
    }

    /// Notes that the program has reset or removed the series.
    pub(super) fn reset(&mut self) {
        for (before, last) in self.counts_before.iter_mut().zip(&mut self.last_counts) {
            *before = before.saturating_add(std::mem::take(last));
        }
        self.sum_before.add(std::mem::take(&mut self.last_sum));
    }

    /// Adds everything that was counted to `values`. The sum is the nearest number to what was counted: after resets, the exact
    /// sum could take forty times as much room as the snapshot keeps for it. What this rounds off is not lost, since the exact
    /// sum is kept here, and rounding makes no number fall.
    pub(super) fn lay_out(&self, values: &mut Builder) {
        for (before, last) in self.counts_before.iter().zip(&self.last_counts) {
            values.count(before.saturating_add(*last));
        }
        if self.sum_before.is_zero() {
            values.number(self.last_sum);
        } else {
            let mut sum = self.sum_before.clone();
            sum.add(self.last_sum);
            values.number(sum.value());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the counts and the sum that are laid out.
    fn all(counted: &Counted) -> (Vec<u64>, f64) {
        let mut values = Builder::new(0);
        counted.lay_out(&mut values);
        let values = values.finish();
        let mut cursor = values.cursor(0);
        (counted.last_counts.iter().map(|_| cursor.whole()).collect(), cursor.sum().value())
    }

    fn total(readings: &[f64]) -> f64 {
        let mut counted = Counted::new(0);
        for &sum in readings {
            counted.see(Reading { counts: &[], sum });
        }
        all(&counted).1
    }

    #[test]
    fn a_decrease_is_a_restart_from_zero() {
        assert_eq!(total(&[3.0, 5.0]), 5.0);
        assert_eq!(total(&[3.0, 5.0, 2.0, 4.0]), 9.0);
        assert_eq!(total(&[3.0, 0.0, 3.0]), 6.0);
    }

    #[test]
    fn a_counter_that_is_not_finite_stands_still_until_it_is_reset() {
        assert_eq!(total(&[3.0, f64::NAN, f64::NAN]), 3.0);
        assert_eq!(total(&[3.0, f64::INFINITY, 4.0]), 7.0);
    }

    /// `prometheus` lets no counter fall below zero. A hand-written collector can.
    #[test]
    fn a_counter_that_is_negative_stands_still_until_it_is_reset() {
        assert_eq!(total(&[-5.0]), 0.0);
        assert_eq!(total(&[5.0, -1.0, -2.0]), 5.0);
        assert_eq!(total(&[5.0, -1.0, 4.0]), 9.0);
        assert_eq!(total(&[-5.0, -0.0, 4.0]), 4.0);
    }

    #[test]
    fn a_sum_takes_the_room_of_one_number_and_does_not_fall_whatever_is_reset() {
        let mut random = fastrand::Rng::with_seed(1);
        let (mut counted, mut exact, mut before) = (Counted::new(0), ExactSum::default(), 0.0);
        for _ in 0..1000 {
            let sum = 2f64.powi(random.i32(-990..990)) * (1.0 + random.f64());
            counted.see(Reading { counts: &[], sum });
            exact.add(sum);
            let mut values = Builder::new(0);
            counted.lay_out(&mut values);
            let values = values.finish();
            let total = values.cursor(0).number();
            assert_eq!((values.entries.len(), total), (1, exact.value()));
            assert!(total >= before, "{total} after {before}");
            before = total;
            counted.reset();
        }
    }

    #[test]
    fn a_histogram_is_reset_when_a_bucket_falls_and_only_then() {
        let mut counted = Counted::new(2);
        let mut seen = |counts: [u64; 2], sum: f64| {
            counted.see(Reading { counts: &counts, sum });
            all(&counted)
        };
        let value = |counts: [u64; 2], sum: f64| (counts.to_vec(), sum);
        assert_eq!(seen([1, 2], 5.0), value([1, 2], 5.0));
        assert_eq!(seen([2, 2], -3.0), value([2, 2], -3.0), "a negative observation");
        assert_eq!(seen([3, 0], 1.0), value([5, 2], -2.0));
        assert_eq!(seen([4, 0], f64::NAN), value([6, 2], -2.0), "the sum stands still, the buckets do not");
        assert_eq!(seen([5, 1], f64::NAN), value([7, 3], -2.0));
        assert_eq!(seen([0, 1], 0.5), value([7, 4], -1.5));
    }
}
