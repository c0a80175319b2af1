//! Reads secrets at run time, keeps them, and renews them without a deployment.
//!
//! ```text
//! environment ─source─▶ a literal value, or the ARN of a secret
//!                                   └─store─▶ Secrets Manager ─secret─▶ the value of this moment
//! ```
//!
//! - [`source`] reads from environment variables where a secret is: in the variable itself, or in Secrets Manager;
//! - [`store`] reads Secrets Manager;
//! - [`secret`] keeps a value and renews it. A failed renewal never fails a request: the last good value stays in use.

mod arn;
mod due_time;
mod error;
pub mod secret;
pub mod source;
pub mod store;

pub use arn::SecretArn;
pub use error::SecretError;
pub use secret::{Reading, Secret};
pub use source::Source;
pub use store::SecretStore;
