//! Exact Prometheus metrics for AWS Lambda functions, through a DynamoDB table.
//!
//! Lambda functions cannot be scraped: an execution environment lives minutes, is frozen between requests, and there are
//! many of them. With this crate each environment keeps ordinary `prometheus` registries, and after a response writes
//! its *cumulative* values to its own item of a table; a stateless function reads the table and renders one page.
//!
//! ```text
//! registries ─gather─▶ families ─wire─▶ snapshot ─protocol─▶ table      in each environment, after the response
//!                                                              │
//!               exposition ◀─page─ families ◀─merge─ snapshots, base    in the metrics function, when it is scraped
//! ```
//!
//! No increment is counted twice, and none that was published is lost: a put carries absolute totals under a growing
//! `seq`, so a retry, a duplicate or a delayed put cannot change what is counted.
//!
//! In a function:
//!
//! ```no_run
//! # use prometheus_dynamodb::{DynamoDbStatsTable, Publisher, Sources, WriterSettings};
//! # async fn run(client: aws_sdk_dynamodb::Client, registry: prometheus::Registry) -> Result<(), Box<dyn std::error::Error>> {
//! let started_at = std::time::Instant::now();
//! let settings = WriterSettings::from_env()?;
//! let table = DynamoDbStatsTable::new(client, &settings.table);
//! let publisher = Publisher::new(table, Sources::new(registry), settings, started_at)?;
//! // lambda_runtime::Runtime::new(handler).layer(publisher.layer()).run().await
//! # let _ = publisher.layer();
//! # Ok(())
//! # }
//! ```
//!
//! In the function that is scraped:
//!
//! ```no_run
//! # use prometheus_dynamodb::{DynamoDbStatsTable, TableSettings, exposition::Format, scrape};
//! # async fn page(client: aws_sdk_dynamodb::Client, accept: &str) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
//! let settings = TableSettings::from_env()?;
//! let table = DynamoDbStatsTable::new(client, &settings.table);
//! let deadline = std::time::Instant::now() + std::time::Duration::from_secs(8);
//! let page = scrape(&table, &settings, deadline).await?;
//! # Ok(
//! Format::of(accept).render(&page)
//! # )
//! # }
//! ```

pub mod exact_sum;
pub mod exposition;
pub mod family;

mod environment;
mod gather;
mod layer;
mod publisher;
mod schedule;
mod series_cap;

pub mod item;
pub mod protocol;
pub mod table;
pub mod wire;

mod merge;
pub mod page;
mod scrape;

mod clock;
mod compact;
mod compact_metrics;
mod registered;
mod settings;

pub use compact::{CompactError, CompactReport, compact};
pub use compact_metrics::CompactMetrics;
pub use family::GaugeMerge;
pub use gather::Sources;
pub use layer::{PublishLayer, PublishService};
pub use page::Page;
pub use publisher::Publisher;
pub use schedule::Pace;
pub use scrape::{ScrapeError, scrape};
pub use settings::{TableSettings, WriterSettings};
pub use table::{DynamoDbStatsTable, MemoryStatsTable};

#[cfg(test)]
mod model;
#[cfg(test)]
mod testing;
