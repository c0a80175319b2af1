//! What `make up` does apart from running: it ends what it started, and says in one line what it lacks.

use std::fs::Permissions;
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use local_bundle::wait::{self, Setback, not_yet};
use local_bundle::{port, workspace};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(120);
/// How long everything may take to be gone after its owner was told to end, or was killed.
const ENDING: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_leaves_nothing_behind_and_a_second_start_works() -> Result<()> {
    let mut up = Up::start()?;
    for signal in [Signal::INT, Signal::TERM] {
        up.is_up().await?;
        ensure!(up.signal_and_wait(signal).await?.success(), "{}", up.output()?);
        ensure!(up.processes().is_empty(), "{signal:?} left {:?}", up.processes());
        up = up.again()?;
    }
    up.is_up().await?;
    up.delete_logs()
}

/// A destructor does not run then: this is what the watchdogs are for.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_outlives_a_killed_owner() -> Result<()> {
    let mut up = Up::start()?;
    up.is_up().await?;
    up.signal_and_wait(Signal::KILL).await?;
    wait::until("everything is gone", ENDING, async || match up.processes() {
        left if left.is_empty() => Ok(()),
        left => not_yet(format!("{left:?} are left")),
    })
    .await?;
    up.delete_logs()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_is_said_by_name() -> Result<()> {
    for variable in ["PORT", "DYNAMODB_PORT"] {
        let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let taken = holder.local_addr()?.port();
        let mut command = Command::new(env!("CARGO_BIN_EXE_local-bundle"));
        command.arg("up").env("PORT", port::free()?.to_string()).env("DYNAMODB_PORT", port::free()?.to_string());
        let output = command.env(variable, taken.to_string()).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
        ensure!(said.starts_with(&format!("{variable} {taken} is taken")), "{said}");
        ensure!(said.trim_end().lines().count() == 1, "{said}");
    }
    Ok(())
}

#[test]
fn a_missing_tool_is_one_clear_line() -> Result<()> {
    for (missing, said) in [
        ("java", "Java 17 or later is missing: "),
        ("node", "Node 18 or later with npm is missing: "),
        ("python3", "Python 3.8 or later with pip is missing: "),
    ] {
        let output = fetch_tools_without(&[missing])?;
        let error = String::from_utf8(output.stderr)?;
        ensure!(!output.status.success(), "without {missing} it went well");
        ensure!(error.starts_with(said) && error.trim_end().lines().count() == 1, "without {missing}: {error}");
    }
    let all = String::from_utf8(fetch_tools_without(&["java", "node", "python3", "cargo"])?.stderr)?;
    ensure!(all.trim_end().lines().count() == 4, "{all}");
    Ok(())
}

/// Runs the script with a PATH on which there is everything that it uses but these.
fn fetch_tools_without(missing: &[&str]) -> Result<Output> {
    const USED: [&str; 17] = [
        "bash", "cargo", "cat", "cc", "cksum", "cp", "dirname", "env", "java", "make", "mkdir", "mv", "node", "npm",
        "python3", "rm", "sed",
    ];
    let folder = TempDir::new()?;
    for name in USED.iter().filter(|name| !missing.contains(name)) {
        write_wrapper(&folder.path().join(name), &which(name)?)?;
    }
    let script = workspace::root().join("scripts/fetch-tools");
    Ok(Command::new(which("bash")?).arg(script).arg("up").env("PATH", folder.path()).output()?)
}

/// Not a link: version managers put scripts on the PATH, which look for each other there.
fn write_wrapper(file: &Path, program: &Path) -> Result<()> {
    let path = std::env::var("PATH")?;
    std::fs::write(file, format!("#!/bin/sh\nPATH='{path}' exec '{}' \"$@\"\n", program.display()))?;
    Ok(std::fs::set_permissions(file, Permissions::from_mode(0o755))?)
}

fn which(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").context("PATH is not set")?;
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
    found.with_context(|| format!("{name} is needed for this test"))
}

/// A `local-bundle up` on ports of its own, with a mark in the environment that everything it starts inherits.
struct Up {
    process: Child,
    mark: String,
    ports: [u16; 2],
}

impl Up {
    fn start() -> Result<Self> {
        Self::on([port::free()?, port::free()?])
    }

    /// Another one on the same ports, in its place.
    fn again(&mut self) -> Result<Self> {
        Self::on(self.ports)
    }

    fn on(ports: [u16; 2]) -> Result<Self> {
        let mark = format!("{}-{}", std::process::id(), ports[0]);
        let process = Command::new(env!("CARGO_BIN_EXE_local-bundle"))
            .arg("up")
            .env("PORT", ports[0].to_string())
            .env("DYNAMODB_PORT", ports[1].to_string())
            .env("MAKE_UP_TEST", &mark)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        Ok(Self { process, mark, ports })
    }

    /// Waits until it has said so.
    async fn is_up(&mut self) -> Result<()> {
        let mut stdout = self.process.stdout.take().context("it was taken")?;
        let said = tokio::task::spawn_blocking(move || {
            let (mut said, mut chunk) = (String::new(), [0; 4096]);
            loop {
                match stdout.read(&mut chunk)? {
                    0 => anyhow::bail!("it ended after saying: {said}"),
                    length => said.push_str(&String::from_utf8_lossy(&chunk[..length])),
                }
                if said.contains("The bundle is up") && said.contains("/metrics\n") {
                    return Ok((said, stdout));
                }
            }
        });
        let (said, stdout) = tokio::time::timeout(PATIENCE, said).await???;
        self.process.stdout = Some(stdout);
        ensure!(!said.contains('✗'), "{said}");
        ensure!(!self.processes().is_empty() || !Path::new("/proc/self").exists(), "the mark finds nothing");
        Ok(())
    }

    async fn signal_and_wait(&mut self, signal: Signal) -> Result<std::process::ExitStatus> {
        let process = Pid::from_child(&self.process);
        kill_process(process, signal)?;
        wait::until("it ends", ENDING, async || {
            match self.process.try_wait().map_err(|error| Setback::Final(error.into()))? {
                Some(status) => Ok(status),
                None => not_yet("it runs"),
            }
        })
        .await
    }

    fn output(&mut self) -> Result<String> {
        let mut said = String::new();
        if let Some(mut stderr) = self.process.stderr.take() {
            stderr.read_to_string(&mut said)?;
        }
        Ok(said)
    }

    /// At the end of a test that went well; one that did not leaves them to be read.
    fn delete_logs(&self) -> Result<()> {
        Ok(std::fs::remove_dir_all(workspace::local(&format!("logs/up-{}", self.ports[0])))?)
    }

    /// The commands of every process that has the mark. Only Linux lets one look; elsewhere the list is empty, and a
    /// process that is left shows as a taken port at the next start.
    fn processes(&self) -> Vec<String> {
        let mark = format!("MAKE_UP_TEST={}", self.mark);
        let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
        entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|process| {
                let environment = std::fs::read(process.join("environ")).unwrap_or_default();
                environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
            })
            .filter_map(|process| std::fs::read_to_string(process.join("cmdline")).ok())
            .map(|command| command.replace('\0', " "))
            .collect()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
