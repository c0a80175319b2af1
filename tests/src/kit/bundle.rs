//! Starts the whole bundle: DynamoDB Local, its tables, and the functions on one port.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::kit::client::Client;
use crate::kit::dynamodb_local::{DynamoDbLocal, Storage};
use crate::kit::variables::{DEFAULT_METRICS_TOKEN, FunctionVariables};
use crate::kit::watch::Watch;
use crate::kit::{keys, port, tables, workspace};

/// Options with which a bundle is started.
#[derive(Debug, Clone)]
pub struct Options {
    /// Port of the routes; any free port if `None`.
    pub port: Option<u16>,
    /// Port of DynamoDB Local; any free port if `None`.
    pub dynamodb_port: Option<u16>,
    /// Token that a scrape must present.
    pub metrics_token: String,
    /// Largest number of processes that each function may have.
    pub concurrency: u16,
    /// Folder in which data and keys outlive the bundle; if `None`, they are lost with it.
    pub data: Option<PathBuf>,
    /// Folder of the logs. Anything in it from an earlier run is deleted.
    pub logs: PathBuf,
    /// Environment variables that the functions get besides the usual ones, or instead of them; `None` removes a
    /// variable.
    pub environment: Vec<(&'static str, Option<String>)>,
}

impl Options {
    /// Returns the options of a bundle for a test: on free ports, in memory, with logs that can be read after the test.
    pub fn for_test(test: &str) -> Self {
        Self {
            port: None,
            dynamodb_port: None,
            metrics_token: DEFAULT_METRICS_TOKEN.to_owned(),
            concurrency: 1,
            data: None,
            logs: test_logs(test),
            environment: Vec::new(),
        }
    }

    /// Lets each function have up to `concurrency` processes.
    pub fn concurrency(self, concurrency: u16) -> Self {
        Self { concurrency, ..self }
    }

    /// Sets one of the functions' environment variables.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.environment.push((name, Some(value.into())));
        self
    }

    /// Removes one of the functions' environment variables.
    pub fn without(mut self, name: &'static str) -> Self {
        self.environment.push((name, None));
        self
    }
}

/// A running bundle. Dropping it ends its processes in the order of the fields: the functions publish a last time when
/// they are asked to end, and need the database for that.
#[derive(Debug)]
pub struct Bundle {
    watch: Watch,
    dynamodb: DynamoDbLocal,
    client: Client,
}

impl Bundle {
    /// Starts everything and waits until the functions answer.
    pub async fn start(options: &Options) -> Result<Self> {
        recreate(&options.logs)?;
        let (storage, signing_keys) = match &options.data {
            None => (Storage::Memory, sigil::keys::generate("local")),
            Some(folder) => {
                std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
                (Storage::Folder(folder.clone()), keys::load_or_generate(&folder.join("signing-keys.json"))?)
            }
        };
        let dynamodb_port = options.dynamodb_port.map_or_else(port::free, Ok)?;
        let dynamodb = DynamoDbLocal::start(dynamodb_port, storage, &options.logs.join("dynamodb.log")).await?;
        tables::create(&dynamodb.client()).await?;

        let mut environment = FunctionVariables::new(&dynamodb.url(), &signing_keys, &options.metrics_token);
        options.environment.iter().for_each(|(name, value)| match value {
            Some(value) => environment.set(name, value),
            None => environment.remove(name),
        });
        let port = options.port.map_or_else(port::free, Ok)?;
        let watch = Watch::start(port, options.concurrency, environment, options.logs.join("functions.log")).await?;
        let client = Client::new(&watch.url(), &options.metrics_token)?;
        Ok(Self { watch, dynamodb, client })
    }

    /// Returns a client of the bundle's routes.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Returns the bundle's database, which a test may stop and start again.
    pub fn dynamodb(&mut self) -> &mut DynamoDbLocal {
        &mut self.dynamodb
    }

    /// Ends the functions, which publish a last time, and starts them again.
    pub async fn restart_functions(self) -> Result<Self> {
        Ok(Self { watch: self.watch.restart().await?, ..self })
    }

    /// Returns the bundle's functions.
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Returns an error with the end of a log if any of the bundle's processes has ended by itself.
    pub fn ensure_running(&mut self) -> Result<()> {
        self.watch.ensure_running()?;
        self.dynamodb.ensure_running()
    }
}

/// Creates the folder of a test's logs, for a test that starts no bundle, and returns its path.
pub fn logs_of_test(test: &str) -> Result<PathBuf> {
    let folder = test_logs(test);
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder)
}

fn test_logs(test: &str) -> PathBuf {
    workspace::local("logs/tests").join(test)
}

fn recreate(folder: &Path) -> Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())
}
