//! A process of the bundle: in its own process group, with its output in a log file, and gone when its owner is.

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

/// How long a process may take to end when it is asked to.
const PATIENCE: Duration = Duration::from_secs(5);

/// A running process. Dropping it ends it and everything that it started.
#[derive(Debug)]
pub struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
    /// Where this run's output starts in the log, which may have been written to before.
    log_start: u64,
    _watchdog: Watchdog,
}

impl Process {
    /// Starts `command` and appends what it prints to `log`.
    ///
    /// The group of its own keeps a terminal's Ctrl-C away from it, so that its owner decides in which order things end.
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

    /// What this process is called in messages.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The process's id, which is its group's id as well.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How the process ended, if it has.
    pub fn exit_status(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// An error with the end of the log if the process has ended.
    pub fn ensure_running(&mut self) -> Result<()> {
        match self.exit_status()? {
            None => Ok(()),
            Some(status) => anyhow::bail!("{} has ended ({status}):\n{}", self.name, self.log_tail(20)),
        }
    }

    /// Sends it a signal, unless it has ended.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        // An id stays taken until its process was waited for, which only `exit_status` does.
        if let (None, Some(process)) = (self.exit_status()?, Pid::from_raw(self.id().cast_signed())) {
            kill_process(process, signal).with_context(|| format!("{} cannot be sent {signal:?}", self.name))?;
        }
        Ok(())
    }

    /// What this run has printed so far.
    pub fn output(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        let start = usize::try_from(self.log_start).unwrap_or(0).min(bytes.len());
        String::from_utf8_lossy(&bytes[start..]).into_owned()
    }

    /// The last lines that this run has printed, under the log's path.
    pub fn log_tail(&self, lines: usize) -> String {
        let output = self.output();
        let all: Vec<&str> = output.lines().collect();
        let tail = &all[all.len().saturating_sub(lines)..];
        format!("  {}:\n    {}", self.log.display(), tail.join("\n    "))
    }

    /// Asks the process to end, waits, and kills what is left, in its own group and in those that it has opened.
    pub fn stop(&mut self) {
        // Taken before the first signal: once the process is gone, nothing tells whose its children were.
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

    /// A failure means that the group is already gone, which is what a signal here is for.
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
