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
//! How to use it is in the crate's README, with an example for each function.

/// The examples of the README, as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

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
