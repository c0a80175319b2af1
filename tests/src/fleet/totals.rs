//! Counters by series, as published and as scraped.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prometheus_dynamodb::internals::families::{Kind, Value};
use prometheus_dynamodb::internals::item::{Encoded, StructureId};
use prometheus_dynamodb::internals::wire::{self, NamedStructure};

use crate::kit::exposition::Sample;

/// Values of each counter, and of each histogram's `_count` and `_sum`, by the series as Prometheus writes it.
pub type Totals = BTreeMap<String, f64>;

/// Returns a series as Prometheus writes it.
pub fn series<'a>(name: &str, labels: impl IntoIterator<Item = (&'a String, &'a String)>) -> String {
    let labels: Vec<_> = labels.into_iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    if labels.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", labels.join(",")) }
}

/// Returns the series of a sample.
pub fn series_of(sample: &Sample) -> String {
    series(&sample.name, &sample.labels)
}

/// Returns the series of a function's invocations.
pub fn invocations(function: &str) -> String {
    format!("lambda_invocations_total{{function={function:?}}}")
}

/// Structures that snapshots can name, by id.
pub type Structures = BTreeMap<StructureId, NamedStructure>;

/// Returns the structure that an item holds, given its id and the item in DynamoDB's JSON.
pub fn structure(id: &str, item: &serde_json::Value) -> Result<NamedStructure> {
    let id = StructureId::parse(id).context("a structure has an id")?;
    Ok(NamedStructure::decode(id, &encoded(item)?)?)
}

fn encoded(item: &serde_json::Value) -> Result<Encoded> {
    let bytes = item["families"]["B"].as_str().context("a snapshot has families")?;
    let format = item["format"]["N"].as_str().context("a snapshot has a format")?;
    Ok(Encoded { format: format.parse()?, bytes: STANDARD.decode(bytes)? })
}

/// Returns the totals of a snapshot, given as the item of a put in DynamoDB's JSON.
pub fn of_snapshot(item: &serde_json::Value, structures: &Structures) -> Result<Totals> {
    let encoded = encoded(item)?;
    let families = match wire::structure_of(&encoded)? {
        None => wire::decode(&encoded)?,
        Some(id) => {
            let structure = structures.get(&id).with_context(|| format!("no one has put the structure {id}"))?;
            wire::decode_with(&encoded, structure)?
        }
    };
    let mut totals = Totals::new();
    for (key, family) in &families {
        for (label_values, one) in &family.series {
            let labels = || key.label_names.iter().zip(label_values);
            match (&key.kind, &one.value) {
                (Kind::Counter, Value::Sum(sum)) => {
                    totals.insert(series(&key.name, labels()), sum.value());
                }
                (Kind::Histogram(_), Value::Histogram { counts, sum }) => {
                    let count = counts.iter().sum::<u64>() as f64;
                    totals.insert(series(&format!("{}_count", key.name), labels()), count);
                    totals.insert(series(&format!("{}_sum", key.name), labels()), sum.value());
                }
                _ => {}
            }
        }
    }
    Ok(totals)
}

/// Adds `other` to `totals`.
pub fn add(totals: &mut Totals, other: &Totals) {
    for (series, value) in other {
        *totals.entry(series.clone()).or_default() += value;
    }
}

/// Returns the largest difference between two ways of adding up the same numbers. It is far less than one, so counts
/// are compared exactly.
pub fn rounding(value: f64) -> f64 {
    value.abs() * 1e-9
}
