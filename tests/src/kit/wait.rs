//! Waits for a condition, with a deadline. No test sleeps and hopes.

use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::time::Instant;

/// Time between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(50);

/// Reason why a condition does not hold.
#[derive(Debug)]
pub enum Setback {
    /// The condition may hold later. Every error that `?` passes on is of this kind.
    Later(anyhow::Error),
    /// The condition never will hold, for instance because a process has died.
    Final(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Setback {
    fn from(error: E) -> Self {
        Self::Later(error.into())
    }
}

/// Returns an error which says that a condition does not hold yet, and why.
pub fn not_yet<T>(reason: impl std::fmt::Display) -> Result<T, Setback> {
    Err(Setback::Later(anyhow!("{reason}")))
}

/// Repeats `attempt` until it succeeds, fails for good, or `patience` is over. An attempt that is under way then is
/// dropped. The last error is in the result.
pub async fn until<T>(
    what: &str,
    patience: Duration,
    mut attempt: impl AsyncFnMut() -> Result<T, Setback>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + patience;
    let mut last = anyhow!("the first attempt did not end");
    loop {
        match tokio::time::timeout_at(deadline, attempt()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(Setback::Final(error))) => return Err(error.context(format!("while waiting until {what}"))),
            Ok(Err(Setback::Later(error))) => last = error,
            Err(_) => {}
        }
        if Instant::now() >= deadline {
            return Err(last).with_context(|| format!("waited {patience:?} in vain until {what}"));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_hangs_is_given_up_at_the_deadline() {
        let mut attempts = 0;
        let waiting = until("it is there", PATIENCE, async || {
            attempts += 1;
            if attempts < 3 { not_yet(format!("attempt {attempts} failed")) } else { std::future::pending().await }
        });
        let error = tokio::time::timeout(2 * PATIENCE, waiting).await.expect("it ends").map(|(): ()| ()).unwrap_err();
        assert_eq!(format!("{error:#}"), "waited 10s in vain until it is there: attempt 2 failed");
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_are_repeated_until_one_succeeds_or_fails_for_good() {
        for (last, expected) in [(Ok(7), Ok(7)), (Err(()), Err("while waiting until it is there: it has died"))] {
            let mut attempts = 0;
            let found = until("it is there", PATIENCE, async || {
                attempts += 1;
                if attempts < 3 {
                    return not_yet("not yet");
                }
                last.map_err(|()| Setback::Final(anyhow!("it has died")))
            });
            assert_eq!(found.await.map_err(|error| format!("{error:#}")), expected.map_err(str::to_owned));
            assert_eq!(attempts, 3);
        }
    }
}
