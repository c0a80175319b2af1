//! Ends a process group if its owner dies without a chance to do so.
//!
//! A destructor does not run on SIGKILL, and the kernel's own remedy (a parent-death signal) must be requested between
//! fork and exec, which is unsafe code. A shell that waits for the end of a pipe does the same on every Unix: the
//! pipe's other end closes when the owner is gone, for whatever reason.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

/// Script of the shell. `read` returns at the pipe's end. If the group is already gone, `kill` fails and the script
/// ends. The long form of the signal is the only one that every shell accepts together with a group.
const SCRIPT: &str = "read -r _; kill -s TERM -- -$1 && sleep 3 && kill -s KILL -- -$1";

/// A shell that outlives its owner for as long as it takes to end the owner's process.
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
    /// Kills the shell. The process has ended by now, and the shell must not see the pipe's end: the group's id may
    /// belong to another group by the time the shell would act.
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}
