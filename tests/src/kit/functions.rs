//! Builds the programs of the functions.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use tokio::process::Command;

use crate::kit::workspace;

/// Packages under `functions/`, each with one program of the same name.
pub const ALL: [&str; 4] = ["encode", "verify", "gc", "metrics"];

/// Builds the functions and returns their programs.
///
/// `cargo lambda watch` runs `cargo run --bin <function>` in the workspace's root. Cargo chooses the dependencies'
/// features by the *packages* that are selected, and without `--package` these are all of the workspace. A build with
/// the same selection leaves nothing for `cargo lambda watch` to do; `--package encode` would build many dependencies a
/// second time.
pub async fn build() -> Result<BTreeMap<String, PathBuf>> {
    built(&ALL.map(|function| ["--bin", function]).concat()).await
}

/// Builds the functions with the release's optimization, except for those settings that take minutes to link, and
/// returns their programs.
pub async fn build_optimised() -> Result<BTreeMap<String, PathBuf>> {
    let packages = ALL.map(|function| ["--package", function]).concat();
    built(&[["--profile", "soak", "--bins"].as_slice(), &packages].concat()).await
}

/// Builds the examples of all crates and returns their programs.
pub async fn build_examples() -> Result<BTreeMap<String, PathBuf>> {
    build_with(&["--workspace", "--examples"]).await
}

async fn built(arguments: &[&str]) -> Result<BTreeMap<String, PathBuf>> {
    let programs = build_with(arguments).await?;
    ALL.iter().try_for_each(|function| {
        ensure!(programs.contains_key(*function), "cargo built no program called {function}");
        Ok(())
    })?;
    Ok(programs)
}

/// Builds `jobs`, a function for tests, and returns its program.
pub async fn build_jobs() -> Result<PathBuf> {
    const NAME: &str = "jobs";
    build_with(&["--bin", NAME]).await?.remove(NAME).context("cargo built no program called jobs")
}

/// Runs `cargo build` with these arguments, and returns the programs.
async fn build_with(arguments: &[&str]) -> Result<BTreeMap<String, PathBuf>> {
    let mut command = Command::new("cargo");
    command.current_dir(workspace::root()).args(["build", "--message-format=json-render-diagnostics"]).args(arguments);
    let output =
        command.stderr(Stdio::inherit()).kill_on_drop(true).output().await.context("cargo could not be started")?;
    ensure!(output.status.success(), "the functions could not be built");

    let messages = String::from_utf8(output.stdout)?;
    let artifacts = messages.lines().filter_map(|line| serde_json::from_str::<Artifact>(line).ok());
    Ok(artifacts.filter_map(|artifact| Some((artifact.target.name, artifact.executable?))).collect())
}

/// The part of Cargo's messages that holds a program's path.
#[derive(Deserialize)]
struct Artifact {
    target: Target,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}
