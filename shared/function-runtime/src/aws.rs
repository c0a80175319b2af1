//! Creates clients of AWS whose every call has a time budget.
//!
//! By default the SDK waits for a silent endpoint without limit, so a function would reach its own time-out instead of
//! answering. So each kind of work has a budget that suits whoever waits for it, and no call gets more time than is
//! left until the [deadline](mod@crate::deadline) of its invocation.

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

/// Time that must be left for a call to begin. With less, a call could only fail, and would look like a failure of the
/// service.
const SHORTEST_CALL: Duration = Duration::from_millis(50);

/// Time limits of a call.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Limit for opening a connection.
    connect: Duration,
    /// Limit for one attempt, from its first byte to the last byte of the response.
    attempt: Duration,
    /// Limit for the whole call, with all attempts and the pauses between them.
    operation: Duration,
    /// Maximum number of attempts.
    attempts: u32,
}

impl Budget {
    /// Time that a request has for all of its calls. A client gets an answer within 3 s even if a key is due for
    /// renewal and neither Secrets Manager nor DynamoDB answers.
    pub const REQUEST_LIMIT: Duration = Duration::from_millis(2500);

    /// Budget of a call that a client waits for.
    pub const REQUEST: Self = Self {
        connect: Duration::from_millis(500),
        attempt: Duration::from_millis(900),
        operation: Duration::from_millis(2000),
        attempts: 3,
    };

    /// Budget of publishing metrics. No client waits for a publish, but the environment does, and the next publish
    /// makes up for a failed one.
    pub const PUBLISH: Self = Self {
        connect: Duration::from_millis(300),
        attempt: Duration::from_millis(500),
        operation: Duration::from_millis(1000),
        attempts: 2,
    };

    /// Budget of reading a secret. A client waits for a renewal, and the previous value is good enough if the renewal
    /// fails. The budget leaves a request enough time for a call that hangs once and is repeated.
    const SECRET: Self = Self {
        connect: Duration::from_millis(500),
        attempt: Duration::from_millis(700),
        operation: Duration::from_millis(1000),
        attempts: 2,
    };

    /// Budget of a call in work on many items, such as a scrape or collecting garbage. A page of a query can have 1 MB.
    pub const BATCH: Self = Self {
        connect: Duration::from_millis(500),
        attempt: Duration::from_millis(3000),
        operation: Duration::from_millis(8000),
        attempts: 4,
    };
}

/// Configuration that all clients of a process share: credentials, region, endpoints, and connections.
#[derive(Debug, Clone)]
pub struct Aws {
    config: SdkConfig,
}

impl Aws {
    /// Reads the environment, profiles, and the other sources in the SDK's [default
    /// chain](https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html). Sends nothing yet.
    pub async fn from_env() -> Self {
        Self { config: Self::loader().load().await }
    }

    fn loader() -> ConfigLoader {
        let http_client =
            aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc)).build_https();
        aws_config::defaults(BehaviorVersion::latest()).http_client(http_client)
    }

    /// Creates a client of DynamoDB with this budget.
    pub fn dynamodb(&self, budget: Budget) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::from_conf(self.dynamodb_builder(budget).build())
    }

    /// Creates a client of DynamoDB with this budget, whose attempts the interceptor observes.
    pub fn observed_dynamodb(&self, budget: Budget, interceptor: impl Intercept + 'static) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::from_conf(self.dynamodb_builder(budget).interceptor(interceptor).build())
    }

    /// Creates a client of Secrets Manager.
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

/// Limits each call by the deadline of the invocation that makes it.
#[derive(Debug)]
struct WithinDeadline(Budget);

/// Error of a call that was not begun.
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
    /// Returns this budget, reduced for a call that has `left` to end.
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
    use aws_sdk_dynamodb::operation::get_item::builders::GetItemFluentBuilder;
    use aws_sdk_dynamodb::types::AttributeValue;
    use tokio::net::TcpListener;

    use super::*;

    /// Returns a call to the DynamoDB that listens there.
    async fn call_to(listener: &TcpListener, budget: Budget) -> GetItemFluentBuilder {
        let config = Aws::loader()
            .endpoint_url(format!("http://{}", listener.local_addr().unwrap()))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .region(Region::from_static("us-east-1"))
            .load()
            .await;
        Aws { config }.dynamodb(budget).get_item().table_name("t").key("id", AttributeValue::S("a".to_owned()))
    }

    /// Calls a silent DynamoDB under a deadline in `left`. Returns the error, and the time until it came.
    async fn call(budget: Budget, left: Duration) -> (SdkError<GetItemError>, Duration) {
        // The kernel accepts connections, but nothing answers.
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let get = call_to(&silent, budget).await;
        let started = Instant::now();
        let error = deadline::scope(started + left, get.send()).await.unwrap_err();
        (error, started.elapsed())
    }

    #[tokio::test]
    async fn a_call_that_fails_is_repeated_as_often_as_its_budget_says() {
        for (budget, attempts) in [(Budget::REQUEST, 3), (Budget::PUBLISH, 2), (Budget::SECRET, 2), (Budget::BATCH, 4)]
        {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let get = call_to(&listener, budget).await;
            let mut connections = 0;
            let hang_up = async {
                loop {
                    drop(listener.accept().await.unwrap());
                    connections += 1;
                }
            };
            tokio::select! {
                result = get.send() => assert!(result.is_err(), "{result:?}"),
                () = hang_up => {}
            }
            assert_eq!(connections, attempts, "{budget:?}");
        }
    }

    #[tokio::test]
    async fn a_call_ends_with_the_invocation() {
        let left = Duration::from_millis(300);
        let (error, took) = call(Budget::BATCH, left).await;
        assert!(matches!(error, SdkError::TimeoutError(_)), "{error:?}");
        assert!(took >= left && took < Budget::BATCH.attempt, "{took:?}");
    }

    #[tokio::test]
    async fn a_call_that_has_less_time_than_an_attempt_is_made_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let get = call_to(&listener, Budget::BATCH).await;
        let mut connections = Vec::new();
        let accept = async {
            loop {
                connections.push(listener.accept().await.unwrap());
            }
        };
        // The connection comes first, however late both are looked at.
        tokio::select! {
            biased;
            () = accept => {}
            result = deadline::scope(Instant::now() + Duration::from_millis(300), get.send()) => {
                assert!(result.is_err(), "{result:?}");
            }
        }
        assert_eq!(connections.len(), 1);
    }

    #[tokio::test]
    async fn a_call_without_time_is_not_begun() {
        let (error, _) = call(Budget::BATCH, Duration::ZERO).await;
        assert!(matches!(error, SdkError::ConstructionFailure(_)), "{error:?}");
    }
}
