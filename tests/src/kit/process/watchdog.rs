//! Ends a process group when its owner dies without having had a chance to.
//!
//! A destructor does not run on SIGKILL, and the kernel's own remedy (a parent-death signal) must be asked for between
//! fork and exec, which is unsafe code. A shell that waits for the end of a pipe does the same on every Unix: the pipe's
//! other end closes when its owner is gone, however that came about.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

/// `read` returns at the pipe's end. A group that is gone by then makes `kill` fail, and nothing else happens. The long
/// form of the signal is the only one that every shell takes together with a group.
const SCRIPT: &str = "read -r _; kill -s TERM -- -$1 && sleep 3 && kill -s KILL -- -$1";

/// A shell that outlives its owner by as long as it takes to end the owner's process.
#[derive(Debug)]
pub(super) struct Watchdog {
    shell: Child,
}

impl Watchdog {
    pub(super) fn over(group: u32) -> Result<Self> {
        let shell = Command::new("sh")
            .args(["-c", SCRIPT, "watchdog", &group.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("sh could not be started")?;
        Ok(Self { shell })
    }
}

impl Drop for Watchdog {
    /// The process has been ended by then. The shell must not see the pipe's end: its group's id may belong to another
    /// by the time it would act.
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}
