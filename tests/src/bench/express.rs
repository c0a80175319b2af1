//! Runs the same service as it would be built for a server: Node with Express and prom-client, in one process that is
//! always on.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::kit::process::Process;
use crate::kit::runtime_api::Outcome;
use crate::kit::variables::FunctionVariables;
use crate::kit::wait::{self, Setback};
use crate::kit::{port, workspace};

/// Node starts within half a second, and takes several times as long on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server.
pub(super) struct Express {
    process: Process,
    http: reqwest::Client,
    url: String,
}

impl Express {
    /// Starts the server, and waits until it answers.
    pub(super) async fn start(variables: &FunctionVariables, log: &Path) -> Result<Self> {
        let port = port::free()?;
        let mut command = Command::new("node");
        variables.apply(&mut command);
        command.arg(workspace::root().join("tests/bench/node/express.mjs")).env("PORT", port.to_string());
        let process = Process::spawn("Express", command, log)?;
        let http = reqwest::Client::builder().no_proxy().build()?;
        let mut this = Self { process, http, url: format!("http://127.0.0.1:{port}") };
        wait::until("Express answers", PATIENCE, async || {
            this.process.ensure_running().map_err(Setback::Final)?;
            this.http.get(format!("{}/metrics", this.url)).send().await?.error_for_status()?;
            Ok(())
        })
        .await?;
        Ok(this)
    }

    /// Sends the request that an event holds. Returns the response in the form of a function's response.
    pub(super) async fn invoke(&self, event: &Value) -> Result<Outcome> {
        let path = event["rawPath"].as_str().context("an event has a path")?;
        let body = event["body"].as_str().context("an event has a body")?.to_owned();
        let request =
            self.http.post(format!("{}{path}", self.url)).header("content-type", "application/json").body(body);
        let response = request.send().await?;
        Ok(Outcome::Response(json!({ "statusCode": response.status().as_u16(), "body": response.text().await? })))
    }

    /// Returns the server's process.
    pub(super) fn process(&self) -> &Process {
        &self.process
    }
}
