//! Runs a real Prometheus that scrapes a bundle with the configuration from `dashboards/`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::kit::process::Process;
use crate::kit::wait::{self, Setback, not_yet};
use crate::kit::{port, workspace};

/// Prometheus spreads its first scrapes over an interval, and its start takes a second or two.
const PATIENCE: Duration = Duration::from_secs(60);

/// Text in front of the token's file in a scrape configuration.
const CREDENTIALS_FILE: &str = "credentials_file: ";

/// Options with which a Prometheus is started.
#[derive(Debug, Clone)]
pub struct Options {
    /// Host and port of the bundle that is scraped.
    pub target: String,
    /// Token that a scrape presents.
    pub token: String,
    /// Interval at which Prometheus scrapes and evaluates the rules.
    pub interval: &'static str,
    /// Port of Prometheus's pages; any free port if `None`.
    pub port: Option<u16>,
    /// Folder that Prometheus serves under `/user/`.
    pub pages: Option<PathBuf>,
    /// Features that are off by default, separated by commas.
    pub features: &'static str,
    /// Path of the log. If `None`, the log is deleted with the data.
    pub log: Option<PathBuf>,
}

impl Options {
    /// Returns the options for a test: scraping the bundle at `target` once a second with `token`.
    pub fn over(target: &str, token: &str) -> Self {
        Self {
            target: target.to_owned(),
            token: token.to_owned(),
            interval: "1s",
            port: None,
            pages: None,
            features: "",
            log: None,
        }
    }
}

/// A running Prometheus. Dropping it deletes its data.
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

/// One series of a query over a time range.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// The labels, as a JSON object.
    pub labels: Value,
    /// Times, in seconds since the epoch, and values.
    pub samples: Vec<(f64, f64)>,
}

impl Prometheus {
    /// Starts a Prometheus that scrapes the bundle at `target` (host and port) once a second with `token`.
    pub async fn start(target: &str, token: &str) -> Result<Self> {
        Self::start_with(&Options::over(target, token)).await
    }

    /// Starts a Prometheus with the shipped configuration.
    pub async fn start_with(options: &Options) -> Result<Self> {
        Self::start_configured(&shipped_config(options)?, options).await
    }

