//! Puts the function together and runs it.

use std::process::ExitCode;
use std::sync::Arc;

use env_settings::EnvReader;
use function_kit::aws::{Aws, Budget};
use lambda_http::Error;
use prometheus_dynamodb::DynamoDbStatsTable;

use metrics::access::Access;
use metrics::handler::Metrics;
use metrics::settings::Settings;
use metrics::tokens;

fn main() -> ExitCode {
    function_kit::start(|_started_at| run())
}

async fn run() -> Result<(), Error> {
    let settings = Settings::read(EnvReader::from_process())?;
    let aws = Aws::from_env().await;
    let tokens = match settings.tokens {
        None => None,
        Some(source) => Some(tokens::load(source, aws.secret_store()).await?),
    };
    let table = DynamoDbStatsTable::new(aws.dynamodb(Budget::BATCH), &settings.reader.table);
    let metrics = Arc::new(Metrics::new(table, settings.reader, Access::new(tokens, settings.networks)));
    let runtime = function_kit::http::runtime(move |event| {
        let metrics = Arc::clone(&metrics);
        async move { metrics.answer(event).await }
    });
    runtime.run().await
}
