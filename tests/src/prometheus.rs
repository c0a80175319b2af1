//! A real Prometheus that scrapes a bundle with the configuration from `dashboards/`.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::process::Process;
use crate::wait::{self, Setback, not_yet};
use crate::{port, workspace};

/// Prometheus spreads its first scrapes over an interval, and its start takes a second or two.
const PATIENCE: Duration = Duration::from_secs(60);

/// The file that Prometheus reads the token from before each scrape.
const TOKEN_FILE: &str = "token";

/// A running Prometheus. Its data goes with it.
#[derive(Debug)]
pub struct Prometheus {
    process: Process,
    url: String,
    http: reqwest::Client,
    folder: TempDir,
}

/// One series of a query's result.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// The labels, as a JSON object.
    pub labels: Value,
    /// The value.
    pub value: f64,
}

impl Prometheus {
    /// Starts it over the bundle at `target` (host and port), scraping once a second with `token`.
    pub async fn start(target: &str, token: &str) -> Result<Self> {
        let folder = TempDir::new()?;
        let token_file = folder.path().join(TOKEN_FILE);
        std::fs::write(&token_file, token)?;
        let config_file = folder.path().join("prometheus.yml");
        std::fs::write(&config_file, config(target, &token_file.display().to_string())?)?;

        let port = port::free()?;
        let mut command = Command::new(workspace::tool_or_path("prometheus/usr/bin/prometheus", "prometheus"));
        command
            .arg(format!("--config.file={}", config_file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let process = Process::spawn("Prometheus", command, &folder.path().join("prometheus.log"))?;
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
        let mut this = Self { process, url: format!("http://127.0.0.1:{port}"), http, folder };
        wait::until("Prometheus is ready", PATIENCE, async || {
            this.process.ensure_running().map_err(Setback::Final)?;
            this.http.get(format!("{}/-/ready", this.url)).send().await?.error_for_status()?;
            Ok(())
        })
        .await?;
        Ok(this)
    }

    /// Gives it another token, from its next scrape on. The file is replaced as a whole, for a scrape may be reading it.
    pub fn set_token(&self, token: &str) -> Result<()> {
        let new = self.folder.path().join("token.new");
        std::fs::write(&new, token)?;
        Ok(std::fs::rename(new, self.folder.path().join(TOKEN_FILE))?)
    }

    /// The result of an instant query.
    pub async fn query(&self, expression: &str) -> Result<Vec<Series>> {
        let answer: Value = self
            .http
            .get(format!("{}/api/v1/query", self.url))
            .query(&[("query", expression)])
            .send()
            .await?
            .json()
            .await?;
        ensure!(answer["status"] == "success", "{expression}: {answer}");
        let result = answer["data"]["result"].as_array().with_context(|| format!("{expression}: {answer}"))?;
        result
            .iter()
            .map(|series| {
                let value = series["value"][1].as_str().with_context(|| format!("{expression}: {series}"))?;
                Ok(Series { labels: series["metric"].clone(), value: value.parse()? })
            })
            .collect()
    }

    /// Waits until a query's result is as `accept` wants it, and returns it.
    pub async fn query_until(&self, expression: &str, accept: impl Fn(&[Series]) -> bool) -> Result<Vec<Series>> {
        wait::until(&format!("{expression} is as expected"), PATIENCE, async || {
            let result = self.query(expression).await?;
            if accept(&result) { Ok(result) } else { not_yet(format!("it is {result:?}")) }
        })
        .await
    }

    /// What Prometheus says of its one target: its health and the last error.
    pub async fn target(&self) -> Result<Value> {
        let answer: Value = self.http.get(format!("{}/api/v1/targets", self.url)).send().await?.json().await?;
        answer.pointer("/data/activeTargets/0").cloned().with_context(|| answer.to_string())
    }
}

/// The shipped configuration with another target, token and pace, and otherwise as it is.
fn config(target: &str, token_file: &str) -> Result<String> {
    let path = workspace::root().join("dashboards/prometheus.yml");
    let mut text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let changes = [
        ("127.0.0.1:9000", target),
        ("../.local/metrics-token", token_file),
        ("scrape_interval: 5s", "scrape_interval: 1s"),
    ];
    for (from, to) in changes {
        ensure!(text.contains(from), "{} does not say {from}", path.display());
        text = text.replace(from, to);
    }
    Ok(text)
}

/// Runs `promtool check metrics` over a page. The result is what it printed, as an error unless it accepted the page.
pub fn check_metrics(page: &str) -> Result<String> {
    let mut promtool = Command::new(workspace::tool_or_path("prometheus/usr/bin/promtool", "promtool"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("promtool could not be started: run scripts/fetch-tools test")?;
    promtool.stdin.take().context("it has an input")?.write_all(page.as_bytes())?;
    let output = promtool.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "promtool refuses the page:\n{said}");
    Ok(said)
}
