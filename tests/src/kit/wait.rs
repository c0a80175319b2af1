//! Waits for a condition, with a deadline. No test sleeps and hopes.

use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};

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

/// Repeats `attempt` until it succeeds, fails for good, or `patience` is over. The last error is in the result.
pub async fn until<T>(
    what: &str,
    patience: Duration,
    mut attempt: impl AsyncFnMut() -> Result<T, Setback>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        match attempt().await {
            Ok(value) => return Ok(value),
            Err(Setback::Final(error)) => return Err(error.context(format!("while waiting until {what}"))),
            Err(Setback::Later(error)) if Instant::now() >= deadline => {
                return Err(error).with_context(|| format!("waited {patience:?} in vain until {what}"));
            }
            Err(Setback::Later(_)) => tokio::time::sleep(PAUSE).await,
        }
    }
}
