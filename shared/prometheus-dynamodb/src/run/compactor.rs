//! The function that compacts.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use lambda_runtime::layers::TracingLayer;
use lambda_runtime::{Diagnostic, Error, LambdaEvent, Runtime, service_fn};
use prometheus::Registry;
use serde::de::IgnoredAny;

use super::client;
use crate::compact::Compactor;
use crate::settings::faults::Faults;
use crate::settings::{TableSettings, WriterSettings};
use crate::table::DynamoDbStatsTable;

/// Part of an invocation's time that is left for the response and for publishing, which may take 1 s.
const RESERVE: Duration = Duration::from_millis(1500);

/// Time for a run where the runtime does not say when the run ends, as in emulators.
const USUAL: Duration = Duration::from_secs(50);

/// Runs a function that compacts the stats table each time it is invoked, whatever the event: let a schedule invoke it every
/// hour or so, with a time-out of a minute.
///
/// A run does what it can until the time-out comes near, and the next run goes on. The function responds with the run's
/// [`CompactReport`] and publishes its own metrics. It reads [`TableSettings::from_env`] and [`WriterSettings::from_env`].
///
/// [`CompactReport`]: crate::CompactReport
///
/// # Errors
///
/// If settings are wrong, all of them at once, and when the Runtime API fails. A run that fails is reported to Lambda.
///
/// # Panics
///
/// Outside of Lambda, as [`run`](crate::run) does.
pub async fn run_compactor() -> Result<(), Error> {
    let mut faults = Faults::default();
    let settings = faults.take(TableSettings::from_env());
    // Checked here, so that the faults of both settings are reported at once.
    faults.take(WriterSettings::from_env());
    let settings = faults.finish(settings)?.expect("a setting is absent only when a fault was noted");

    let registry = Registry::new();
    let table = DynamoDbStatsTable::new(client::for_batches().await, settings.table());
    let compactor = Arc::new(Compactor::new(table, settings, &registry)?);
    let handler = service_fn(move |event: LambdaEvent<IgnoredAny>| {
        let compactor = Arc::clone(&compactor);
        let time = time_for_run(event.context.deadline(), SystemTime::now());
        // Boxed, since the future is nested deeper than the compiler follows.
        Box::pin(async move {
            let (report, result) = compactor.run(Instant::now() + time).await;
            tracing::info!(?report, "compacted");
            if let Err(error) = result {
                tracing::error!(error = &error as &dyn std::error::Error, "a run failed");
                // The runtime logs `{:?}` of an error, which for one of the SDK is the whole response of DynamoDB.
                return Err(Diagnostic { error_type: "CompactFailed".to_owned(), error_message: error.to_string() });
            }
            Ok(report)
        })
    });
    let publisher = super::publisher(registry.into()).await?;
    // Runs come one after the other, whatever `AWS_LAMBDA_MAX_CONCURRENCY` says: two at once would only be in each other's
    // way.
    Runtime::new(handler).layer(TracingLayer::new()).layer(publisher.layer()).run().await
}

/// Returns the time for a run that Lambda ends at `ends_at`.
fn time_for_run(ends_at: SystemTime, now: SystemTime) -> Duration {
    // Lambda hands out no event whose deadline is over. Emulators send a constant deadline, long past.
    ends_at.duration_since(now).map_or(USUAL, |left| left.saturating_sub(RESERVE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_ends_before_lambda_ends_it() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        assert_eq!(time_for_run(now + Duration::from_secs(60), now), Duration::from_millis(58_500));
        assert_eq!(time_for_run(now + Duration::from_secs(1), now), Duration::ZERO);
        assert_eq!(time_for_run(SystemTime::UNIX_EPOCH, now), USUAL);
    }
}
