#![doc = include_str!("../README.md")]
//!
//! # How it works
//!
//! ```text
//! publish/   registries ─gather─▶ ledger ─▶ families ─▶ snapshot      in each environment, after the response
//! protocol/  decides under which id and condition it is put
//! table/     ─wire─▶ items of DynamoDB ─▶
//! compact/   adds up the snapshots of environments that are gone, in one base for each shard
//! scrape/    snapshots, base ─merge─▶ page ─exposition─▶ response     in the function that is scraped
//! ```
//!
//! A put carries *cumulative* values under a growing `seq`, so a retry, a duplicate or a delayed put cannot change what is
//! counted.

mod base;
mod clock;
mod compact;
mod elapsed;
mod families;
mod protocol;
mod publish;
mod registered;
mod run;
mod scrape;
mod settings;
mod structures;
mod table;

pub use compact::{CompactError, CompactReport, Compactor};
pub use families::GaugeMerge;
pub use publish::error::PublishError;
pub use publish::gather::Sources;
pub use publish::layer::{PublishFuture, PublishLayer, PublishService};
pub use publish::publisher::Publisher;
pub use run::{run, run_compactor, run_scraper};
pub use scrape::response::{PageBody, PageError, PageRequest, PageResponse, Scraper};
pub use settings::{
    SettingFault, SettingsError, TableSettings, TableSettingsBuilder, WriterSettings, WriterSettingsBuilder,
};
pub use table::{CompactStats, DynamoDbStatsTable, MemoryStatsTable, PublishStats, ReadStats};

/// Crates whose types appear in this crate's signatures, in the versions that it uses.
pub use {aws_sdk_dynamodb, lambda_runtime, prometheus, tower};

/// Items that the tests, the fuzzer and the benchmarks use. They may change in any version.
#[doc(hidden)]
pub mod internals {
    pub use crate::base::BaseError;
    pub use crate::compact::{Fault, compact};
    pub use crate::scrape::{ScrapeError, scrape};
    pub use crate::structures::{StructureError, Structures};

    pub mod exposition {
        pub use crate::scrape::exposition::*;
    }

    pub mod families {
        pub use crate::families::*;
    }

    pub mod page {
        pub use crate::scrape::page::*;
    }

    pub mod protocol {
        pub use crate::protocol::*;
    }

    pub mod table {
        pub use crate::table::*;
    }

    pub use crate::table::{item, wire};

    /// Gathers all that a publish of this publisher gathers, its own metrics among them, and does nothing with it.
    pub fn gather_alone<T: crate::table::PublishStats>(publisher: &crate::Publisher<T>) {
        drop(publisher.gathered().expect("no collector panics"));
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod testing;
