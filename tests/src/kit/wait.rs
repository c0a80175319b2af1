//! Waiting for a condition, with a deadline: nothing here ever sleeps for luck.

use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};

/// How often a condition is looked at.
const PAUSE: Duration = Duration::from_millis(50);

/// Why a condition does not hold.
#[derive(Debug)]
pub enum Setback {
    /// It may hold later. Every error that `?` passes on is of this kind.
    Later(anyhow::Error),
    /// It never will, for instance because a process has died.
    Final(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Setback {
    fn from(error: E) -> Self {
        Self::Later(error.into())
    }
}

/// Says that a condition does not hold yet, and why.
pub fn not_yet<T>(reason: impl std::fmt::Display) -> Result<T, Setback> {
    Err(Setback::Later(anyhow!("{reason}")))
}

/// Tries `attempt` until it succeeds, is set back for good, or `patience` is over. What it said last is in the error.
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
