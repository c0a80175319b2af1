//! Holds the HTTP code that the functions of sigils share.
//!
//! - [`path`] holds the paths of the routes;
//! - [`body`] reads a request's JSON, one member at a time, and reports all faults at once;
//! - [`error`] turns an error into a status, a word for programs and metrics, and a problem (RFC 9457);
//! - [`reply`] makes a JSON response.

pub mod body;
pub mod error;
pub mod path;
pub mod reply;
