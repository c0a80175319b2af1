//! Runs a process of the bundle: in its own process group, with its output in a log file. It ends with its owner.

mod descendants;
mod watchdog;

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use watchdog::Watchdog;

/// Longest time that a process may take to end once it is asked to.
const PATIENCE: Duration = Duration::from_secs(5);

/// A running process. Dropping it ends the process and everything that the process has started.
#[derive(Debug)]
pub struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
    /// Offset in the log at which this run's output starts; the log may hold output of earlier runs.
    log_start: u64,
    _watchdog: Watchdog,
}

impl Process {
    /// Starts `command` and appends its output to `log`.
    ///
    /// The process gets its own group, which keeps a terminal's Ctrl-C away from it, so that the owner decides in which
    /// order things end.
    pub fn spawn(name: &'static str, mut command: Command, log: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(log).with_context(|| log.display().to_string())?;
        let log_start = file.metadata()?.len();
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .process_group(0)
            .spawn()
            .with_context(|| format!("{name} could not be started: {:?}", command.get_program()))?;
        let watchdog = Watchdog::over(child.id());
        let mut process = Self { name, child, log: log.to_owned(), log_start, _watchdog: watchdog? };
        process.ensure_running()?;
        Ok(process)
    }

    /// Returns the name of the process in messages.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the process's id, which is also its group's id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the exit status of the process if it has ended.
    pub fn exit_status(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Returns an error with the end of the log if the process has ended.
    pub fn ensure_running(&mut self) -> Result<()> {
        match self.exit_status()? {
            None => Ok(()),
            Some(status) => anyhow::bail!("{} has ended ({status}):\n{}", self.name, self.log_tail(20)),
        }
    }

    /// Sends the process a signal, unless it has ended.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        // The id stays taken until the process has been waited for, and from then on `exit_status` returns its status.
        if let (None, Some(process)) = (self.exit_status()?, Pid::from_raw(self.id().cast_signed())) {
            kill_process(process, signal).with_context(|| format!("{} cannot be sent {signal:?}", self.name))?;
        }
        Ok(())
    }

    /// Returns everything that this run has printed so far.
    pub fn output(&self) -> Result<String> {
        let bytes = std::fs::read(&self.log).with_context(|| self.log.display().to_string())?;
        let start = usize::try_from(self.log_start)?.min(bytes.len());
        Ok(String::from_utf8_lossy(&bytes[start..]).into_owned())
    }

    /// Returns the last lines that this run has printed, under the log's path.
    pub fn log_tail(&self, lines: usize) -> String {
        let output = self.output().unwrap_or_else(|error| format!("{error:#}"));
        let all: Vec<&str> = output.lines().collect();
        let tail = &all[all.len().saturating_sub(lines)..];
        format!("  {}:\n    {}", self.log.display(), tail.join("\n    "))
    }

    /// Asks the process to end, waits, and kills everything that is left, in its own group and in groups that it has
    /// opened.
    pub fn stop(&mut self) {
        // Listed before the first signal: once the process is gone, nothing tells which processes were its children.
        let descendants = descendants::of(self.id());
        let deadline = Instant::now() + PATIENCE;
        let exited = |child: &mut Child| !matches!(child.try_wait(), Ok(None));

        if !exited(&mut self.child) {
            self.signal_group(Signal::TERM);
        }
        while !exited(&mut self.child) || descendants.iter().any(|process| process.is_alive()) {
            if Instant::now() >= deadline {
                self.signal_group(Signal::KILL);
                descendants.iter().filter(|process| process.is_alive()).for_each(|process| {
                    let _ = kill_process(process.pid(), Signal::KILL);
                });
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends a signal to the process's group. A failure means that the group is already gone, as intended.
    fn signal_group(&self, signal: Signal) {
        if let Some(group) = Pid::from_raw(self.child.id().cast_signed()) {
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}
