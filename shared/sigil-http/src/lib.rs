//! HTTP, as far as the functions of sigils share it.
//!
//! - [`path`] has the paths of the routes;
//! - [`body`] reads a request's JSON, member by member, and reports all faults at once;
//! - [`error`] turns errors into a status, a word for programs and metrics, and a problem (RFC 9457);
//! - [`reply`] makes a JSON response.

pub mod body;
pub mod error;
pub mod path;
pub mod reply;
