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

pub mod families;

mod publish;
mod scrape;

mod compact;

mod base;
pub mod protocol;
pub mod table;

mod clock;
mod registered;
mod settings;

pub use base::BaseError;
pub use compact::metrics::CompactMetrics;
pub use compact::{CompactError, CompactReport, compact};
pub use families::{GaugeMerge, exact_sum};
pub use publish::gather::Sources;
pub use publish::layer::{PublishLayer, PublishService};
pub use publish::publisher::Publisher;
pub use scrape::page::Page;
pub use scrape::response::{PageBody, PageError, PageRequest, PageResponse, respond};
pub use scrape::{ScrapeError, exposition, page, scrape};
pub use settings::{
    SettingFault, SettingsError, TableSettings, TableSettingsBuilder, WriterSettings, WriterSettingsBuilder,
};
pub use table::{DynamoDbStatsTable, MemoryStatsTable, item, wire};

#[cfg(test)]
mod model;
#[cfg(test)]
mod testing;
