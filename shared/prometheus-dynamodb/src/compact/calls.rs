//! Makes a run's calls to the table, which may throttle them or be slow.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::table::TableError;

/// Minimum time before the deadline in which no further step begins, so that whatever was added before can be committed.
const MARGIN: Duration = Duration::from_millis(1000);

/// Maximum number of calls that follow one another from the last step to the commit: the step's own, a structure, the base's
/// parts, and the base.
const CALLS_IN_MARGIN: u32 = 4;

/// Time before the deadline at which the run gives up whatever is still under way, as a crash would. A call can take longer
/// than is left, and the run has yet to report.
pub(super) const LAST_MOMENT: Duration = Duration::from_millis(200);

/// Pause after a call that failed for the first time. Each further failure doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// The calls of a run, and the time that is left for them.
#[derive(Debug)]
pub(super) struct Calls {
    deadline: Instant,
    /// Time that the longest step has taken, in milliseconds.
    longest_ms: AtomicU64,
}

impl Calls {
    pub(super) fn until(deadline: Instant) -> Self {
        Self { deadline, longest_ms: AtomicU64::new(0) }
    }

    /// Returns the time before the deadline in which no further step begins. The slower the table, the longer a commit takes.
    pub(super) fn margin(&self) -> Duration {
        let longest = Duration::from_millis(self.longest_ms.load(Ordering::Relaxed));
        MARGIN.max(LAST_MOMENT + CALLS_IN_MARGIN * longest)
    }

    /// Returns whether the deadline is too near for a further step.
    pub(super) fn are_late(&self) -> bool {
        Instant::now() + self.margin() >= self.deadline
    }

    /// Makes a call after which there must be time for a commit.
    pub(super) async fn step<R, F>(&self, call: impl Fn() -> F) -> Result<R, TableError>
    where
        F: Future<Output = Result<R, TableError>>,
    {
        let timed = async || {
            let begun = Instant::now();
            let result = call().await;
            let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.longest_ms.fetch_max(took_ms, Ordering::Relaxed);
            result
        };
        self.patiently(|| self.margin(), timed).await
    }

    /// Makes a call, and repeats it after growing pauses while the table throttles it or does not answer in time, until
    /// `margin` before the deadline, which may grow meanwhile. A call must be one that may be repeated although it was
    /// carried out.
    ///
    /// DynamoDB divides a table's throughput over partitions, and a shard is one of them. A run that ended whenever one call
    /// of thousands stays throttled would never get far in a shard where many environments have died.
    pub(super) async fn patiently<R, F>(
        &self,
        margin: impl Fn() -> Duration,
        call: impl Fn() -> F,
    ) -> Result<R, TableError>
    where
        F: Future<Output = Result<R, TableError>>,
    {
        let mut pause = FIRST_PAUSE;
        loop {
            match call().await {
                Err(TableError::Throttled(_) | TableError::TimedOut(_))
                    if Instant::now() + pause + margin() < self.deadline =>
                {
                    sleep(pause).await;
                    pause = LONGEST_PAUSE.min(2 * pause);
                }
                done => return done,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a call that always ends like this, and returns how often it was made.
    async fn made(calls: &Calls, error: fn(&'static str) -> TableError) -> u64 {
        let made = AtomicU64::new(0);
        let call = async || {
            made.fetch_add(1, Ordering::Relaxed);
            Err::<(), _>(error("of no use"))
        };
        calls.patiently(|| calls.margin(), call).await.unwrap_err();
        made.into_inner()
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_may_succeed_later_is_repeated_after_growing_pauses_until_the_margin() {
        let calls = || Calls::until(Instant::now() + MARGIN + Duration::from_millis(1800));
        let begun = Instant::now();
        // After 0, 100, 300, 700, 1200 and 1700 ms.
        assert_eq!(made(&calls(), |cause| TableError::Throttled(cause.into())).await, 6);
        assert_eq!(begun.elapsed().as_millis(), 1700);
        assert_eq!(made(&calls(), |cause| TableError::TimedOut(cause.into())).await, 6);
        assert_eq!(made(&calls(), |cause| TableError::Failed(cause.into())).await, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_margin_grows_with_the_longest_step() {
        let calls = Calls::until(Instant::now() + Duration::from_secs(60));
        for (takes_ms, margin_ms) in [(100, 1000), (2000, 8200), (500, 8200)] {
            let call = async || {
                sleep(Duration::from_millis(takes_ms)).await;
                Ok(())
            };
            calls.step(call).await.unwrap();
            assert_eq!(calls.margin().as_millis(), margin_ms);
        }
        assert!(!calls.are_late());
        tokio::time::advance(Duration::from_millis(60_000 - 2600 - 8200)).await;
        assert!(calls.are_late());
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_that_turns_out_to_be_slow_leaves_the_time_that_a_commit_then_needs() {
        let (calls, begun) = (Calls::until(Instant::now() + Duration::from_secs(60)), Instant::now());
        let silent = async || {
            sleep(Duration::from_secs(8)).await;
            Err::<(), _>(TableError::TimedOut("no response".into()))
        };
        calls.step(silent).await.unwrap_err();
        // Four times eight seconds, and pauses of 100, 200 and 400 ms. With a fifth time there would be less left than 32 s.
        assert_eq!(begun.elapsed().as_millis(), 32_700);
    }
}
