//! The function that verifies tokens, shows records and publishes the keys.
//!
//! event → [`handler`]: which route, what is asked for → `sigil` → response

pub mod handler;
pub mod settings;
