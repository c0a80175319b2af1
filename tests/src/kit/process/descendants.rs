//! Finds the processes that a process has started, directly or indirectly.
//!
//! cargo-lambda opens a new session for each function, so a signal to the group of cargo-lambda does not reach them.

use std::process::Command;

use rustix::process::{Pid, test_kill_process};

/// A process that another process has started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Descendant(Pid);

impl Descendant {
    pub(super) fn pid(self) -> Pid {
        self.0
    }

    /// Returns whether the process still runs. Ids are assigned in turn, so none is reused within the seconds that
    /// stopping takes.
    pub(super) fn is_alive(self) -> bool {
        test_kill_process(self.0).is_ok() && !is_zombie(self.0)
    }
}

/// Returns every process that descends from `root`, without `root` itself.
pub(super) fn of(root: u32) -> Vec<Descendant> {
    let all = parents();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(all.iter().filter(|(_, of)| *of == parent).map(|(process, _)| *process));
        next += 1;
    }
    found.into_iter().skip(1).filter_map(|process| Pid::from_raw(process.cast_signed()).map(Descendant)).collect()
}

/// Returns pairs of process and parent, from `/proc` if there is one, since a small Linux may lack `ps`, and otherwise
/// from `ps`.
fn parents() -> Vec<(u32, u32)> {
    match std::fs::read_dir("/proc/self").and_then(|_| std::fs::read_dir("/proc")) {
        Ok(entries) => entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter_map(|process| Some((process, stat(process)?.1)))
            .collect(),
        Err(_) => {
            let output = Command::new("ps").args(["-A", "-o", "pid=,ppid="]).output();
            let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
            text.lines()
                .filter_map(|line| {
                    let (process, parent) = line.trim().split_once(char::is_whitespace)?;
                    Some((process.parse().ok()?, parent.trim().parse().ok()?))
                })
                .collect()
        }
    }
}

/// Returns whether the process has ended but was not waited for. Such a process stays listed in containers whose first
/// process never waits.
fn is_zombie(process: Pid) -> bool {
    stat(process.as_raw_nonzero().get().cast_unsigned()).is_some_and(|(state, _)| state == 'Z')
}

/// Returns the state and the parent of a process. Both follow the command, which is in parentheses and may contain
/// parentheses.
fn stat(process: u32) -> Option<(char, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}
