//! Puts the function together and runs it.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use env_settings::EnvReader;
use function_runtime::aws::{Aws, Budget};
use lambda_http::Error;
use prometheus::Registry;
use prometheus_dynamodb::{DynamoDbStatsTable, Publisher, Sources};
use sigil::encode::Encoder;
use sigil::keys::SigningKeys;
use sigil::metrics::{BreakerGauge, EncodeMetrics, ErrorMetrics, StorageMetrics};
use sigil::revoke::Revoker;
use sigil::store::{DynamoDbStore, Guarded, Observed, StorageOperation};

use encode::handler::{Encode, OPERATIONS};
use encode::settings::Settings;

fn main() -> ExitCode {
    function_runtime::start(run)
}

async fn run(started_at: Instant) -> Result<(), Error> {
    let settings = Settings::read(EnvReader::from_process())?;
    let registry = Registry::new();
    let storage_metrics =
        StorageMetrics::register(&registry, &[StorageOperation::Put, StorageOperation::Get, StorageOperation::Update])?;

    let aws = Aws::from_env().await;
    let renewal_failures = secrets::secret::failures();
    registry.register(Box::new(renewal_failures.clone()))?;
    let keys = settings.keys.load(aws.secret_store(), SigningKeys::parse_stored, renewal_failures).await?;
    let client = aws.observed_dynamodb(Budget::REQUEST, storage_metrics.attempts());
    let store = Guarded::new(Observed::new(DynamoDbStore::new(client, settings.sigils_table), storage_metrics));
    BreakerGauge::register(&registry, store.breaker())?;
    let encode = Arc::new(Encode::new(
        Encoder::new(store.clone(), keys.clone(), settings.lifetimes),
        Revoker::new(store, keys, settings.lifetimes.retention_seconds),
        EncodeMetrics::register(&registry)?,
        ErrorMetrics::register(&registry, &OPERATIONS)?,
    ));

    let stats_table = DynamoDbStatsTable::new(aws.dynamodb(Budget::PUBLISH), settings.stats.table());
    let publisher = Publisher::new(stats_table, Sources::new(registry), settings.stats, started_at)?;
    let runtime = function_runtime::http::runtime(move |event| {
        let encode = Arc::clone(&encode);
        async move { encode.answer(event).await }
    });
    function_runtime::serve(runtime, Budget::REQUEST_LIMIT, publisher).await
}
