//! The function that Prometheus scrapes: `GET /metrics`.
//!
//! event → [`access`]: who may → [`handler`]: scrape, render → response

pub mod access;
pub mod handler;
pub mod settings;
pub mod tokens;
