//! What every function of the bundle does the same.
//!
//! - [`start()`]: logging, the runtime, and an exit code for settings that are wrong;
//! - [`aws`]: clients of AWS whose every call has a time budget;
//! - [`serve`]: the Lambda runtime loop that publishes metrics after each response and on SIGTERM;
//! - [`problem`]: error responses.

pub mod aws;
mod logging;
pub mod problem;
mod serve;
mod start;

pub use serve::serve;
pub use start::start;
