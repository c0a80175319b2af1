//! Until when an invocation may run.

use std::time::{Duration, Instant};

use lambda_runtime::Context;

/// The time that a run has where its deadline makes no sense: emulators of Lambda send a constant one, long past. Less than
/// the time-out that the template gives the function.
const FALLBACK: Duration = Duration::from_secs(30);

/// The invocation's deadline.
pub fn of(context: &Context) -> Instant {
    let left = context.deadline().duration_since(std::time::SystemTime::now()).unwrap_or(FALLBACK);
    Instant::now() + left
}
