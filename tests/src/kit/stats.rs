//! Keeps a separate stats table for one function, and reads counts from its page.

use std::time::{Duration, Instant};

use anyhow::Result;
use aws_sdk_dynamodb::Client;
use prometheus_dynamodb::internals::page::PageValue;
use prometheus_dynamodb::internals::{Structures, scrape};
use prometheus_dynamodb::{DynamoDbStatsTable, TableSettings};

use crate::kit::tables;
use crate::kit::variables::{DEFAULT_METRICS_TOKEN, FunctionVariables};
use crate::kit::wait::{self, Setback, not_yet};

/// A stats table in DynamoDB Local.
#[derive(Debug)]
pub struct Stats {
    client: Client,
    name: String,
}

impl Stats {
    /// Returns the table of this name, which need not exist yet.
    pub fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }

    /// Returns the table's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Creates the table.
    pub async fn create(&self) -> Result<()> {
        tables::create_stats(&self.client, &self.name).await
    }

    /// Returns the variables of a function that publishes to this table, with `settings` added.
    pub fn variables(&self, dynamodb_url: &str, settings: &[(&str, &str)]) -> FunctionVariables {
        let mut variables =
            FunctionVariables::new(dynamodb_url, &sigil::keys::generate("stats"), DEFAULT_METRICS_TOKEN);
        variables.set("STATS_TABLE", &self.name);
        settings.iter().for_each(|(variable, value)| variables.set(variable, value));
        variables
    }

    /// Reads the table. Returns the sum of a counter's series on its page, or the number of a histogram's observations.
    pub async fn counted(&self, metric: &str) -> Result<f64> {
        let settings = TableSettings::builder(&self.name).build()?;
        let table = DynamoDbStatsTable::new(self.client.clone(), &self.name);
        let page = scrape(&table, &Structures::default(), &settings, Instant::now() + Duration::from_secs(30)).await?;
        let family = page.families.iter().find(|family| family.name == metric);
        let number = |value: &PageValue| match value {
            PageValue::Number(number) => *number,
            PageValue::Histogram { count, .. } => *count as f64,
        };
        Ok(family.map_or(0.0, |family| family.series.iter().map(|series| number(&series.value)).sum()))
    }

    /// Waits until [`counted`](Self::counted) returns this number. It must never return more.
    pub async fn until_counted(&self, metric: &str, number: f64, patience: Duration) -> Result<()> {
        wait::until(&format!("{metric} is {number}"), patience, async || match self.counted(metric).await? {
            found if found == number => Ok(()),
            found if found > number => Err(Setback::Final(anyhow::anyhow!("it is {found}"))),
            found => not_yet(format!("it is {found}")),
        })
        .await
    }
}
