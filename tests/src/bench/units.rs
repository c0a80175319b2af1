//! The part `units`: measures what DynamoDB charges for publishing, beside counters that are incremented in the table.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity};
use tokio::time::MissedTickBehavior;

use super::capacity::{CapacityMeter, Usage};
use super::desk::Desk;
use super::report::{Report, Table};
use super::subject::{Subject, serve};
use super::work::{ENCODE, Ledger, Work};
use crate::kit::exposition::Exposition;
use crate::kit::runtime_api::Outcome;
use crate::kit::tables;

/// Number of requests that an environment serves at each rate.
const REQUESTS: u32 = 1000;

/// Number of requests after which an environment has settled at each rate: its first publishes hold their structure, all
/// later ones name it.
const SETTLED: u32 = REQUESTS / 2;

/// Time between two requests. A rate is relative to the publish interval, which is set accordingly: 10 requests a
/// second with an interval of a second are 50 a second with an interval of 200 ms.
const SPACING: Duration = Duration::from_millis(20);

/// Numbers of requests that an environment gets in one interval, which by default is a second.
const RATES: [u32; 3] = [1, 10, 100];

/// Number of requests with which the counters in the table are measured.
const ADDED: usize = 250;

/// Measures the part.
pub(super) async fn run() -> Result<Report> {
    let desk = Desk::start().await?;
    let [one, ten, hundred] = RATES.map(|rate| publish(&desk, rate));
    let (one, ten, hundred) = tokio::try_join!(one, ten, hundred)?;
    let published = [one, ten, hundred];
    let page = page(&desk).await?;
    let client = desk.dynamodb.client();
    let (per_metric, per_request) = (add_per_metric(&client).await?, add_per_request(&client, &page).await?);

    let columns = RATES.map(|rate| format!("{rate}/s"));
    let mut table = Table::new(
        "Write units per 1,000 requests to encode, by requests a second and environment",
        columns.iter().map(|column| (column.as_str(), "units")),
    );
    table.row("this project, every second (default)", published.iter().map(|published| published.units_per_1000));
    table.row("one `ADD` for each metric that changed", [per_metric; RATES.len()]);
    table.row("one `ADD` for each request, all series in one item", [per_request; RATES.len()]);
    let ratio = |theirs: f64| published.iter().map(move |published| theirs / published.units_per_1000);
    table.row("*one `ADD` for each metric / this project*", ratio(per_metric));
    table.row("*one `ADD` for each request / this project*", ratio(per_request));
    table.row("what encode's own records take", published.iter().map(|published| published.records_per_1000));
    let reached: Vec<String> = published.iter().map(|published| format!("{:.0} %", published.pace * 100.0)).collect();
    table.note(format!(
        "As DynamoDB Local reports them, for {REQUESTS} requests to the release artifact at each rate, the burst of ten with which an \
         environment begins included. Time runs faster: requests are {} ms apart, and `STATS_PUBLISH_INTERVAL` is 1, 10 or 100 times as \
         much, without a budget that bounds publishing. Of this pace {} were reached.",
        SPACING.as_millis(),
        reached.join(", ")
    ));
    table.note(
        "A retried `ADD` counts twice, so neither alternative is exact; and as all environments add to the same items, DynamoDB's limit of \
         1,000 units a second for a partition bounds how many requests there can be.",
    );

    let mut size = Table::new("What one publish of encode puts", [("item", "bytes"), ("write units", "units")]);
    let item = published.last().context("there are three")?;
    size.row("snapshot", [item.bytes as f64, item.units_per_publish]);
    size.note(format!(
        "The item's size by DynamoDB's rules: names and values of its attributes. Units of the publishes after {SETTLED} requests: the \
         first ones, which hold the structure that later ones name, take more."
    ));
    Ok(Report { tables: vec![table, size], ..Default::default() })
}

/// The usage of publishing at one rate.
struct Published {
    units_per_1000: f64,
    /// Units of one publish, once the environment has settled.
    units_per_publish: f64,
    records_per_1000: f64,
    bytes: usize,
    /// Share of the intended rate that was reached.
    pace: f64,
}

async fn publish(desk: &Desk, rate: u32) -> Result<Published> {
    let meter = CapacityMeter::start(&desk.dynamodb.url()).await?;
    let subject = Subject::artifact(ENCODE)?;
    let mut variables = desk.variables.clone();
    variables.set("AWS_ENDPOINT_URL_DYNAMODB", &meter.url());
    variables.set("STATS_PUBLISH_INTERVAL", &format!("{}ms", (SPACING * rate).as_millis()));
    // Requests come faster, but publishes do not take less time: they would soon have used up the usual budget.
    variables.set("STATS_PUBLISH_BUDGET_PERCENT", "100");
    let environment = desk.environment_with(&subject, &variables).await?;
    let mut ledger = Ledger::default();
    let started = Instant::now();
    let mut pace = tokio::time::interval(SPACING);
    // Catching up would put requests closer together, so that fewer of them would be followed by a publish.
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut settled = Usage::default();
    for request in 0..REQUESTS {
        pace.tick().await;
        serve(&subject, &environment, &mut ledger).await?;
        if request == SETTLED {
            environment.api().asks_for_event().await;
            settled = meter.used(tables::STATS, "PutItem");
        }
    }
    environment.api().asks_for_event().await;
    let took = started.elapsed();
    let (stats, records) = (meter.used(tables::STATS, "PutItem"), meter.used(tables::SIGILS, "PutItem"));
    let bytes = largest_snapshot(&desk.dynamodb.client()).await?;
    environment.terminate().await?;
    ensure!(stats.calls > settled.calls, "nothing was published after {SETTLED} requests");
    let per_1000 = |units: f64| units * 1000.0 / f64::from(REQUESTS);
    Ok(Published {
        units_per_1000: per_1000(stats.units),
        units_per_publish: stats.units_per_call_since(settled),
        records_per_1000: per_1000(records.units),
        bytes,
        pace: (SPACING * REQUESTS).as_secs_f64() / took.as_secs_f64(),
    })
}

