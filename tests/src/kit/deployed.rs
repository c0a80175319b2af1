//! Runs functions as they are deployed: each in its own execution environment, with secrets in Secrets Manager, and
//! with services that can be made to hang.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::kit::bundle::logs_of_test;
use crate::kit::dynamodb_local::DynamoDbLocal;
use crate::kit::execution_environment::{ExecutionEnvironment, Function};
use crate::kit::runtime_api::Outcome;
use crate::kit::secrets_manager::{SecretsManager, arn};
use crate::kit::valve::Valve;
use crate::kit::variables::FunctionVariables;
use crate::kit::{functions, tables};

/// Longest time to wait for an answer before a test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// The services, and everything that functions need to use them.
#[derive(Debug)]
pub struct Deployed {
    /// Valve in front of DynamoDB.
    pub dynamodb_valve: Valve,
    /// Valve in front of Secrets Manager.
    pub secrets_valve: Valve,
    /// The stand-in for Secrets Manager.
    pub secrets: SecretsManager,
    programs: BTreeMap<String, PathBuf>,
    logs: PathBuf,
    _dynamodb: DynamoDbLocal,
}

/// An HTTP response as a function returns it to API Gateway.
#[derive(Debug)]
pub struct HttpAnswer {
    /// The status.
    pub status: u64,
    /// The body; null if it is not JSON.
    pub body: Value,
}

impl Deployed {
    /// Starts the services, with `signing` and `token` as the values of the secrets of these names.
    pub async fn start(test: &str, signing: &str, token: &str) -> Result<Self> {
        let logs = logs_of_test(test)?;
        let dynamodb = DynamoDbLocal::start_in_memory(&logs.join("dynamodb.log")).await?;
        tables::create(&dynamodb.client()).await?;
        let secrets = SecretsManager::start().await?;
        secrets.put(&arn("signing"), signing);
        secrets.put(&arn("token"), token);
        Ok(Self {
            dynamodb_valve: Valve::before(&dynamodb.url()).await?,
            secrets_valve: Valve::before(&secrets.url()).await?,
            secrets,
            programs: functions::build().await?,
            logs,
            _dynamodb: dynamodb,
        })
    }

    /// Returns the environment variables of all functions.
    pub fn variables(&self) -> FunctionVariables {
        let own = [
            ("SIGILS_TABLE", tables::SIGILS.to_owned()),
            ("STATS_TABLE", tables::STATS.to_owned()),
            ("SIGNING_KEYS_SECRET_ARN", arn("signing")),
            ("METRICS_TOKEN_SECRET_ARN", arn("token")),
        ];
        let own = own.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        FunctionVariables::of(own, &self.dynamodb_valve.url(), &self.secrets_valve.url())
    }

    /// Starts a function. Its output goes to the log called `log`, and into the error if it does not start.
    pub async fn function(&self, name: &'static str, log: &str) -> Result<ExecutionEnvironment> {
        self.function_with(name, &self.variables(), log).await
    }

    /// Starts a function with these variables. Otherwise like [`function`](Self::function).
    pub async fn function_with(
        &self,
        name: &'static str,
        variables: &FunctionVariables,
        log: &str,
    ) -> Result<ExecutionEnvironment> {
        let program = self.programs.get(name).context("it is built")?.clone();
        ExecutionEnvironment::start(&Function { name, program }, variables, &self.log(log)).await
    }

    /// Returns the path of the log of this name.
    pub fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }
}

/// Sends a function a request, and waits for the response.
pub async fn ask(environment: &ExecutionEnvironment, event: &Value) -> Result<HttpAnswer> {
    match tokio::time::timeout(PATIENCE, environment.api().invoke(event)).await?? {
        Outcome::Response(response) => {
            let body = response["body"].as_str().unwrap_or_default();
            let status = response["statusCode"].as_u64().with_context(|| format!("{response} has no status"))?;
            Ok(HttpAnswer { status, body: serde_json::from_str(body).unwrap_or(json!(null)) })
        }
        Outcome::Error(error) => bail!("the invocation ended in an error: {error}"),
    }
}
