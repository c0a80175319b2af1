//! Publishes an execution environment's registries as its item of the stats table, after the response.
//!
//! ```text
//! layer, timer ─▶ schedule, budget: is it time? ─▶ publisher ─▶ content ─▶ protocol::writer ─▶ table
//!
//! content: registries ─gather─▶ ledger ─▶ structure and values, less the baseline ─encoder─▶ bytes
//! ```

mod budget;
mod content;
mod counted;
pub(crate) mod encoder;
mod environment;
pub(crate) mod error;
mod failure_log;
pub(crate) mod gather;
mod gathered;
mod gauges;
pub(crate) mod layer;
mod ledger;
pub(crate) mod process;
pub(crate) mod publisher;
mod refusal;
mod sample;
pub(crate) mod schedule;
mod value;
