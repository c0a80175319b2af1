//! Puts the function together and runs it.

use std::process::ExitCode;
use std::sync::Arc;

use env_settings::EnvReader;
use function_runtime::aws::{Aws, Budget};
use function_runtime::deadline::DeadlineLayer;
use lambda_http::Error;
use prometheus_dynamodb::DynamoDbStatsTable;

use metrics::access::Access;
use metrics::handler::Metrics;
use metrics::settings::Settings;
use metrics::tokens;

fn main() -> ExitCode {
    function_runtime::start(|_started_at| run())
}

async fn run() -> Result<(), Error> {
    let settings = Settings::read(EnvReader::from_process())?;
    let aws = Aws::from_env().await;
    let tokens = match settings.tokens {
        None => None,
        Some(source) => Some(tokens::load(source, aws.secret_store()).await?),
    };
    let table = DynamoDbStatsTable::new(aws.dynamodb(Budget::BATCH), settings.reader.table());
    let access = Access::new(tokens, settings.networks);
    if let Some(whom) = access.open_to() {
        tracing::warn!("neither METRICS_TOKEN nor METRICS_TOKEN_SECRET_ARN is set: the page is open to {whom}");
    }
    let metrics = Arc::new(Metrics::new(table, settings.reader, access));
    let runtime = function_runtime::http::runtime(move |event| {
        let metrics = Arc::clone(&metrics);
        async move { metrics.answer(event).await }
    });
    runtime.layer(DeadlineLayer::new(metrics::handler::LIMIT)).run_concurrent().await
}
