//! Runs the whole bundle on a desk and tests it end to end.
//!
//! ```text
//! up, latency, concurrency, dashboards   what the Makefile and a person run
//!   ├ observe                 Prometheus and the dashboards beside it
//!   ├ index                   a page that links all of it
//!   └ bundle                  everything, in the order in which it must start and end
//!       ├ dynamodb_local      ─ tables ─ template      real tables, as template.yaml declares them
//!       ├ watch               ─ functions ─ environment   the functions under cargo-lambda
//!       └ client              ─ exposition              what a user of the bundle sees
//! prometheus, alertmanager    real ones: a bundle is scraped, and somebody is told
//! fleet                       many environments, to which everything happens that can
//!   ├ execution_environment   ─ runtime_api ─ lambda_event   one process as Lambda would run it
//!   └ fault_proxy             what happens to calls on the way to DynamoDB Local
//! soak                        clients for minutes, while everything around the functions fails in turn
//! bench                       what this project costs, beside what a user would take instead
//! secrets_manager             a stand-in for a service that has no emulator
//! expanded, permissions       what template.yaml deploys, and what the functions may do there
//! recorder                    what the functions are seen to do
//! process, port, http_server, wait  what all of them stand on
//! ```
//!
//! The end-to-end tests are in `e2e/`, a module for each promise, in one program.

pub mod bench;
pub mod concurrency;
pub mod dashboards;
pub mod latency;
pub mod soak;
pub mod up;

pub mod bundle;
pub mod index;
pub mod observe;
pub mod self_check;
pub mod settings;

pub mod agreement;
pub mod dynamodb_local;
pub mod expanded;
pub mod secrets_manager;
pub mod tables;
pub mod template;

pub mod environment;
pub mod functions;
pub mod keys;
pub mod watch;

pub mod alertmanager;
pub mod client;
pub mod exposition;
pub mod prometheus;

pub mod deployed;
pub mod execution_environment;
pub mod fault_proxy;
pub mod fleet;
pub mod lambda_event;
pub mod runtime_api;
pub mod stats;
pub mod valve;

pub mod credentials;
pub mod http_server;
pub mod permissions;
pub mod port;
pub mod process;
pub mod recorder;
pub mod wait;
pub mod workspace;
