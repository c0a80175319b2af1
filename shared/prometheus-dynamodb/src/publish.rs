//! Publishing: an execution environment's registries into its item of the stats table, after the response.
//!
//! ```text
//! layer ─▶ schedule: is it time? ─▶ publisher ─▶ gather, series_cap ─▶ protocol::writer ─▶ table
//! ```

mod environment;
pub mod gather;
pub mod layer;
pub mod publisher;
pub mod schedule;
mod series_cap;
