//! A real Prometheus that scrapes a bundle with the configuration from `dashboards/`.

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

/// What stands before the file of the token in a scrape configuration.
const CREDENTIALS_FILE: &str = "credentials_file: ";

/// How to start one.
#[derive(Debug, Clone)]
pub struct Options {
    /// The bundle that is scraped: host and port.
    pub target: String,
    /// What a scrape presents.
    pub token: String,
    /// How often it scrapes, and evaluates the rules.
    pub interval: &'static str,
    /// Where its pages are; any free port if `None`.
    pub port: Option<u16>,
    /// A folder that it serves under `/user/`.
    pub pages: Option<PathBuf>,
    /// Features that are off by default, separated by commas.
    pub features: &'static str,
    /// Its log. If `None`, it goes with its data.
    pub log: Option<PathBuf>,
}

impl Options {
    /// One for a test, over the bundle at `target`, scraping once a second with `token`.
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

/// One series of a query over a time range: its labels, and its samples by time in seconds since the epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// The labels, as a JSON object.
    pub labels: Value,
    /// Times and values.
    pub samples: Vec<(f64, f64)>,
}

impl Prometheus {
    /// Starts it over the bundle at `target` (host and port), scraping once a second with `token`.
    pub async fn start(target: &str, token: &str) -> Result<Self> {
        Self::start_with(&Options::over(target, token)).await
    }

    /// Starts it.
    pub async fn start_with(options: &Options) -> Result<Self> {
        Self::start_configured(&shipped_config(options)?, options).await
    }

    /// Starts it with this configuration. Of the options, those that are in a configuration have no effect, apart from the
    /// token: the configuration's `credentials_file` becomes a file with it.
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

    /// Starts a VictoriaMetrics in its place: it scrapes by the same configuration and answers the same queries, but
    /// evaluates no rules.
    pub async fn start_victoria_metrics(options: &Options) -> Result<Self> {
        let folder = TempDir::new()?;
        let config_file = folder.path().join("scrape.yml");
        std::fs::write(&config_file, with_token(&shipped_config(options)?, folder.path(), &options.token)?)?;
        let port = port::free()?;
        let path = workspace::tool_or_path("victoria-metrics/usr/bin/victoria-metrics", "victoria-metrics");
        let mut command = Command::new(path);
        command
            .arg(format!("-promscrape.config={}", config_file.display()))
            // What is for Prometheus's rules is none of its settings.
            .arg("-promscrape.config.strictParse=false")
            .arg(format!("-storageDataPath={}", folder.path().join("data").display()))
            .arg(format!("-httpListenAddr=127.0.0.1:{port}"))
            // It would not answer about the last half minute, since late samples may still come.
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

    /// Gives it another token as DEPLOY.md says: in a file of another name, which the configuration then names. Some builds
    /// read a file once only.
    pub async fn rotate_token(&self, token: &str) -> Result<()> {
        let config_file = self.folder.path().join("prometheus.yml");
        let config = std::fs::read_to_string(&config_file)?;
        std::fs::write(&config_file, with_token(&config, self.folder.path(), token)?)?;
        self.reload().await
    }

    /// Lets it read its configuration and its rules again.
    pub async fn reload(&self) -> Result<()> {
        let answer = self.http.post(format!("{}/-/reload", self.url)).send().await?;
        ensure!(answer.status().is_success(), "the configuration is refused: {}", answer.text().await?);
        Ok(())
    }

    /// Where its pages are.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// An error with the end of its log if it has ended on its own.
    pub fn ensure_running(&mut self) -> Result<()> {
        self.process.ensure_running()
    }

    /// The result of an instant query.
    pub async fn query(&self, expression: &str) -> Result<Vec<Series>> {
        self.instant(&[("query", expression)]).await
    }

    /// The result of an instant query as it would have been at that time, in seconds since the epoch.
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

    /// The result of a query over a time range, once a second.
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

/// A pair of time and value, of which the value is a text.
fn sample(pair: &Value) -> Result<(f64, f64)> {
    let time = pair[0].as_f64().with_context(|| format!("not a sample: {pair}"))?;
    let value = pair[1].as_str().with_context(|| format!("not a sample: {pair}"))?;
    Ok((time, value.parse()?))
}

/// The shipped configuration with another target and pace, and otherwise as it is.
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

/// Writes the token to a new file in the folder, and returns the configuration with that as its `credentials_file`.
pub fn with_token(config: &str, folder: &Path, token: &str) -> Result<String> {
    let file = tempfile::Builder::new().prefix("token-").tempfile_in(folder)?.into_temp_path().keep()?;
    std::fs::write(&file, token)?;
    let (before, rest) = config.split_once(CREDENTIALS_FILE).context("the configuration has no credentials_file")?;
    let (_, after) = rest.split_once('\n').unwrap_or((rest, ""));
    Ok(format!("{before}{CREDENTIALS_FILE}{}\n{after}", file.display()))
}

/// The promtool of the Prometheus that the tests run.
pub fn promtool() -> PathBuf {
    workspace::tool_or_path("promtool/usr/bin/promtool", "promtool")
}

/// Runs `promtool check metrics` over a page. The result is what it printed, as an error unless it accepted the page.
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
