//! DynamoDB clients whose every call has a time budget.
//!
//! By default the SDK waits for a silent endpoint without end, and a function would run into its own time-out instead of
//! answering. So each kind of work has a budget that fits what waits for it.

use std::time::Duration;

use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::Intercept;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

/// How long a call to DynamoDB may take.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// For opening a connection.
    connect: Duration,
    /// For one attempt, from its first byte to the response's last.
    attempt: Duration,
    /// For the whole call, with all attempts and the pauses between them.
    operation: Duration,
    /// How many attempts are made at most.
    attempts: u32,
}

impl Budget {
    /// For a call that a client waits for: it has an answer within 3 s, even if that is that DynamoDB does not answer.
    pub const REQUEST: Self = Self {
        connect: Duration::from_millis(500),
        attempt: Duration::from_millis(900),
        operation: Duration::from_millis(2000),
        attempts: 3,
    };

    /// For publishing metrics: no client waits for it, but the environment does, and the next publish makes up for a
    /// failed one.
    pub const PUBLISH: Self = Self {
        connect: Duration::from_millis(300),
        attempt: Duration::from_millis(500),
        operation: Duration::from_millis(1000),
        attempts: 2,
    };

    /// For work on many items, such as a scrape or collecting garbage: a query's page can have 1 MB.
    pub const BATCH: Self = Self {
        connect: Duration::from_millis(500),
        attempt: Duration::from_millis(3000),
        operation: Duration::from_millis(8000),
        attempts: 4,
    };
}

/// What all DynamoDB clients of a process share: credentials, region, endpoint, and the connections.
#[derive(Debug, Clone)]
pub struct DynamoDb {
    config: SdkConfig,
}

impl DynamoDb {
    /// Reads what the SDK reads: the environment, profiles, and the rest of its
    /// [default chain](https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html). Nothing is sent yet.
    pub async fn from_env() -> Self {
        let http_client =
            aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc)).build_https();
        let config = aws_config::defaults(BehaviorVersion::latest()).http_client(http_client).load().await;
        Self { config }
    }

    /// A client with this budget.
    pub fn client(&self, budget: Budget) -> Client {
        Client::from_conf(self.builder(budget).build())
    }

    /// A client with this budget, whose attempts the interceptor observes.
    pub fn observed_client(&self, budget: Budget, interceptor: impl Intercept + 'static) -> Client {
        Client::from_conf(self.builder(budget).interceptor(interceptor).build())
    }

    fn builder(&self, budget: Budget) -> aws_sdk_dynamodb::config::Builder {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(budget.connect)
            .operation_attempt_timeout(budget.attempt)
            .operation_timeout(budget.operation);
        let retries = RetryConfig::standard()
            .with_max_attempts(budget.attempts)
            .with_initial_backoff(Duration::from_millis(50))
            .with_max_backoff(Duration::from_millis(500));
        aws_sdk_dynamodb::config::Builder::from(&self.config).timeout_config(timeouts.build()).retry_config(retries)
    }
}