    /// Starts a Prometheus with this configuration. Options that belong in a configuration have no effect, except for
    /// the token: `credentials_file` in the configuration is set to a file that holds it.
    pub async fn start_configured(config: &str, options: &Options) -> Result<Self> {
        let folder = TempDir::new()?;
        let config_file = folder.path().join("prometheus.yml");
        std::fs::write(&config_file, with_token(config, folder.path(), &options.token)?)?;

        let port = options.port.map_or_else(port::free, Ok)?;
        let mut command = Command::new(workspace::tool_or_path("prometheus/usr/bin/prometheus", "prometheus"));
        command
            .arg(format!("--config.file={}", config_file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--web.enable-lifecycle");
        if !options.features.is_empty() {
            command.arg(format!("--enable-feature={}", options.features));
        }
        if let Some(pages) = &options.pages {
            command.arg(format!("--web.user-assets={}", pages.display()));
        }
        let log = options.log.clone().unwrap_or_else(|| folder.path().join("prometheus.log"));
        Self::ready("Prometheus", command, &log, port, folder).await
    }

    /// Starts a VictoriaMetrics instead of a Prometheus. It scrapes by the same configuration and answers the same
    /// queries, but evaluates no rules.
    pub async fn start_victoria_metrics(options: &Options) -> Result<Self> {
        let folder = TempDir::new()?;
        let config_file = folder.path().join("scrape.yml");
        std::fs::write(&config_file, with_token(&shipped_config(options)?, folder.path(), &options.token)?)?;
        let port = port::free()?;
        let path = workspace::tool_or_path("victoria-metrics/usr/bin/victoria-metrics", "victoria-metrics");
        let mut command = Command::new(path);
        command
            .arg(format!("-promscrape.config={}", config_file.display()))
            // Settings for Prometheus's rules are unknown to VictoriaMetrics.
            .arg("-promscrape.config.strictParse=false")
            .arg(format!("-storageDataPath={}", folder.path().join("data").display()))
            .arg(format!("-httpListenAddr=127.0.0.1:{port}"))
            // By default it does not answer about the last half minute, since late samples may still come.
            .arg("-search.latencyOffset=0s");
        let log = folder.path().join("victoria-metrics.log");
        Self::ready("VictoriaMetrics", command, &log, port, folder).await
    }

    async fn ready(name: &'static str, command: Command, log: &Path, port: u16, folder: TempDir) -> Result<Self> {
        let process = Process::spawn(name, command, log)?;
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build()?;
        let mut this = Self { process, url: format!("http://127.0.0.1:{port}"), http, folder };
        wait::until(&format!("{name} is ready"), PATIENCE, async || {
            this.process.ensure_running().map_err(Setback::Final)?;
            this.http.get(format!("{}/-/ready", this.url)).send().await?.error_for_status()?;
            Ok(())
        })
        .await?;
        Ok(this)
    }

    /// Changes the token as DEPLOY.md describes: writes it to a new file, and sets the configuration to that file. Some
    /// builds read a file only once.
    pub async fn rotate_token(&self, token: &str) -> Result<()> {
        let config_file = self.folder.path().join("prometheus.yml");
        let config = std::fs::read_to_string(&config_file)?;
        std::fs::write(&config_file, with_token(&config, self.folder.path(), token)?)?;
        self.reload().await
    }

    /// Lets Prometheus read its configuration and its rules again.
    pub async fn reload(&self) -> Result<()> {
        let answer = self.http.post(format!("{}/-/reload", self.url)).send().await?;
        ensure!(answer.status().is_success(), "the configuration is refused: {}", answer.text().await?);
        Ok(())
    }

    /// Returns the URL of the pages.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns an error with the end of the log if Prometheus has ended by itself.
    pub fn ensure_running(&mut self) -> Result<()> {
        self.process.ensure_running()
    }

    /// Runs an instant query.
    pub async fn query(&self, expression: &str) -> Result<Vec<Series>> {
        self.instant(&[("query", expression)]).await
    }

    /// Runs an instant query as of `time`, in seconds since the epoch.
    pub async fn query_at(&self, expression: &str, time: f64) -> Result<Vec<Series>> {
        self.instant(&[("query", expression), ("time", &time.to_string())]).await
    }

    async fn instant(&self, parameters: &[(&str, &str)]) -> Result<Vec<Series>> {
        let result = self.get("query", parameters).await?;
        result
            .iter()
            .map(|series| Ok(Series { labels: series["metric"].clone(), value: sample(&series["value"])?.1 }))
            .collect()
    }

    /// Runs a query over a time range, with a step of one second.
    pub async fn query_range(&self, expression: &str, from: f64, to: f64) -> Result<Vec<Curve>> {
        let (from, to) = (from.to_string(), to.to_string());
        let parameters = [("query", expression), ("start", &from), ("end", &to), ("step", "1")];
        let result = self.get("query_range", &parameters).await?;
        result
            .iter()
            .map(|series| {
                let samples = series["values"].as_array().into_iter().flatten().map(sample).collect::<Result<_>>()?;
                Ok(Curve { labels: series["metric"].clone(), samples })
            })
            .collect()
    }

    async fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Vec<Value>> {
        let request = self.http.get(format!("{}/api/v1/{path}", self.url)).query(parameters);
        let answer: Value = request.send().await?.json().await?;
        ensure!(answer["status"] == "success", "{parameters:?}: {answer}");
        answer["data"]["result"].as_array().cloned().with_context(|| format!("{parameters:?}: {answer}"))
    }

    /// Repeats a query until `accept` returns `true` for its result, and returns the result.
    pub async fn query_until(&self, expression: &str, accept: impl Fn(&[Series]) -> bool) -> Result<Vec<Series>> {
        wait::until(&format!("{expression} is as expected"), PATIENCE, async || {
            let result = self.query(expression).await?;
            if accept(&result) { Ok(result) } else { not_yet(format!("it is {result:?}")) }
        })
        .await
    }

    /// Returns what Prometheus reports of its one target, such as its health and the last error.
    pub async fn target(&self) -> Result<Value> {
        let answer: Value = self.http.get(format!("{}/api/v1/targets", self.url)).send().await?.json().await?;
        answer.pointer("/data/activeTargets/0").cloned().with_context(|| answer.to_string())
    }
}

/// Parses a pair of time and value; the value is a text.
fn sample(pair: &Value) -> Result<(f64, f64)> {
    let time = pair[0].as_f64().with_context(|| format!("not a sample: {pair}"))?;
    let value = pair[1].as_str().with_context(|| format!("not a sample: {pair}"))?;
    Ok((time, value.parse()?))
}

/// Returns the shipped configuration with another target, pace and path of the rules.
fn shipped_config(options: &Options) -> Result<String> {
    let path = workspace::root().join("dashboards/prometheus.yml");
    let mut text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let rules = workspace::root().join("dashboards/alerts.yml").display().to_string();
    let interval = |what: &str, value: &str| format!("{what}_interval: {value}");
    let changes = [
        ("127.0.0.1:9000", options.target.clone()),
        ("- alerts.yml", format!("- {rules}")),
        ("scrape_interval: 5s", interval("scrape", options.interval)),
        ("evaluation_interval: 5s", interval("evaluation", options.interval)),
    ];
    for (from, to) in changes {
        ensure!(text.contains(from), "{} does not say {from}", path.display());
        text = text.replace(from, &to);
    }
    Ok(text)
}

/// Writes the token to a new file in the folder, and returns the configuration with that file as its
/// `credentials_file`.
pub fn with_token(config: &str, folder: &Path, token: &str) -> Result<String> {
    let file = tempfile::Builder::new().prefix("token-").tempfile_in(folder)?.into_temp_path().keep()?;
    std::fs::write(&file, token)?;
    let (before, rest) = config.split_once(CREDENTIALS_FILE).context("the configuration has no credentials_file")?;
    let (_, after) = rest.split_once('\n').unwrap_or((rest, ""));
    Ok(format!("{before}{CREDENTIALS_FILE}{}\n{after}", file.display()))
}

/// Returns the path of promtool.
pub fn promtool() -> PathBuf {
    workspace::tool_or_path("promtool/usr/bin/promtool", "promtool")
}

/// Runs `promtool check metrics` on a page. Returns the output, as an error if promtool refuses the page.
pub fn check_metrics(page: &str) -> Result<String> {
    let mut promtool = Command::new(promtool())
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
