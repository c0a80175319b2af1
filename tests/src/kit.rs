//! Starts and ends real parts: databases, functions, servers and proxies.
//!
//! ```text
//! bundle                      everything, in the order in which it must start and end
//!   ├ dynamodb_local ─ tables ─ declared_tables   real tables, as template.yaml declares them
//!   ├ watch ─ functions ─ variables               the functions under cargo-lambda
//!   └ client ─ exposition                         requests to the routes, and the page that a scrape returns
//! prometheus, alertmanager    servers that scrape a bundle and send notifications
//! execution_environment ─ runtime_api ─ lambda_event    one process as Lambda would run it
//!   └ stats                   the counts that it has published
//! hostile_bodies              data that are expensive to read
//! deployed ─ secrets_manager  functions as they are deployed; a stand-in for a service that has no emulator
//! fault_proxy, valve          proxies between a function and the services, which fail or hang
//! process, port, http_server, wait, workspace, credentials, keys   the foundation of all of them
//! ```

pub mod alertmanager;
pub mod bundle;
pub mod client;
pub mod credentials;
pub mod declared_tables;
pub mod deployed;
pub mod dynamodb_local;
pub mod execution_environment;
pub mod exposition;
pub mod fault_proxy;
pub mod functions;
pub mod hostile_bodies;
pub mod http_server;
pub mod keys;
pub mod lambda_event;
pub mod port;
pub mod process;
pub mod prometheus;
pub mod runtime_api;
pub mod secrets_manager;
pub mod stats;
pub mod tables;
mod under_way;
pub mod valve;
pub mod variables;
pub mod wait;
pub mod watch;
pub mod workspace;
