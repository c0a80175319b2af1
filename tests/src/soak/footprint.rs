//! Measures what processes hold: memory and file descriptors.

use anyhow::{Context, Result};

use crate::kit::process::Process;

/// Allowed growth of the memory, in bytes: an allocator keeps some of what it was given, but a leak goes on.
const MEMORY_SLACK: u64 = 8 * 1024 * 1024;
/// Allowed growth of the descriptors: clients keep connections for later.
const DESCRIPTORS_SLACK: usize = 8;

/// The memory and the file descriptors of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// Resident memory, in bytes: `VmRSS` in proc_pid_status(5).
    pub memory: u64,
    /// Number of open file descriptors.
    pub descriptors: usize,
}

impl Footprint {
    /// Measures a process.
    pub fn of(process: &Process) -> Result<Self> {
        let folder = format!("/proc/{}", process.id());
        let status = std::fs::read_to_string(format!("{folder}/status")).with_context(|| folder.clone())?;
        let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
        let kibibytes: u64 = kibibytes.with_context(|| format!("{folder} has no VmRSS"))?.trim().parse()?;
        Ok(Self { memory: kibibytes * 1024, descriptors: std::fs::read_dir(format!("{folder}/fd"))?.count() })
    }

    /// Returns whether this is no more than `before`, apart from the allowed growth.
    pub fn is_flat_since(self, before: Self) -> bool {
        self.memory <= before.memory + MEMORY_SLACK && self.descriptors <= before.descriptors + DESCRIPTORS_SLACK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_of_either_kind_is_seen() {
        let before = Footprint { memory: 20_000_000, descriptors: 12 };
        assert!(Footprint { memory: 21_000_000, descriptors: 14 }.is_flat_since(before));
        assert!(!Footprint { memory: 30_000_000, ..before }.is_flat_since(before));
        assert!(!Footprint { descriptors: 30, ..before }.is_flat_since(before));
    }
}
