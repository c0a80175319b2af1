//! Counts what clients saw, and compares it with what a page counts.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use crate::kit::exposition::Exposition;

/// Counts by series: a metric's name, the operation, and the reason.
type Counts = BTreeMap<(&'static str, String, String), u64>;

const CREATED: [&str; 2] = ["sigil_encode_total", "sigil_encode_repeats_total"];
const VERIFIED: &str = "sigil_verify_total";
const ERRORS: &str = "sigil_error_total";

/// Counts of what clients saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    counts: Counts,
    /// Requests, including those that nobody answered.
    pub requests: u64,
    /// Requests whose environment ended before it answered.
    pub unheard: u64,
}

impl Seen {
    /// Counts a sigil that was acknowledged.
    pub fn created(&mut self) {
        self.count(CREATED[0], "", "");
    }

    /// Counts a verdict.
    pub fn verified(&mut self) {
        self.count(VERIFIED, "", "");
    }

    /// Counts a request that was refused, or failed.
    pub fn error(&mut self, operation: &str, reason: &str) {
        self.count(ERRORS, operation, reason);
    }

    fn count(&mut self, name: &'static str, operation: &str, reason: &str) {
        *self.counts.entry((name, operation.to_owned(), reason.to_owned())).or_default() += 1;
    }

    /// Returns the same counts as a page has them. Errors of gc are left out, since no client sees them.
    pub fn on(page: &Exposition) -> Self {
        let mut counts = Counts::new();
        let created = CREATED.iter().map(|name| page.sum(name, &[])).sum::<f64>();
        counts.insert((CREATED[0], String::new(), String::new()), created as u64);
        counts.insert((VERIFIED, String::new(), String::new()), page.sum(VERIFIED, &[]) as u64);
        for sample in page.samples().iter().filter(|sample| sample.name == ERRORS) {
            let label = |name: &str| sample.labels.get(name).cloned().unwrap_or_default();
            if label("operation") != "gc" {
                *counts.entry((ERRORS, label("operation"), label("reason"))).or_default() += sample.value as u64;
            }
        }
        counts.retain(|_, count| *count > 0);
        Self { counts, ..Self::default() }
    }

    /// Returns what this counts beyond `other`.
    pub fn beyond(&self, other: &Self) -> Self {
        let mut counts = Counts::new();
        for (series, count) in &self.counts {
            let more = count.saturating_sub(other.counts.get(series).copied().unwrap_or_default());
            if more > 0 {
                counts.insert(series.clone(), more);
            }
        }
        Self { counts, ..Self::default() }
    }

    /// Returns the sum of all counts.
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Returns the number of errors.
    pub fn errors(&self) -> u64 {
        self.counts.iter().filter(|((name, ..), _)| *name == ERRORS).map(|(_, count)| count).sum()
    }

    /// Returns the numbers of errors by reason.
    pub fn errors_by_reason(&self) -> BTreeMap<&str, u64> {
        let mut by_reason = BTreeMap::new();
        for ((_, _, reason), count) in self.counts.iter().filter(|((name, ..), _)| *name == ERRORS) {
            *by_reason.entry(reason.as_str()).or_default() += count;
        }
        by_reason
    }
}

impl AddAssign<&Self> for Seen {
    fn add_assign(&mut self, other: &Self) {
        for (series, count) in &other.counts {
            *self.counts.entry(series.clone()).or_default() += count;
        }
        self.requests += other.requests;
        self.unheard += other.unheard;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_too_often_or_not_at_all_is_named() {
        let mut seen = Seen::default();
        seen.created();
        seen.error("encode", "throttled");
        let page = |errors: u64| {
            let text = format!(
                "sigil_encode_total 1\nsigil_error_total{{operation=\"encode\",reason=\"throttled\"}} {errors}\n\
                 sigil_error_total{{operation=\"gc\",reason=\"throttled\"}} 9\n"
            );
            Seen::on(&Exposition::parse(&text).unwrap())
        };
        assert_eq!((page(1).beyond(&seen).total(), seen.beyond(&page(1)).total()), (0, 0));
        assert_eq!(page(3).beyond(&seen).errors_by_reason(), BTreeMap::from([("throttled", 2)]));
        assert_eq!((seen.beyond(&page(0)).total(), seen.beyond(&page(0)).errors()), (1, 1));
    }
}
