//! Clocks and samples.
//!
//! To compare the work of programs, their time on a processor is measured: unlike wall time, it does not grow with the
//! work of other processes.

use std::time::Duration;

use anyhow::{Context, Result};
use rustix::time::{ClockId, clock_gettime};

use crate::kit::process::Process;

/// Returns the sample that this share of all samples does not exceed (nearest rank).
pub fn quantile<T: Copy + PartialOrd>(samples: &[T], share: f64) -> T {
    let mut sorted = samples.to_vec();
    sorted.sort_by(|a, b| a.partial_cmp(b).expect("a sample is a number"));
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

/// Returns a duration in milliseconds.
pub fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Returns the largest resident memory that a process ever had, in bytes, as Linux reports it.
pub fn peak_memory(process: &Process) -> Result<u64> {
    let path = format!("/proc/{}/status", process.id());
    let status = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
    let kibibytes: u64 = kibibytes.with_context(|| format!("{path} has no VmHWM"))?.parse()?;
    Ok(kibibytes * 1024)
}

/// Returns the processor time of those threads of a process that still run.
pub fn cpu_time(process: &Process) -> Result<Duration> {
    let tasks = format!("/proc/{}/task", process.id());
    let mut nanoseconds = 0;
    for task in std::fs::read_dir(&tasks).with_context(|| tasks.clone())? {
        // The time spent on the CPU, in nanoseconds, comes first: see proc(5). A thread may end meanwhile.
        let Ok(statistics) = std::fs::read_to_string(task?.path().join("schedstat")) else { continue };
        let first = statistics.split_whitespace().next().context("schedstat is empty")?;
        nanoseconds += first.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// Returns the processor time of a process, in user space and in the kernel, including threads that have ended. The
/// resolution is 10 ms, where [`cpu_time`] is exact. See `utime` and `stime` in proc(5).
pub fn processor_time(process: &Process) -> Result<Duration> {
    let path = format!("/proc/{}/stat", process.id());
    let stat = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    // The second field, the program's name, is in parentheses and can have blanks in it.
    let fields = stat.rsplit_once(") ").map(|(_, rest)| rest.split(' ').collect::<Vec<_>>()).unwrap_or_default();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok());
    let ticks = ticks(11).zip(ticks(12)).with_context(|| format!("{path} has no times"))?;
    Ok(Duration::from_millis(10 * (ticks.0 + ticks.1)))
}

/// Returns the processor time of this thread.
pub fn thread_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().expect("a clock does not run backwards")
}

/// Shortest time that each subject works in each of its turns.
const TURN: Duration = Duration::from_millis(4);

/// Number of turns of each subject.
const TURNS: usize = 25;

/// Returns a subject that makes this call, and keeps the compiler from optimizing away its result.
pub fn subject<T>(mut call: impl FnMut() -> T) -> impl FnMut() {
    move || {
        let _ = std::hint::black_box(call());
    }
}

/// Lets subjects take turns, and returns the processor time of one call of each, in nanoseconds: the median over the
/// turns.
pub fn take_turns(subjects: &mut [&mut dyn FnMut()]) -> Vec<f64> {
    let time = |subject: &mut dyn FnMut(), calls: u32| {
        let started = thread_time();
        (0..calls).for_each(|_| subject());
        thread_time() - started
    };
    let calls: Vec<u32> = subjects
        .iter_mut()
        .map(|subject| {
            let mut calls = 1;
            while time(subject, calls) < TURN {
                calls *= 2;
            }
            calls
        })
        .collect();
    let mut samples = vec![Vec::new(); subjects.len()];
    for _ in 0..TURNS {
        for ((subject, calls), samples) in subjects.iter_mut().zip(&calls).zip(&mut samples) {
            samples.push(time(subject, *calls).as_nanos() as f64 / f64::from(*calls));
        }
    }
    samples.iter().map(|samples| quantile(samples, 0.5)).collect()
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
