//! Makes clients of DynamoDB whose every call has a time budget: by default the SDK waits for a silent endpoint without end,
//! and Lambda would end the function before.

use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::Client;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

/// Makes a client for publishing. Its budget is small, since the environment waits for it, and the next publish makes up for
/// one that failed.
pub(super) async fn for_publishing() -> Client {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_millis(300))
        .operation_attempt_timeout(Duration::from_millis(500))
        .operation_timeout(Duration::from_millis(1000))
        .build();
    client(timeouts, 2).await
}

/// Makes a client for reading and compacting. Its budget is larger, since a query's page can have 1 MB.
pub(super) async fn for_batches() -> Client {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_millis(500))
        .operation_attempt_timeout(Duration::from_millis(3000))
        .operation_timeout(Duration::from_millis(8000))
        .build();
    client(timeouts, 4).await
}

async fn client(timeouts: TimeoutConfig, attempts: u32) -> Client {
    let http_client =
        aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc)).build_https();
    let retries = RetryConfig::standard()
        .with_max_attempts(attempts)
        .with_initial_backoff(Duration::from_millis(50))
        .with_max_backoff(Duration::from_millis(500));
    let config = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http_client)
        .timeout_config(timeouts)
        .retry_config(retries);
    Client::new(&config.load().await)
}
