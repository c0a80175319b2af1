//! What the HTTP functions of sigils have in common.
//!
//! - [`path`]: where the routes are;
//! - [`body`]: a request's JSON, member by member, with all faults at once;
//! - [`error`]: why a request failed, as a status, as a word for programs and metrics, and as a problem (RFC 9457);
//! - [`reply`]: a JSON response.

pub mod body;
pub mod error;
pub mod path;
pub mod reply;
