//! Makes the decisions of the protocol, apart from all input and output.
//!
//! Each step is one conditional write of one item. This module alone says what the conditions are and what follows from
//! their outcome. The adapters translate it for DynamoDB and for memory, and the model check explores it.
//!
//! - [`condition`] decides whether a put of a snapshot may replace the stored item;
//! - [`writer`] decides what a writer does next, from its first put to its fresh start after it was folded;
//! - [`publish`] carries out the writer's steps, one after another;
//! - [`compaction`] decides what happens to a writer that is gone;
//! - [`reading`] decides which of the stored items count in a scrape;
//! - [`structure`] decides how long a structure is kept.

pub mod compaction;
pub mod condition;
pub mod publish;
pub mod reading;
pub mod structure;
pub mod writer;
