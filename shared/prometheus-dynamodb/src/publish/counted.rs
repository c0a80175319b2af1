//! What an environment has counted in one series, also when its program resets or removes the metric.
//!
//! A program may reset a counter, or remove a label's values and bring them back. Prometheus takes any decrease for a restart and
//! goes on adding. This does the same for each environment, since on the page, where many add up, a decrease of one could not be
//! told from a restart of all. What lies between the last gathering and a reset is lost, as it is between two scrapes.

use crate::families::Value;
use crate::families::exact_sum::ExactSum;
use crate::families::rules::is_summable;

/// The numbers of a counter or histogram as the program has them.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// A histogram's observations in each bucket alone, not cumulated; none of a counter.
    pub counts: Vec<u64>,
    /// A counter's value, or the sum of a histogram's observations.
    pub sum: f64,
}

impl Reading {
    /// Whether a reset lies between `earlier` and this.
    fn is_reset_since(&self, earlier: &Self) -> bool {
        if self.counts.is_empty() {
            self.sum < earlier.sum
        } else {
            // The sum tells nothing: it falls with each negative observation.
            self.counts.iter().zip(&earlier.counts).any(|(now, earlier)| now < earlier)
        }
    }
}

/// One series of a counter or histogram.
#[derive(Debug, Clone)]
pub struct Counted {
    /// What was counted before the last reset.
    counts_before: Vec<u64>,
    sum_before: ExactSum,
    /// What was counted since, as it was last seen. The sum is always finite.
    last: Reading,
}

impl Counted {
    /// A series with so many buckets, in which nothing was seen yet.
    pub fn new(buckets: usize) -> Self {
        Self {
            counts_before: vec![0; buckets],
            sum_before: ExactSum::default(),
            last: Reading { counts: vec![0; buckets], sum: 0.0 },
        }
    }

    /// Takes a reading. Returns whether anything has changed since the last one.
    ///
    /// A sum that is not finite never will be again, unless the program resets it. It stands still until then.
    pub fn see(&mut self, mut reading: Reading) -> bool {
        if reading.is_reset_since(&self.last) {
            self.reset();
        }
        if !is_summable(reading.sum) {
            self.sum_before.add(self.last.sum);
            (self.last.sum, reading.sum) = (0.0, 0.0);
        }
        let changed = reading != self.last;
        self.last = reading;
        changed
    }

    /// The program has reset or removed it.
    pub fn reset(&mut self) {
        let last = std::mem::replace(&mut self.last, Reading { counts: vec![0; self.counts_before.len()], sum: 0.0 });
        self.counts_before.iter_mut().zip(last.counts).for_each(|(before, last)| *before = before.saturating_add(last));
        self.sum_before.add(last.sum);
    }

    /// All that was counted.
    pub fn value(&self) -> Value {
        let mut sum = self.sum_before.clone();
        sum.add(self.last.sum);
        if self.counts_before.is_empty() {
            return Value::Sum(sum);
        }
        let counts =
            self.counts_before.iter().zip(&self.last.counts).map(|(before, last)| before.saturating_add(*last));
        Value::Histogram { counts: counts.collect(), sum }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(readings: &[f64]) -> f64 {
        let mut counted = Counted::new(0);
        for &sum in readings {
            counted.see(Reading { counts: vec![], sum });
        }
        let Value::Sum(sum) = counted.value() else { panic!("a counter has a sum") };
        sum.value()
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

    #[test]
    fn a_histogram_is_reset_when_a_bucket_falls_and_only_then() {
        let mut counted = Counted::new(2);
        let mut seen = |counts: [u64; 2], sum: f64| {
            counted.see(Reading { counts: counts.to_vec(), sum });
            counted.value()
        };
        let value = |counts: [u64; 2], sum: f64| Value::Histogram { counts: counts.to_vec(), sum: ExactSum::of([sum]) };
        assert_eq!(seen([1, 2], 5.0), value([1, 2], 5.0));
        assert_eq!(seen([2, 2], -3.0), value([2, 2], -3.0), "a negative observation");
        assert_eq!(seen([3, 0], 1.0), value([5, 2], -2.0));
        assert_eq!(seen([4, 0], f64::NAN), value([6, 2], -2.0), "the sum stands still, the buckets do not");
        assert_eq!(seen([5, 1], f64::NAN), value([7, 3], -2.0));
        assert_eq!(seen([0, 1], 0.5), value([7, 4], -1.5));
    }
}