/// Scrapes the page of everything that was counted.
async fn page(desk: &Desk) -> Result<Exposition> {
    let metrics = Subject::artifact("metrics")?;
    let environment = desk.environment(&metrics).await?;
    let outcome = environment.api().invoke(&Work::Metrics.event(&Ledger::default())?).await?;
    environment.terminate().await?;
    let Outcome::Response(response) = outcome else { anyhow::bail!("a scrape ended with {outcome:?}") };
    Exposition::parse(response["body"].as_str().context("a page has a body")?)
}

/// Returns the size of the largest snapshot in the table, by DynamoDB's rules.
async fn largest_snapshot(client: &Client) -> Result<usize> {
    let mut items = client.scan().table_name(tables::STATS).consistent_read(true).into_paginator().items().send();
    let mut largest = None;
    while let Some(item) = items.next().await {
        let item = item?;
        let key = item.get("sk").and_then(|key| key.as_s().ok());
        if key.is_some_and(|key| key.starts_with("writer#")) {
            largest = largest.max(Some(size(&item)));
        }
    }
    largest.context("nothing was published")
}

/// Returns the size of an item, as
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html> defines it.
fn size(item: &HashMap<String, AttributeValue>) -> usize {
    let of = |value: &AttributeValue| match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::B(bytes) => bytes.as_ref().len(),
        AttributeValue::N(digits) => digits.len().div_ceil(2) + 1,
        _ => 1,
    };
    item.iter().map(|(name, value)| name.len() + of(value)).sum()
}

/// Metrics that a request to encode changes, with the attributes of each.
const CHANGED: [(&str, &[&str]); 4] = [
    ("sigil_encode_total", &["value"]),
    ("sigil_encode_duration_seconds", &["bucket_le_0.005", "sum", "count"]),
    ("sigil_storage_operation_duration_seconds{operation=put,outcome=ok}", &["bucket_le_0.005", "sum", "count"]),
    ("lambda_invocations_total{function=encode}", &["value"]),
];

/// Increments an item for each metric, and returns the units for 1,000 requests.
async fn add_per_metric(client: &Client) -> Result<f64> {
    let mut units = 0.0;
    for _ in 0..ADDED {
        for (metric, attributes) in CHANGED {
            units += add(client, metric, attributes).await?;
        }
    }
    Ok(units * 1000.0 / ADDED as f64)
}

/// Increments one item that has all series of the page, and returns the units for 1,000 requests.
async fn add_per_request(client: &Client, page: &Exposition) -> Result<f64> {
    let series: Vec<String> = page
        .samples()
        .iter()
        .filter(|sample| !sample.name.starts_with("prometheus_dynamodb_"))
        .map(|sample| {
            let labels: Vec<String> = sample.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("{}{{{}}}", sample.name, labels.join(","))
        })
        .collect();
    ensure!(series.len() > 100, "encode has more than {} series", series.len());
    // All series exist from the start, as known label sets start at 0.
    for series in series.chunks(100) {
        add(client, "all", &series.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    }
    let changed: Vec<&str> = series.iter().take(8).map(String::as_str).collect();
    let mut units = 0.0;
    for _ in 0..ADDED {
        units += add(client, "all", &changed).await?;
    }
    Ok(units * 1000.0 / ADDED as f64)
}

/// Adds 1 to each of these attributes, and returns the units that the update consumed.
async fn add(client: &Client, item: &str, attributes: &[&str]) -> Result<f64> {
    let mut update = client
        .update_item()
        .table_name(tables::STATS)
        .key("pk", AttributeValue::S("counters".to_owned()))
        .key("sk", AttributeValue::S(item.to_owned()))
        .expression_attribute_values(":one", AttributeValue::N("1".to_owned()))
        .return_consumed_capacity(ReturnConsumedCapacity::Total);
    let mut added = Vec::new();
    for (index, attribute) in attributes.iter().enumerate() {
        update = update.expression_attribute_names(format!("#{index}"), *attribute);
        added.push(format!("#{index} :one"));
    }
    let output = update.update_expression(format!("ADD {}", added.join(", "))).send().await?;
    output.consumed_capacity.and_then(|capacity| capacity.capacity_units).context("no capacity was reported")
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::primitives::Blob;
    use tempfile::TempDir;

    use super::*;
    use crate::kit::dynamodb_local::DynamoDbLocal;

    #[tokio::test]
    async fn the_largest_snapshot_is_found_on_any_page() {
        let folder = TempDir::new().unwrap();
        let dynamodb = DynamoDbLocal::start_in_memory(&folder.path().join("dynamodb.log")).await.unwrap();
        let client = dynamodb.client();
        tables::create(&client).await.unwrap();
        // A page of a scan holds 1 MB: the largest snapshot is on the second, and a structure is no snapshot.
        let items = [("structure#1", 390_000), ("writer#1", 350_000), ("writer#2", 350_000), ("writer#3", 380_000)];
        for (key, bytes) in items {
            let put = client.put_item().table_name(tables::STATS).item("pk", AttributeValue::S("shard#0".into()));
            let put = put.item("sk", AttributeValue::S(key.into()));
            put.item("families", AttributeValue::B(Blob::new(vec![0; bytes]))).send().await.unwrap();
        }
        let names_and_keys = "pk".len() + "shard#0".len() + "sk".len() + "writer#3".len() + "families".len();
        assert_eq!(largest_snapshot(&client).await.unwrap(), names_and_keys + 380_000);
    }
}
