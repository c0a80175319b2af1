//! The function that encodes data into sigils and revokes them.
//!
//! event → [`handler`]: which route → [`request`]: what is asked for → `sigil` → response

pub mod handler;
pub mod request;
pub mod settings;
