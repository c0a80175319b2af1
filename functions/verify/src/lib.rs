//! The function that verifies tokens, shows records and publishes the keys.
//!
//! event → [`handler`]: find the route, parse the request → `sigil` → response

pub mod handler;
pub mod settings;
