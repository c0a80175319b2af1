//! Runs the bundle on a developer's machine and tests it end to end.
//!
//! ```text
//! up, soak, latency, concurrency, fleet, bench, dashboards   the commands of the Makefile and of developers: one program
//!   └ template     the content of template.yaml, and the permissions of the functions
//!       └ kit      real parts, started and ended: databases, functions, servers, proxies
//! ```
//!
//! The end-to-end tests are in `e2e/`: one program, with a module for each promise. They use everything here.

pub mod kit;
pub mod template;

pub mod bench;
pub mod concurrency;
pub mod dashboards;
pub mod fleet;
pub mod latency;
pub mod soak;
pub mod up;
