//! The function that collects garbage: sigils that are due, and metrics of environments that have ended.
//!
//! scheduled event → [`collect`]: both kinds, until done or the deadline comes near → a summary

mod collect;
mod settings;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use env_settings::EnvReader;
use function_runtime::aws::{Aws, Budget};
use function_runtime::deadline;
use lambda_runtime::{Diagnostic, Error, LambdaEvent, Runtime, service_fn};
use prometheus::Registry;
use prometheus_dynamodb::{Compactor, DynamoDbStatsTable, GaugeMerge, Publisher, Sources};
use serde::de::IgnoredAny;
use sigil::metrics::{ErrorMetrics, GcMetrics, LAST_SUCCESS, Operation, StorageMetrics};
use sigil::store::{DynamoDbStore, Observed, StorageOperation};

use crate::collect::Collector;
use crate::settings::Settings;

/// Time that a run may take if Lambda leaves that much: less than the time-out that the template gives the function.
const LIMIT: Duration = Duration::from_secs(55);

fn main() -> ExitCode {
    function_runtime::start(run)
}

async fn run(started_at: Instant) -> Result<(), Error> {
    let settings = Settings::read(EnvReader::from_process())?;
    let registry = Registry::new();
    let storage_metrics = StorageMetrics::register(&registry, &[StorageOperation::Query, StorageOperation::Delete])?;

    let aws = Aws::from_env().await;
    let client = aws.observed_dynamodb(Budget::BATCH, storage_metrics.attempts());
    // No circuit breaker: no client waits, and a call that fails in one shard of the index may succeed in the next.
    let store = Observed::new(DynamoDbStore::new(client, settings.sigils_table), storage_metrics);
    let stats_table = DynamoDbStatsTable::new(aws.dynamodb(Budget::BATCH), settings.stats_table.table());
    let collector = Arc::new(Collector {
        store,
        compactor: Compactor::new(stats_table, settings.stats_table, &registry)?,
        metrics: GcMetrics::register(&registry)?,
        errors: ErrorMetrics::register(&registry, &[Operation::Gc])?,
    });

    let sources = Sources::new(registry).gauge(LAST_SUCCESS, GaugeMerge::Max);
    let own_table = DynamoDbStatsTable::new(aws.dynamodb(Budget::PUBLISH), settings.stats.table());
    let publisher = Publisher::new(own_table, sources, settings.stats, started_at)?;
    // The content of the event does not matter: a run may be started by the schedule, a person, or a test.
    let handler = service_fn(move |_event: LambdaEvent<IgnoredAny>| {
        let collector = Arc::clone(&collector);
        // Boxed, because the futures of both tasks, one inside the other, are nested deeper than the compiler follows.
        Box::pin(async move {
            let result = collector.collect(deadline::current_or(LIMIT)).await;
            // The runtime logs `{:?}` of an error, which for one of the SDK is the whole response: records and tokens.
            result.map_err(Diagnostic::from)
        })
    });
    function_runtime::serve(Runtime::new(handler), LIMIT, publisher).await
}
