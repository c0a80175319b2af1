//! The function that compacts the table, once an hour.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambda_runtime::tracing::init_default_subscriber();
    prometheus_dynamodb::run_compactor().await
}
