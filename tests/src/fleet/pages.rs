//! Checks scraped pages one after another: each page by itself, and against the page before.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::totals::{self, Totals};
use super::violation::{Rule, Violation};
use crate::kit::exposition::{Exposition, Sample};

/// A sequence of pages.
#[derive(Debug, Default)]
pub struct Pages {
    /// Every counter, bucket, sum and count of the page before.
    before: Totals,
}

impl Pages {
    /// Returns the violations of the next page. `stored` is what was known to be stored before the scrape began, and
    /// `sent` the most that can have been stored when it ended.
    pub fn check(&mut self, text: &str, stored: &Totals, sent: &Totals) -> Result<Vec<Violation>> {
        let page = Exposition::parse(text)?;
        let types = types(text);
        let now = counters(&types, &page);
        let mut violations = inconsistencies(&page);
        for (series, before) in &self.before {
            match now.get(series) {
                Some(value) if value >= before => {}
                Some(value) => violations.push(Rule::Fell.broken(series, format!("fell from {before} to {value}"))),
                None => violations.push(Rule::Fell.broken(series, format!("vanished at {before}"))),
            }
        }
        for (series, stored) in stored {
            let value = now.get(series).copied().unwrap_or_default();
            if value < stored - totals::rounding(*stored) {
                violations.push(Rule::Lost.broken(series, format!("is {value}, but {stored} was stored before")));
            }
        }
        // Buckets are not in `sent`; the check for consistency ties them to their counts.
        let buckets: BTreeSet<String> = page
            .samples()
            .iter()
            .filter(|sample| is_of_histogram(&types, sample, &["_bucket"]))
            .map(totals::series_of)
            .collect();
        for (series, value) in now.iter().filter(|(series, _)| !buckets.contains(*series)) {
            match sent.get(series) {
                Some(sent) if *value <= sent + totals::rounding(*sent) => {}
                Some(sent) => {
                    violations.push(Rule::CountedTwice.broken(series, format!("is {value}, but only {sent} was sent")));
                }
                None => violations.push(Rule::CountedTwice.broken(series, format!("is {value}, but nobody sent it"))),
            }
        }
        self.before = now;
        Ok(violations)
    }

    /// Returns the value of a series on the last page, or 0 if it is missing.
    pub fn last(&self, series: &str) -> f64 {
        self.before.get(series).copied().unwrap_or_default()
    }
}

/// Returns the type of each family, as the page states it.
fn types(text: &str) -> BTreeMap<&str, &str> {
    text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect()
}

/// Returns all samples that must never fall.
fn counters(types: &BTreeMap<&str, &str>, page: &Exposition) -> Totals {
    let never_falls = |sample: &&Sample| {
        is_of_histogram(types, sample, &["_bucket", "_sum", "_count"])
            || types.get(sample.name.as_str()) == Some(&"counter")
    };
    page.samples().iter().filter(never_falls).map(|sample| (totals::series_of(sample), sample.value)).collect()
}

/// Returns whether a sample is that of a histogram with one of these suffixes.
fn is_of_histogram(types: &BTreeMap<&str, &str>, sample: &Sample, suffixes: &[&str]) -> bool {
    let family = |suffix: &&str| sample.name.strip_suffix(suffix);
    suffixes.iter().filter_map(family).any(|family| types.get(family) == Some(&"histogram"))
}

/// Returns a violation for each histogram whose buckets fall, or whose last bucket does not hold all observations.
fn inconsistencies(page: &Exposition) -> Vec<Violation> {
    let mut histograms: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    let mut violations = Vec::new();
    for sample in page.samples() {
        let (Some(family), Some(bound)) = (sample.name.strip_suffix("_bucket"), sample.labels.get("le")) else {
            continue;
        };
        let Ok(bound) = bound.parse() else {
            violations.push(Rule::Inconsistent.broken(&sample.name, format!("has the bound {bound}")));
            continue;
        };
        let others = sample.labels.iter().filter(|(name, _)| *name != "le");
        histograms.entry(totals::series(&format!("{family}_count"), others)).or_default().push((bound, sample.value));
    }
    let counts: Totals = page.samples().iter().map(|sample| (totals::series_of(sample), sample.value)).collect();
    for (count, mut buckets) in histograms {
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let ascending = buckets.windows(2).all(|pair| pair[0].1 <= pair[1].1);
        let last = buckets.last().copied();
        if !ascending || last != counts.get(&count).map(|count| (f64::INFINITY, *count)) {
            violations.push(Rule::Inconsistent.broken(&count, format!("is {:?} over {buckets:?}", counts.get(&count))));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(total: u32, below: u32, count: u32) -> String {
        format!(
            "# TYPE jobs_total counter\njobs_total {total}\n# TYPE level gauge\nlevel {total}\n# TYPE s histogram\n\
             s_bucket{{le=\"1\"}} {below}\ns_bucket{{le=\"+Inf\"}} 5\ns_sum 9\ns_count {count}\n"
        )
    }

    fn broken(pages: &[String], stored: f64, sent: f64) -> Vec<Rule> {
        let stored = Totals::from([("jobs_total".to_owned(), stored)]);
        let sent = [("jobs_total", sent), ("s_sum", 9.0), ("s_count", 6.0)];
        let sent = Totals::from(sent.map(|(series, value)| (series.to_owned(), value)));
        let mut checked = Pages::default();
        let violations = pages.iter().flat_map(|page| checked.check(page, &stored, &sent).unwrap());
        violations.map(|violation| violation.rule).collect()
    }

    #[test]
    fn each_rule_can_be_broken() {
        assert_eq!(broken(&[page(3, 2, 5), page(4, 2, 5)], 3.0, 4.0), []);
        assert_eq!(broken(&[page(3, 2, 5), page(2, 2, 5)], 0.0, 4.0), [Rule::Fell]);
        assert_eq!(broken(&[page(3, 2, 5), page(3, 1, 5)], 0.0, 4.0), [Rule::Fell], "a bucket");
        assert_eq!(broken(&[page(3, 2, 5), "up 1\n".into()], 0.0, 4.0), [Rule::Fell; 5], "all is gone");
        assert_eq!(broken(&[page(3, 6, 5)], 0.0, 4.0), [Rule::Inconsistent], "buckets fall");
        assert_eq!(broken(&[page(3, 2, 6)], 0.0, 4.0), [Rule::Inconsistent], "+Inf is not the count");
        assert_eq!(broken(&[page(3, 2, 5)], 4.0, 4.0), [Rule::Lost]);
        assert_eq!(broken(&[page(3, 2, 5)], 2.0, 2.0), [Rule::CountedTwice]);
        let invented = page(3, 2, 5) + "# TYPE more_total counter\nmore_total{kind=\"a\"} 0\n";
        assert_eq!(broken(&[invented], 3.0, 3.0), [Rule::CountedTwice], "a series that nobody sent");
        let no_histogram = page(3, 2, 5) + "# TYPE more_bucket counter\nmore_bucket{le=\"1\"} 0\n";
        assert_eq!(
            broken(&[no_histogram], 3.0, 3.0),
            [Rule::Inconsistent, Rule::CountedTwice],
            "a counter named like a bucket"
        );
    }
}
