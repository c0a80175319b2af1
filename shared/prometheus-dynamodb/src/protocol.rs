//! The protocol's decisions, apart from all input and output.
//!
//! Each step is one conditional write of one item. What the conditions are, and what follows from their outcome, is here
//! and in no other place: the adapters translate it for DynamoDB and for memory, and the model check explores it.
//!
//! - [`condition`]: when a put of a snapshot may replace what is stored;
//! - [`writer`]: what a writer does next, from its first put to its fresh start after it was folded;
//! - [`publish`]: the writer's steps, one after another;
//! - [`compaction`]: what becomes of a writer that is gone;
//! - [`reading`]: which of the stored items count in a scrape.

pub mod compaction;
pub mod condition;
pub mod publish;
pub mod reading;
pub mod writer;
