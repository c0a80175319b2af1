//! Publishing: an execution environment's registries into its item of the stats table, after the response.
//!
//! ```text
//! layer, timer ─▶ schedule, budget: is it time? ─▶ publisher ─▶ content ─▶ protocol::writer ─▶ table
//!
//! content: registries ─gather─▶ ledger ─▶ families, less the baseline ─▶ bytes
//! ```

mod budget;
mod content;
mod counted;
mod elapsed;
mod environment;
pub mod gather;
pub mod layer;
mod ledger;
pub mod publisher;
mod refusal;
pub mod schedule;
