//! The programs that are measured.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::work::{ENCODE, Ledger, Work};
use crate::kit::execution_environment::{ExecutionEnvironment, Function};
use crate::kit::{functions, workspace};

/// One program.
pub(super) struct Subject {
    /// Name of the program in the table.
    pub name: &'static str,
    /// The program.
    pub function: Function,
    /// Work that the program is asked to do.
    pub work: Work,
}

/// Name of the function for Node with its packages as they are installed.
pub(super) const NODE: &str = "encode in Node";
/// Name of the same function with everything in one minified file, which starts faster.
pub(super) const NODE_BUNDLED: &str = "encode in Node, bundled";

impl Subject {
    /// Returns one of the four functions, as it would be deployed.
    pub(super) fn artifact(function: &'static str) -> Result<Self> {
        Self::program(function, function, artifact(function))
    }

    fn program(name: &'static str, function: &'static str, program: PathBuf) -> Result<Self> {
        ensure!(program.exists(), "{} is missing: run 'make bench'", program.display());
        Ok(Self { name, work: Work::of(function)?, function: Function { name: function, program } })
    }
}

fn artifact(function: &str) -> PathBuf {
    workspace::local("bench").join(function).join("bootstrap")
}

/// Returns the four functions as they would be deployed, and the two variants of the function for Node.
pub(super) fn all() -> Result<Vec<Subject>> {
    let node = workspace::root().join("tests/bench/node");
    let mut programs: Vec<(&'static str, &'static str, PathBuf)> =
        vec![(NODE, ENCODE, node.join("bootstrap.mjs")), (NODE_BUNDLED, ENCODE, node.join("dist/bootstrap.mjs"))];
    programs.extend(functions::ALL.map(|function| (function, function, artifact(function))));
    programs.into_iter().map(|(name, function, program)| Subject::program(name, function, program)).collect()
}

/// Sends one event, once the environment waits for one, and checks the response. Returns the time until the response.
pub(super) async fn serve(
    subject: &Subject,
    environment: &ExecutionEnvironment,
    ledger: &mut Ledger,
) -> Result<Duration> {
    let event = subject.work.event(ledger)?;
    let api = environment.api();
    api.asks_for_event().await;
    let started = Instant::now();
    let outcome = api.invoke(&event).await;
    let latency = started.elapsed();
    let checked = outcome.and_then(|outcome| subject.work.check(subject.name, outcome, ledger));
    checked.with_context(|| format!("{} does not serve:\n{}", subject.name, environment.process().log_tail(20)))?;
    Ok(latency)
}
