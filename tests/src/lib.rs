//! Runs the whole bundle on a desk and tests it end to end.
//!
//! ```text
//! up, soak, dashboards        what the Makefile runs
//!   ├ observe                 Prometheus and the dashboards beside it
//!   └ bundle                  everything, in the order in which it must start and end
//!       ├ dynamodb_local      ─ tables ─ template      real tables, as template.yaml declares them
//!       ├ watch               ─ functions ─ environment   the functions under cargo-lambda
//!       └ client              ─ exposition              what a user of the bundle sees
//! prometheus                  a real one, which scrapes a bundle
//! faults                      a DynamoDB that can be made slow or made to fail
//! process, port, wait         what all of them stand on
//! ```
//!
//! The end-to-end tests are in `e2e/`, one file for each promise.

pub mod dashboards;
pub mod soak;
pub mod up;

pub mod bundle;
pub mod observe;
pub mod self_check;
pub mod settings;

pub mod dynamodb_local;
pub mod tables;
pub mod template;

pub mod environment;
pub mod functions;
pub mod keys;
pub mod watch;

pub mod client;
pub mod exposition;
pub mod faults;
pub mod prometheus;

pub mod credentials;
pub mod port;
pub mod process;
pub mod wait;
pub mod workspace;
