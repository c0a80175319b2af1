//! Runs an alternative to this project in a separate process, which prepares what it reads, and then scrapes on
//! request.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::population::Shape;
use crate::kit::workspace;

/// Longest time that a peer may take for one answer. Writing the files of 5,000 processes takes half a minute on a busy
/// machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// A running peer.
pub(super) struct Peer {
    /// Name of the peer in the tables.
    pub name: &'static str,
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
    _child: Child,
    _folder: TempDir,
}

/// Name of Python's multi-process collector in the tables.
pub(super) const PYTHON: &str = "Python's multi-process collector";
/// Name of the registry that merges the workers of Node's cluster module, in the tables.
pub(super) const PROM_CLIENT: &str = "prom-client's AggregatorRegistry";

impl Peer {
    /// Starts Python's client, with the files of `processes` processes.
    pub(super) async fn python(processes: usize, shape: Shape) -> Result<Self> {
        let folder = TempDir::new_in(scratch()?)?;
        let mut command = Command::new("python3");
        command.env("PYTHONPATH", workspace::tool("bench")?);
        command.arg(workspace::root().join("tests/bench/python/multiprocess.py")).arg(folder.path());
        Self::start(PYTHON, command, folder, processes, shape).await
    }

    /// Starts Node's client, with the metrics of `workers` workers.
    pub(super) async fn prom_client(workers: usize, shape: Shape) -> Result<Self> {
        let mut command = Command::new("node");
        // By default the heap is limited to 2 GB or less; the metrics of 5,000 workers need more.
        command.arg("--max-old-space-size=6144").arg(workspace::root().join("tests/bench/node/aggregate.mjs"));
        Self::start(PROM_CLIENT, command, TempDir::new_in(scratch()?)?, workers, shape).await
    }

    async fn start(
        name: &'static str,
        mut command: Command,
        folder: TempDir,
        environments: usize,
        shape: Shape,
    ) -> Result<Self> {
        command.arg(environments.to_string()).args(shape.arguments());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("{name} could not be started"))?;
        let stdin = child.stdin.take().context("its input is a pipe")?;
        let stdout = BufReader::new(child.stdout.take().context("its output is a pipe")?).lines();
        let mut peer = Self { name, stdin, stdout, _child: child, _folder: folder };
        let ready = peer.line().await?;
        ensure!(ready == "ready", "{name} says {ready:?}");
        Ok(peer)
    }

    /// Lets the peer scrape once. Returns the processor time of the scrape, in milliseconds.
    pub(super) async fn scrape(&mut self) -> Result<f64> {
        let answer = self.ask("scrape").await?;
        answer["milliseconds"].as_f64().with_context(|| format!("{} reported no time", self.name))
    }

    /// Returns the peer's page.
    pub(super) async fn page(&mut self) -> Result<String> {
        let answer = self.ask("page").await?;
        Ok(answer["page"].as_str().with_context(|| format!("{} has no page", self.name))?.to_owned())
    }

    async fn ask(&mut self, question: &str) -> Result<Value> {
        self.stdin.write_all(format!("{question}\n").as_bytes()).await?;
        Ok(serde_json::from_str(&self.line().await?)?)
    }

    async fn line(&mut self) -> Result<String> {
        let line = tokio::time::timeout(PATIENCE, self.stdout.next_line()).await;
        let line = line.with_context(|| format!("{} did not answer within {PATIENCE:?}", self.name))??;
        line.with_context(|| format!("{} has ended", self.name))
    }
}

/// Returns the folder of the peers' files, which is on the same disk as the project.
fn scratch() -> Result<impl AsRef<Path>> {
    let folder = workspace::local("bench-files");
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder)
}
