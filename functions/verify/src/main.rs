//! The function that verifies tokens, shows records and publishes the keys.
//!
//! request → [`handler`]: which route, what is asked for → `sigil` → response

mod handler;
mod settings;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use env_settings::EnvReader;
use function_kit::aws::{Aws, Budget};
use lambda_http::{Error, Request, service_fn};
use prometheus::Registry;
use prometheus_dynamodb::{DynamoDbStatsTable, Publisher, Sources};
use sigil::keys::VerifyingKeys;
use sigil::metrics::{BreakerGauge, ErrorMetrics, Operation, StorageMetrics, VerifyMetrics};
use sigil::store::{DynamoDbStore, Guarded, Observed, StorageOperation};
use sigil::verify::Verifier;

use crate::handler::Verify;
use crate::settings::Settings;

fn main() -> ExitCode {
    function_kit::start(run)
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
        ErrorMetrics::register(&registry, &[Operation::Verify, Operation::Get])?,
    ));

    let stats_table = DynamoDbStatsTable::new(aws.dynamodb(Budget::PUBLISH), settings.stats.table());
    let publisher = Publisher::new(stats_table, Sources::new(registry), settings.stats, started_at)?;
    let handler = service_fn(move |request: Request| {
        let verify = Arc::clone(&verify);
        async move { Ok::<_, Error>(verify.handle(&request).await) }
    });
    function_kit::serve(lambda_http::runtime(handler), Budget::REQUEST_LIMIT, publisher).await
}
