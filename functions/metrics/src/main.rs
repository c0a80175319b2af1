//! The function that Prometheus scrapes: `GET /metrics`.
//!
//! request → [`access`]: who may → [`handler`]: scrape, render → response

mod access;
mod handler;
mod settings;

use std::process::ExitCode;
use std::sync::Arc;

use env_settings::EnvReader;
use function_kit::dynamodb::{Budget, DynamoDb};
use lambda_http::{Error, Request, service_fn};
use prometheus_dynamodb::DynamoDbStatsTable;

use crate::handler::Metrics;
use crate::settings::Settings;

fn main() -> ExitCode {
    function_kit::start(|_started_at| run())
}

async fn run() -> Result<(), Error> {
    let settings = Settings::read(EnvReader::from_process())?;
    let client = DynamoDb::from_env().await.client(Budget::BATCH);
    let table = DynamoDbStatsTable::new(client, &settings.reader.table);
    let metrics = Arc::new(Metrics::new(table, settings));
    lambda_http::run(service_fn(move |request: Request| {
        let metrics = Arc::clone(&metrics);
        async move { Ok::<_, Error>(metrics.handle(&request).await) }
    }))
    .await
}
