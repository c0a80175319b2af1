//! The function that encodes data into sigils and revokes them.
//!
//! event → [`handler`]: find the route → [`request`]: parse and check → `sigil` → response

pub mod handler;
pub mod request;
pub mod settings;
