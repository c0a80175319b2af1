//! The processes that a process has started, directly or not.
//!
//! cargo-lambda opens a new session for each function, so a signal to its group does not reach them.

use std::process::Command;

use rustix::process::{Pid, test_kill_process};

/// A process that another one has started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Descendant(Pid);

impl Descendant {
    pub(super) fn pid(self) -> Pid {
        self.0
    }

    /// Whether it still runs. Ids are given out in turn, so one is not used again within the seconds that stopping takes.
    pub(super) fn is_alive(self) -> bool {
        test_kill_process(self.0).is_ok() && !is_zombie(self.0)
    }
}

/// Everything that descends from the process `root`, which is itself not among it.
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

/// Pairs of process and parent: from /proc where there is one, since a small Linux may lack `ps`; elsewhere from `ps`.
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

/// A process that has ended but was not waited for is still listed, in containers whose first process never waits.
fn is_zombie(process: Pid) -> bool {
    stat(process.as_raw_nonzero().get().cast_unsigned()).is_some_and(|(state, _)| state == 'Z')
}

/// State and parent of a process. The fields follow the command, which stands in parentheses and may contain some.
fn stat(process: u32) -> Option<(char, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}
