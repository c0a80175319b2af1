//! The function that Prometheus scrapes: `GET /metrics`.
//!
//! event → [`access`]: is it allowed → [`handler`]: scrape, render → response

pub mod access;
pub mod handler;
pub mod settings;
pub mod tokens;
