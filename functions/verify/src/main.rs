//! Puts the function together and runs it.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use env_settings::EnvReader;
use function_runtime::aws::{Aws, Budget};
use lambda_http::Error;
use prometheus::Registry;
use prometheus_dynamodb::{DynamoDbStatsTable, Publisher, Sources};
use sigil::keys::VerifyingKeys;
use sigil::metrics::{BreakerGauge, ErrorMetrics, StorageMetrics, VerifyMetrics};
use sigil::store::{DynamoDbStore, Guarded, Observed, StorageOperation};
use sigil::verify::Verifier;

use verify::handler::{OPERATIONS, Verify};
use verify::settings::Settings;

fn main() -> ExitCode {
    function_runtime::start(run)
}

async fn run(started_at: Instant) -> Result<(), Error> {
    let settings = Settings::read(EnvReader::from_process())?;
    let registry = Registry::new();
    let storage_metrics = StorageMetrics::register(&registry, &[StorageOperation::Get])?;

    let aws = Aws::from_env().await;
    let renewal_failures = secrets::secret::failures();
    registry.register(Box::new(renewal_failures.clone()))?;
    let keys = settings.keys.load(aws.secret_store(), VerifyingKeys::parse_stored, renewal_failures).await?;
    let client = aws.observed_dynamodb(Budget::REQUEST, storage_metrics.attempts());
    let store = Guarded::new(Observed::new(DynamoDbStore::new(client, settings.sigils_table), storage_metrics));
    BreakerGauge::register(&registry, store.breaker())?;
    let verify = Arc::new(Verify::new(
        Verifier::new(store, keys),
        VerifyMetrics::register(&registry)?,
        ErrorMetrics::register(&registry, &OPERATIONS)?,
    ));

    let stats_table = DynamoDbStatsTable::new(aws.dynamodb(Budget::PUBLISH), settings.stats.table());
    let publisher = Publisher::new(stats_table, Sources::new(registry), settings.stats, started_at)?;
    let runtime = function_runtime::http::runtime(move |event| {
        let verify = Arc::clone(&verify);
        async move { verify.answer(event).await }
    });
    function_runtime::serve(runtime, Budget::REQUEST_LIMIT, publisher).await
}
