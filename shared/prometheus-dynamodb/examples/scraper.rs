//! The function that Prometheus scrapes.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambda_runtime::tracing::init_default_subscriber();
    prometheus_dynamodb::run_scraper().await
}
