//! Provides what the parts that start functions share: a database with the bundle's tables, and a folder for the logs.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::subject::Subject;
use crate::kit::dynamodb_local::DynamoDbLocal;
use crate::kit::execution_environment::ExecutionEnvironment;
use crate::kit::variables::{DEFAULT_METRICS_TOKEN, FunctionVariables};
use crate::kit::{tables, workspace};

/// A database, and settings with which functions are started beside it.
pub(super) struct Desk {
    /// The database.
    pub dynamodb: DynamoDbLocal,
    /// The functions' settings.
    pub variables: FunctionVariables,
    /// Folder of the functions' logs.
    pub logs: PathBuf,
}

impl Desk {
    /// Starts the database and creates the tables.
    pub(super) async fn start() -> Result<Self> {
        let logs = workspace::local("logs/bench");
        std::fs::create_dir_all(&logs).with_context(|| logs.display().to_string())?;
        let dynamodb = DynamoDbLocal::start_in_memory(&logs.join("dynamodb.log")).await?;
        tables::create(&dynamodb.client()).await?;
        let mut variables =
            FunctionVariables::new(&dynamodb.url(), &sigil::keys::generate("bench"), DEFAULT_METRICS_TOKEN);
        // Without this variable, the SDK for Node would warn at each start that it is about to drop this version of
        // Node.
        variables.set("AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED", "true");
        Ok(Self { dynamodb, variables, logs })
    }

    /// Starts an environment of this subject.
    pub(super) async fn environment(&self, subject: &Subject) -> Result<ExecutionEnvironment> {
        self.environment_with(subject, &self.variables).await
    }

    /// Starts an environment of this subject with other settings.
    pub(super) async fn environment_with(
        &self,
        subject: &Subject,
        variables: &FunctionVariables,
    ) -> Result<ExecutionEnvironment> {
        ExecutionEnvironment::start(&subject.function, variables, &self.logs.join(format!("{}.log", subject.name)))
            .await
    }
}
