//! Clients of AWS whose every call has a time budget.
//!
//! By default the SDK waits for a silent endpoint without end, and a function would run into its own time-out instead of
//! answering. So each kind of work has a budget that fits what waits for it, and no call gets more time than is left until
//! the [deadline](mod@crate::deadline) of the invocation that makes it.

use std::time::{Duration, Instant};

use aws_config::{BehaviorVersion, ConfigLoader, SdkConfig};
use aws_sdk_dynamodb::config::interceptors::BeforeSerializationInterceptorContextRef;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept};
use aws_sdk_dynamodb::error::BoxError;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use secrets::SecretStore;

use crate::deadline;

/// With less time than this no call is begun: it could only fail, and would look as if the service had.
const SHORTEST_CALL: Duration = Duration::from_millis(50);

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
    /// The time that a request has for all its calls. A client has an answer within 3 s, even if that is that a key is due
    /// and neither Secrets Manager nor DynamoDB answers.
    pub const REQUEST_LIMIT: Duration = Duration::from_millis(2500);

    /// For a call that a client waits for.
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

    /// For reading a secret: when it is renewed, a client waits for it, and the value before it is good enough. It leaves a
    /// request the time for a call that hangs once and is repeated.
    const SECRET: Self = Self {
        connect: Duration::from_millis(500),
        attempt: Duration::from_millis(700),
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

/// What all clients of a process share: credentials, region, endpoints, and the connections.
#[derive(Debug, Clone)]
pub struct Aws {
    config: SdkConfig,
}

impl Aws {
    /// Reads what the SDK reads: the environment, profiles, and the rest of its
    /// [default chain](https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html). Nothing is sent yet.
    pub async fn from_env() -> Self {
        Self { config: Self::loader().load().await }
    }

    fn loader() -> ConfigLoader {
        let http_client =
            aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc)).build_https();
        aws_config::defaults(BehaviorVersion::latest()).http_client(http_client)
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
            .retry_config(Budget::SECRET.retries())
            .interceptor(WithinDeadline(Budget::SECRET));
        SecretStore::new(aws_sdk_secretsmanager::Client::from_conf(config.build()))
    }

    fn dynamodb_builder(&self, budget: Budget) -> aws_sdk_dynamodb::config::Builder {
        aws_sdk_dynamodb::config::Builder::from(&self.config)
            .timeout_config(budget.timeouts())
            .retry_config(budget.retries())
            .interceptor(WithinDeadline(budget))
    }
}

/// Bounds each call by the deadline of the invocation that makes it.
#[derive(Debug)]
struct WithinDeadline(Budget);

/// Why a call was not begun.
#[derive(Debug)]
struct NoTimeLeft;

impl std::fmt::Display for NoTimeLeft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the invocation has no time left for a call")
    }
}

impl std::error::Error for NoTimeLeft {}

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for WithinDeadline {
    fn name(&self) -> &'static str {
        "WithinDeadline"
    }

    fn read_before_execution(
        &self,
        _context: &BeforeSerializationInterceptorContextRef<'_>,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(deadline) = deadline::current() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left < SHORTEST_CALL {
                return Err(NoTimeLeft.into());
            }
            config.interceptor_state().store_put(self.0.within(left).timeouts());
        }
        Ok(())
    }
}

impl Budget {
    /// The budget of a call for which this much time is left.
    fn within(self, left: Duration) -> Self {
        Self { attempt: self.attempt.min(left), operation: self.operation.min(left), ..self }
    }

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

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::config::{Credentials, Region};
    use aws_sdk_dynamodb::error::SdkError;
    use aws_sdk_dynamodb::operation::get_item::GetItemError;
    use aws_sdk_dynamodb::types::AttributeValue;
    use tokio::net::TcpListener;

    use super::*;

    /// How a call to a silent DynamoDB ends under a deadline in `left`, and after what time.
    async fn call(budget: Budget, left: Duration) -> (SdkError<GetItemError>, Duration) {
        // It accepts connections, for the kernel does, and never answers.
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = Aws::loader()
            .endpoint_url(format!("http://{}", silent.local_addr().unwrap()))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .region(Region::from_static("us-east-1"))
            .load()
            .await;
        let get =
            Aws { config }.dynamodb(budget).get_item().table_name("t").key("id", AttributeValue::S("a".to_owned()));
        let started = Instant::now();
        let error = deadline::scope(started + left, get.send()).await.unwrap_err();
        (error, started.elapsed())
    }

    #[tokio::test]
    async fn a_call_ends_with_the_invocation() {
        let left = Duration::from_millis(300);
        let (error, took) = call(Budget::BATCH, left).await;
        assert!(matches!(error, SdkError::TimeoutError(_)), "{error:?}");
        assert!(took >= left && took < Budget::BATCH.attempt, "{took:?}");
    }

    #[tokio::test]
    async fn a_call_without_time_is_not_begun() {
        let (error, _) = call(Budget::BATCH, Duration::ZERO).await;
        assert!(matches!(error, SdkError::ConstructionFailure(_)), "{error:?}");
    }
}
