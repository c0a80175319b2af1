//! Holds the code that every function of the bundle needs.
//!
//! - [`start()`]: logging, as many threads as the number of requests at once requires, and an exit code for wrong settings;
//! - [`aws`]: clients of AWS whose every call has a time budget;
//! - [`deadline`]: one deadline for all calls of an invocation;
//! - [`serve()`]: the Lambda runtime loop that publishes metrics after each response and on SIGTERM, in every mode of Lambda;
//! - [`settings`]: the settings of the stats table, read together with those of a function;
//! - [`http`]: requests and responses;
//! - [`problem`]: error responses.

pub mod aws;
pub mod deadline;
pub mod http;
mod logging;
pub mod problem;
mod serve;
pub mod settings;
mod start;

pub use serve::serve;
pub use start::start;
