//! Clocks and samples.
//!
//! To compare the work of programs, their time on a processor is measured: unlike wall time, it does not grow with the
//! work of other processes.

use std::collections::BTreeMap;
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

/// Processor time that a process had used at one moment. Two of them say what it has used in between.
#[derive(Debug, Clone, Default)]
pub struct CpuTime {
    /// Time of each thread that runs, by its id.
    threads: BTreeMap<String, Duration>,
    /// Time of the whole process, in steps of [`STEP`].
    whole: Duration,
}

impl CpuTime {
    /// Reads the time that a process has used so far.
    pub fn of(process: &Process) -> Result<Self> {
        let tasks = format!("/proc/{}/task", process.id());
        let mut threads = BTreeMap::new();
        for task in std::fs::read_dir(&tasks).with_context(|| tasks.clone())? {
            let task = task?;
            // The time spent on the CPU, in nanoseconds, comes first: see proc(5). A thread may end meanwhile.
            let Ok(statistics) = std::fs::read_to_string(task.path().join("schedstat")) else { continue };
            let first = statistics.split_whitespace().next().context("schedstat is empty")?;
            threads.insert(task.file_name().to_string_lossy().into_owned(), Duration::from_nanos(first.parse()?));
        }
        Ok(Self { threads, whole: processor_time(process)? })
    }

    /// Returns the time that the process has used since `before`.
    ///
    /// This is what its threads have used, which is exact. Only the time of threads that have ended is not known thread
    /// by thread. Threads that block end after ten idle seconds, and have used next to nothing in those. If they have
    /// used more, the time of the whole process tells, less its two steps of inaccuracy.
    pub fn since(&self, before: &Self) -> Duration {
        let of_thread = |(id, time): (&String, &Duration)| match before.threads.get(id) {
            // An id can be that of another thread by now.
            Some(before) => time.checked_sub(*before).unwrap_or(*time),
            None => *time,
        };
        let of_threads: Duration = self.threads.iter().map(of_thread).sum();
        of_threads.max(self.whole.saturating_sub(before.whole + 2 * STEP))
    }
}

/// Step of the time that Linux reports for a whole process, in user space and in the kernel alike.
const STEP: Duration = Duration::from_millis(10);

/// Returns the processor time of a process, in user space and in the kernel, including threads that have ended. The
/// resolution is 10 ms, where [`CpuTime`] is exact. See `utime` and `stime` in proc(5).
pub fn processor_time(process: &Process) -> Result<Duration> {
    let path = format!("/proc/{}/stat", process.id());
    let stat = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    // The second field, the program's name, is in parentheses and can have blanks in it.
    let fields = stat.rsplit_once(") ").map(|(_, rest)| rest.split(' ').collect::<Vec<_>>()).unwrap_or_default();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok());
    let ticks = ticks(11).zip(ticks(12)).with_context(|| format!("{path} has no times"))?;
    Ok(STEP * u32::try_from(ticks.0 + ticks.1)?)
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

    #[test]
    fn a_thread_that_ends_takes_nothing_back() {
        let at = |whole: u64, threads: &[(&str, u64)]| CpuTime {
            threads: threads.iter().map(|(id, time)| ((*id).to_owned(), Duration::from_millis(*time))).collect(),
            whole: Duration::from_millis(whole),
        };
        let used = |before: &CpuTime, now: CpuTime| now.since(before).as_millis();
        let before = at(150, &[("1", 100), ("2", 50)]);
        assert_eq!(used(&before, at(160, &[("1", 107), ("2", 52), ("3", 1)])), 10, "all run on");
        assert_eq!(used(&before, at(150, &[("1", 107)])), 7, "one has ended, and was idle");
        assert_eq!(used(&before, at(150, &[("1", 100), ("2", 3)])), 3, "another thread has its id");
        assert_eq!(used(&before, at(250, &[("1", 107)])), 80, "one has worked, and ended");
        assert_eq!(used(&before, at(250, &[("1", 107), ("2", 50)])), 80, "one has begun, worked and ended");
    }

    #[test]
    fn the_time_of_a_process_is_read() {
        let folder = tempfile::TempDir::new().unwrap();
        let mut busy = std::process::Command::new("sh");
        busy.args(["-c", "while :; do :; done"]);
        let busy = Process::spawn("busy", busy, &folder.path().join("log")).unwrap();
        let before = CpuTime::of(&busy).unwrap();
        let step = Duration::from_millis(100);
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        while processor_time(&busy).unwrap() < before.whole + 2 * step {
            assert!(std::time::Instant::now() < deadline, "the process does not run");
            std::thread::yield_now();
        }
        let of_threads = CpuTime { whole: Duration::ZERO, ..CpuTime::of(&busy).unwrap() };
        assert!(of_threads.since(&before) >= step, "{of_threads:?}");
    }
}
