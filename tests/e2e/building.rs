//! Shows that the commands of DEPLOY.md build what the template deploys, and that a machine without the tools says so before a
//! compiler fails.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use harness::kit::workspace;
use harness::template::cloudformation;
use tempfile::TempDir;

/// Architectures: each one's environment in samconfig.toml, its name in the template, and its machine number in an ELF header.
const ARCHITECTURES: [(&str, &str, u16); 2] = [("default", "arm64", 183), ("x86_64", "x86_64", 62)];

/// Build settings that are fast rather than optimized, since the test only looks at the file's header. The build goes into a
/// target folder for itself, so that it overwrites no artifact.
const FAST: [(&str, &str); 3] = [
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0"),
    ("CARGO_PROFILE_RELEASE_LTO", "off"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
];

#[test]
fn sam_build_and_deploy_use_the_same_architecture() -> Result<()> {
    let (config_env, architecture, machine) = ARCHITECTURES[1];
    let folder = TempDir::new()?;
    let mut sam = sam()?;
    sam.args(["build", "MetricsFunction", "--config-env", config_env, "--build-dir"]).arg(folder.path());
    let output = sam.envs(FAST).env("CARGO_TARGET_DIR", workspace::root().join("target/sam")).output()?;
    ensure!(output.status.success(), "{}", said(&output));
    let said = said(&output);
    ensure!(said.contains(&format!("architecture: {architecture}")), "{said}");
    ensure!(machine_of(&folder.path().join("MetricsFunction/bootstrap"))? == machine, "{said}");
    Ok(())
}

/// Shows that both commands read the same line, so that neither can use another architecture by mistake.
#[test]
fn samconfig_names_each_architecture_once_and_for_all_commands() -> Result<()> {
    let config = std::fs::read_to_string(workspace::root().join("samconfig.toml"))?;
    ensure!(config.matches("Architecture=").count() == ARCHITECTURES.len(), "{config}");
    for (config_env, architecture, _) in ARCHITECTURES {
        let both =
            format!("[{config_env}.global.parameters]\nparameter_overrides = [\"Architecture={architecture}\"]\n");
        ensure!(config.contains(&both), "samconfig.toml has not\n{both}");
    }
    Ok(())
}

#[test]
fn each_missing_tool_is_reported_in_one_line() -> Result<()> {
    let folder = TempDir::new()?;
    let nowhere = folder.path().join("no-such-library").display().to_string();
    // A Rust from a distribution, without that target: there is no rustup.
    stand_in(
        folder.path(),
        "rustc",
        &format!("case $2 in target-libdir) echo {nowhere} ;; *) echo {nowhere} ;; esac"),
    )?;
    stand_in(folder.path(), "cargo", "")?;
    for (_, architecture, _) in ARCHITECTURES {
        let said = said(&can_build(architecture, folder.path())?);
        let lines: Vec<_> = said.lines().collect();
        ensure!(lines.len() == 3, "{said}");
        ensure!(
            lines[0].starts_with(&format!("Rust's standard library for {architecture} is missing: unpack ")),
            "{said}"
        );
        ensure!(lines[1] == "cargo-lambda is missing: pip install cargo-lambda", "{said}");
        ensure!(lines[2] == "Zig is missing, which links for Lambda: pip install ziglang", "{said}");
    }
    stand_in(folder.path(), "rustup", "")?;
    let said_with_rustup = said(&can_build("arm64", folder.path())?);
    ensure!(
        said_with_rustup.contains("is missing: rustup target add aarch64-unknown-linux-gnu\n"),
        "{said_with_rustup}"
    );
    let of_neither = can_build("riscv64", folder.path())?;
    ensure!(said(&of_neither).starts_with("usage: scripts/can-build arm64|x86_64"), "{}", said(&of_neither));
    Ok(())
}

/// Runs the script with a PATH that holds only this folder's files.
fn can_build(architecture: &str, folder: &Path) -> Result<Output> {
    let script = workspace::root().join("scripts/can-build");
    let output = Command::new("/bin/bash").arg(script).arg(architecture).env("PATH", folder).output()?;
    ensure!(!output.status.success(), "{architecture} can be built without anything");
    Ok(output)
}

fn stand_in(folder: &Path, name: &str, script: &str) -> Result<()> {
    let file = folder.join(name);
    std::fs::write(&file, format!("#!/bin/bash\n{script}\n"))?;
    Ok(std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755))?)
}

/// Returns the SAM CLI, with cargo-lambda and Zig on the PATH, as DEPLOY.md asks for.
fn sam() -> Result<Command> {
    let mut sam = cloudformation::python()?;
    let path = std::env::var("PATH").context("PATH is not set")?;
    let (cargo_lambda, zig) = (workspace::tool("cargo-lambda/bin")?, workspace::tool("zig/ziglang")?);
    sam.arg(workspace::tool("checks/bin/sam")?)
        .current_dir(workspace::root())
        .env("PATH", format!("{}:{}:{path}", cargo_lambda.display(), zig.display()));
    Ok(sam)
}

/// Returns the machine number of an ELF file.
fn machine_of(file: &Path) -> Result<u16> {
    let header = std::fs::read(file).with_context(|| file.display().to_string())?;
    ensure!(header.starts_with(b"\x7fELF") && header.len() > 20, "{} is no ELF file", file.display());
    Ok(u16::from_le_bytes([header[18], header[19]]))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}
