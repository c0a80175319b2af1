//! Computes the results that queries must have, from the samples of two moments and not by PromQL.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::kit::exposition::{Exposition, Sample};
use crate::kit::prometheus::{Prometheus, Series};

use super::Window;

/// Values, keyed by the values of some labels.
pub(super) type Values = BTreeMap<Vec<String>, f64>;

/// All samples at the start and at the end of a window.
pub(super) struct Oracle {
    pub window: Window,
    before: Exposition,
    after: Exposition,
    /// Share by which `rate` may exceed the actual rise where samples do not reach the ends of its window: it
    /// extrapolates beyond the first and the last sample, by at most 1.1 scrapes each.
    pub extrapolation: f64,
}

impl Oracle {
    pub(super) async fn read(prometheus: &Prometheus, window: Window) -> Result<Self> {
        let all = r#"{job="sigils"}"#;
        let samples = |series: Vec<Series>| Exposition::of(series.into_iter().map(sample));
        let before = samples(prometheus.query_at(all, window.from).await?);
        let after = samples(prometheus.query_at(all, window.to).await?);
        let scrapes = format!("count_over_time(sigil_encode_total[{}])", window.as_range());
        let scrapes = prometheus.query_at(&scrapes, window.to).await?.first().map_or(0.0, |series| series.value);
        ensure!(scrapes > 60.0, "there were only {scrapes} scrapes");
        Ok(Self { window, before, after, extrapolation: 2.2 / (scrapes - 1.0) })
    }

    /// Returns the rise of a counter, over all series with these labels.
    pub(super) fn rise(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.after.sum(name, labels) - self.before.sum(name, labels)
    }

    /// Returns the rise of a counter for each value of some labels.
    pub(super) fn rises(&self, name: &str, by: &[&str]) -> Values {
        let mut rises = grouped(&self.after, name, by);
        for (group, value) in grouped(&self.before, name, by) {
            *rises.entry(group).or_default() -= value;
        }
        rises
    }

    /// Returns a gauge's sum at the end, for each value of some labels.
    pub(super) fn gauges(&self, name: &str, by: &[&str]) -> Values {
        grouped(&self.after, name, by)
    }

    /// Returns a gauge's largest value at the end, for each value of some labels.
    pub(super) fn largest(&self, name: &str, by: &[&str]) -> Values {
        let mut values = Values::new();
        for sample in self.after.samples().iter().filter(|sample| sample.name == name) {
            let largest = values.entry(group(sample, by)).or_insert(f64::NEG_INFINITY);
            *largest = largest.max(sample.value);
        }
        values
    }

    /// Returns a quantile of what a histogram has observed in the window, for each value of some labels. Label values
    /// without observations are left out.
    pub(super) fn quantiles(&self, quantile: f64, name: &str, by: &[&str]) -> Values {
        let labels: Vec<&str> = by.iter().copied().chain(["le"]).collect();
        let mut histograms: BTreeMap<Vec<String>, Vec<(f64, f64)>> = BTreeMap::new();
        for (mut labels, rise) in self.rises(&format!("{name}_bucket"), &labels) {
            let bound = labels.pop().and_then(|le| le.replace("Inf", "inf").parse().ok()).unwrap_or(f64::NAN);
            histograms.entry(labels).or_default().push((bound, rise));
        }
        let quantiles = histograms.into_iter().filter_map(|(labels, mut buckets)| {
            buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            Some((labels, interpolated(quantile, &buckets)?))
        });
        quantiles.collect()
    }
}

/// Computes a quantile from cumulative buckets. Within the bucket of the quantile, observations are assumed to be
/// spread evenly.
fn interpolated(quantile: f64, buckets: &[(f64, f64)]) -> Option<f64> {
    let count = buckets.last()?.1;
    if count == 0.0 {
        return None;
    }
    let rank = quantile * count;
    let index = buckets.iter().position(|(_, up_to)| *up_to >= rank)?;
    let (bound, up_to) = buckets[index];
    let (lower, below) = if index == 0 { (0.0, 0.0) } else { buckets[index - 1] };
    if bound.is_infinite() {
        return Some(lower);
    }
    Some(lower + (bound - lower) * (rank - below) / (up_to - below))
}

fn grouped(page: &Exposition, name: &str, by: &[&str]) -> Values {
    let mut values = Values::new();
    for sample in page.samples().iter().filter(|sample| sample.name == name) {
        *values.entry(group(sample, by)).or_default() += sample.value;
    }
    values
}

fn group(sample: &Sample, by: &[&str]) -> Vec<String> {
    by.iter().map(|label| sample.labels.get(*label).cloned().unwrap_or_default()).collect()
}

fn sample(series: Series) -> Sample {
    let labels = series.labels.as_object().cloned().unwrap_or_default();
    let mut labels: BTreeMap<String, String> =
        labels.into_iter().map(|(name, value)| (name, value.as_str().map(str::to_owned).unwrap_or_default())).collect();
    let name = labels.remove("__name__").unwrap_or_default();
    Sample { name, labels, value: series.value }
}

/// Returns the values of some labels of a series in a query's result.
pub(super) fn labels_of(labels: &Value, by: &[&str]) -> Vec<String> {
    by.iter().map(|label| labels[*label].as_str().unwrap_or_default().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_interpolated_within_its_bucket() {
        let buckets = [(0.1, 50.0), (0.5, 90.0), (1.0, 100.0), (f64::INFINITY, 100.0)];
        assert_eq!(interpolated(0.5, &buckets), Some(0.1));
        assert_eq!(interpolated(0.95, &buckets), Some(0.75));
        assert_eq!(interpolated(0.9, &[(1.0, 0.0), (f64::INFINITY, 3.0)]), Some(1.0));
        assert_eq!(interpolated(0.9, &[(1.0, 0.0), (f64::INFINITY, 0.0)]), None);
    }
}
