//! Runs the functions under `cargo lambda watch`, on one port with the routes that they have in production.
//!
//! Users of this module must respect two limits of `cargo lambda watch`. It hangs for good above about 100 requests at
//! once. It does not restart a function's process that has died, so that the function's requests hang.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use crate::kit::process::Process;
use crate::kit::variables::FunctionVariables;
use crate::kit::wait::{self, Setback};
use crate::kit::{functions, workspace};

/// A prebuilt function answers within half a second; several on a busy machine answer within a few seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// Functions that answer HTTP requests. The remaining one, gc, starts when it is first invoked.
const HTTP_FUNCTIONS: [&str; 3] = ["encode", "verify", "metrics"];

/// The running functions.
#[derive(Debug)]
pub struct Watch {
    process: Process,
    port: u16,
    concurrency: u16,
    environment: FunctionVariables,
    log: PathBuf,
}

impl Watch {
    /// Builds the functions, starts them, and waits until they answer. Each function may have at most `concurrency`
    /// processes.
    pub async fn start(port: u16, concurrency: u16, environment: FunctionVariables, log: PathBuf) -> Result<Self> {
        let mut this = Self::idle(port, concurrency, environment, log).await?;
        for function in HTTP_FUNCTIONS {
            this.answers(function).await?;
        }
        Ok(this)
    }

    /// Ends the functions, which publish a last time, and starts them again on the same port.
    pub async fn restart(self) -> Result<Self> {
        let Self { process, port, concurrency, environment, log } = self;
        drop(process);
        Self::start(port, concurrency, environment, log).await
    }

    /// Builds the functions and starts `cargo lambda watch`. Each function starts when it is first invoked.
    pub async fn idle(port: u16, concurrency: u16, environment: FunctionVariables, log: PathBuf) -> Result<Self> {
        functions::build().await?;
        let process = Process::spawn("cargo lambda watch", command(port, concurrency, &environment)?, &log)?;
        let mut this = Self { process, port, concurrency, environment, log };
        let http = reqwest::Client::builder().no_proxy().build()?;
        let address = this.url();
        wait::until("cargo lambda watch listens", PATIENCE, async || {
            this.process.ensure_running().map_err(Setback::Final)?;
            http.get(format!("{address}/lambda-url/")).send().await?;
            Ok(())
        })
        .await?;
        Ok(this)
    }

    /// Returns the URL of the routes.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns an error with the end of the log if `cargo lambda watch` has ended by itself.
    pub fn ensure_running(&mut self) -> Result<()> {
        self.process.ensure_running()
    }

    /// Returns the process of `cargo lambda watch`.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Waits until a function answers a request on its own path, which bypasses all routes. `encode` and `verify` count it as a
    /// request without a route.
    pub async fn answers(&mut self, function: &str) -> Result<()> {
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
        let url = format!("{}/lambda-url/{function}/", self.url());
        wait::until(&format!("{function} answers"), PATIENCE, async || {
            if let Some(status) = self.process.exit_status().map_err(Setback::Final)? {
                return Err(Setback::Final(anyhow!("{} has ended ({status})", self.process.name())));
            }
            // `cargo lambda watch` only logs that a function's process has ended, and keeps the requests waiting.
            if self.process.output().map_err(Setback::Final)?.contains("command exited") {
                return Err(Setback::Final(anyhow!("{function} has ended")));
            }
            http.get(&url).send().await?;
            Ok(())
        })
        .await
        .with_context(|| self.process.log_tail(20))
    }
}

fn command(port: u16, concurrency: u16, environment: &FunctionVariables) -> Result<Command> {
    let mut command = Command::new(workspace::tool("cargo-lambda/bin/cargo-lambda")?);
    command
        .current_dir(workspace::root())
        .args(["lambda", "watch", "--ignore-changes", "--color", "never", "--invoke-address", "127.0.0.1"])
        .args(["--invoke-port", &port.to_string(), "--concurrency", &concurrency.to_string()]);
    environment.apply(&mut command);
    Ok(command)
}
