//! Parses Prometheus text, as far as the tests need it.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};

/// A scraped page.
#[derive(Debug, Clone, Default)]
pub struct Exposition {
    samples: Vec<Sample>,
}

/// A sample: one line of the page.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The series' name, with a histogram's suffix.
    pub name: String,
    /// The labels.
    pub labels: BTreeMap<String, String>,
    /// The value.
    pub value: f64,
}

impl Exposition {
    /// Parses a page of text format 0.0.4. A line that is neither a comment nor a sample is an error.
    pub fn parse(text: &str) -> Result<Self> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let samples = lines.map(|line| sample(line).with_context(|| format!("in the line {line:?}")));
        Ok(Self { samples: samples.collect::<Result<_>>()? })
    }

    /// Returns a page of samples that were read elsewhere.
    pub fn of(samples: impl IntoIterator<Item = Sample>) -> Self {
        Self { samples: samples.into_iter().collect() }
    }

    /// Returns all samples.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// Returns the value of the series that has exactly these labels.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut found = self.matching(name, labels).filter(|sample| sample.labels.len() == labels.len());
        found.next().map(|sample| sample.value)
    }

    /// Returns the sum of all series that have at least these labels, or 0 if there are none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name, labels).map(|sample| sample.value).sum()
    }

    fn matching(&self, name: &str, labels: &[(&str, &str)]) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(move |sample| {
            let has = |(name, value): &(&str, &str)| sample.labels.get(*name).is_some_and(|own| own == value);
            sample.name == name && labels.iter().all(has)
        })
    }
}

fn sample(line: &str) -> Result<Sample> {
    let name_ends = line.find(['{', ' ', '\t']).context("there is no value")?;
    let (name, mut rest) = line.split_at(name_ends);
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (name, value, after) = label(rest)?;
            ensure!(labels.insert(name.to_owned(), value).is_none(), "the label {name} is there twice");
            rest = match after.strip_prefix(',') {
                Some(next) => next,
                None if after.starts_with('}') => after,
                None => bail!("no comma follows the label {name}"),
            };
        }
        rest = &rest[1..];
    }
    let value = rest.split_whitespace().next().context("there is no value")?;
    Ok(Sample { name: name.to_owned(), labels, value: value.parse().with_context(|| format!("{value:?}"))? })
}

/// Reads one `name="value"`. Returns the name, the value, and the rest of the text.
fn label(text: &str) -> Result<(&str, String, &str)> {
    let (name, rest) = text.split_once("=\"").context("a label is not complete")?;
    let mut value = String::new();
    let mut characters = rest.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((name, value, &rest[at + 1..])),
            '\\' => match characters.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, escaped @ ('\\' | '"'))) => value.push(escaped),
                other => bail!("an unknown escape: {other:?}"),
            },
            other => value.push(other),
        }
    }
    bail!("a label's value has no end")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = concat!(
        "# HELP jobs_total Jobs\n# TYPE jobs_total counter\n",
        "jobs_total{kind=\"a, \\\"b\\\" {c}\",ok=\"yes\"} 3\njobs_total{kind=\"d\",ok=\"yes\"} 4 1700000000000\n",
        "up 1\nspeed_bucket{le=\"+Inf\"} +Inf\n",
    );

    #[test]
    fn labels_may_contain_every_delimiter() {
        let page = Exposition::parse(PAGE).unwrap();
        assert_eq!(page.value("jobs_total", &[("kind", "a, \"b\" {c}"), ("ok", "yes")]), Some(3.0));
    }

    #[test]
    fn a_sum_goes_over_the_labels_that_are_not_named() {
        let page = Exposition::parse(PAGE).unwrap();
        assert_eq!(page.sum("jobs_total", &[("ok", "yes")]), 7.0);
        assert_eq!(page.value("jobs_total", &[("ok", "yes")]), None);
        assert_eq!(page.value("up", &[]), Some(1.0));
        assert_eq!(
            Exposition::parse("up{a=\"b\",} 1").unwrap().sum("up", &[("a", "b")]),
            1.0,
            "a comma may be the last"
        );
        assert_eq!(page.value("speed_bucket", &[("le", "+Inf")]), Some(f64::INFINITY));
    }

    #[test]
    fn nonsense_is_refused() {
        let no_comma = ["jobs_total{a=\"b\"c=\"d\"} 1", "jobs_total{a=\"b\" c=\"d\"} 1"];
        let lines = ["jobs_total", "jobs_total{a=\"b\" 1", "jobs_total{a=\"b} 1", "jobs_total one"];
        for line in lines.iter().chain(&no_comma) {
            assert!(Exposition::parse(line).is_err(), "{line}");
        }
    }
}
