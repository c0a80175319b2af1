//! Clients of AWS whose every call has a time budget.
//!
//! By default the SDK waits for a silent endpoint without end, and a function would run into its own time-out instead of
//! answering. So each kind of work has a budget that fits what waits for it.

use std::time::Duration;

use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_dynamodb::config::Intercept;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use secrets::SecretStore;

/// How long a call may take.
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

    /// For reading a secret: when it is renewed, a client waits for it, and the value before it is good enough.
    const SECRET: Self = Self {
        connect: Duration::from_millis(500),
        attempt: Duration::from_millis(700),
        operation: Duration::from_millis(1500),
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

/// What all clients of a process share: credentials, region, endpoints, and the connections.
#[derive(Debug, Clone)]
pub struct Aws {
    config: SdkConfig,
}

impl Aws {
    /// Reads what the SDK reads: the environment, profiles, and the rest of its
    /// [default chain](https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html). Nothing is sent yet.
    pub async fn from_env() -> Self {
        let http_client =
            aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc)).build_https();
        let config = aws_config::defaults(BehaviorVersion::latest()).http_client(http_client).load().await;
        Self { config }
    }

    /// A client of DynamoDB with this budget.
    pub fn dynamodb(&self, budget: Budget) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::from_conf(self.dynamodb_builder(budget).build())
    }

    /// A client of DynamoDB with this budget, whose attempts the interceptor observes.
    pub fn observed_dynamodb(&self, budget: Budget, interceptor: impl Intercept + 'static) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::from_conf(self.dynamodb_builder(budget).interceptor(interceptor).build())
    }

    /// Secrets Manager.
    pub fn secret_store(&self) -> SecretStore {
        let config = aws_sdk_secretsmanager::config::Builder::from(&self.config)
            .timeout_config(Budget::SECRET.timeouts())
            .retry_config(Budget::SECRET.retries());
        SecretStore::new(aws_sdk_secretsmanager::Client::from_conf(config.build()))
    }

    fn dynamodb_builder(&self, budget: Budget) -> aws_sdk_dynamodb::config::Builder {
        aws_sdk_dynamodb::config::Builder::from(&self.config)
            .timeout_config(budget.timeouts())
            .retry_config(budget.retries())
    }
}

impl Budget {
    fn timeouts(self) -> TimeoutConfig {
        TimeoutConfig::builder()
            .connect_timeout(self.connect)
            .operation_attempt_timeout(self.attempt)
            .operation_timeout(self.operation)
            .build()
    }

    fn retries(self) -> RetryConfig {
        RetryConfig::standard()
            .with_max_attempts(self.attempts)
            .with_initial_backoff(Duration::from_millis(50))
            .with_max_backoff(Duration::from_millis(500))
    }
}
