//! What was measured of one subject.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::process::Process;

/// What was measured of one subject.
#[derive(Debug, Default)]
pub struct Measurement {
    /// From the start of the process until it asked for its first event.
    pub starts: Vec<Duration>,
    /// What the first invocation took after that.
    pub first_responses: Vec<Duration>,
    /// What the later ones took.
    pub latencies: Vec<Duration>,
    /// The most memory that was resident, in bytes.
    pub peak_memory: u64,
}

/// The sample that this share of all does not exceed (nearest rank).
pub fn quantile(samples: &[Duration], share: f64) -> Duration {
    let mut sorted = samples.to_vec();
    sorted.sort();
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

/// The most memory that was ever resident, in bytes, as Linux knows it.
pub fn peak_memory(process: &Process) -> Result<u64> {
    let path = format!("/proc/{}/status", process.id());
    let status = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
    let kibibytes: u64 = kibibytes.with_context(|| format!("{path} has no VmHWM"))?.parse()?;
    Ok(kibibytes * 1024)
}

/// The processor time that it has used, in user space and in the kernel, to 10 ms: see `utime` and `stime` in proc(5).
pub fn processor_time(process: &Process) -> Result<Duration> {
    let path = format!("/proc/{}/stat", process.id());
    let stat = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    // The second field, the program's name, is in parentheses and can have blanks in it.
    let fields = stat.rsplit_once(") ").map(|(_, rest)| rest.split(' ').collect::<Vec<_>>()).unwrap_or_default();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok());
    let ticks = ticks(11).zip(ticks(12)).with_context(|| format!("{path} has no times"))?;
    Ok(Duration::from_millis(10 * (ticks.0 + ticks.1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_a_sample() {
        let samples: Vec<Duration> = (1..=11).rev().map(Duration::from_millis).collect();
        let at = |share| quantile(&samples, share).as_millis();
        assert_eq!((at(0.0), at(0.5), at(0.99), at(1.0)), (1, 6, 11, 11));
    }
}
