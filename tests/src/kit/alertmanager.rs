//! Runs a real Alertmanager with the configuration from `dashboards/`, and keeps the notifications that it sends.

use std::fmt::Write;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use hyper::Response;
use serde::Deserialize;
use tempfile::TempDir;

use crate::kit::http_server::HttpServer;
use crate::kit::process::Process;
use crate::kit::wait::{self, Setback};
use crate::kit::{port, workspace};

const PATIENCE: Duration = Duration::from_secs(30);

/// A notification that a receiver is sent: the alerts of one group.
#[derive(Debug, Clone, Deserialize)]
pub struct Notification {
    /// Name of the receiver in the configuration.
    pub receiver: String,
    /// `firing` if any of the alerts fires, otherwise `resolved`.
    pub status: String,
    /// Alerts of the group that are not inhibited.
    pub alerts: Vec<Alert>,
}

/// An alert in a notification.
#[derive(Debug, Clone, Deserialize)]
pub struct Alert {
    /// `firing` or `resolved`.
    pub status: String,
    /// Labels that the rules and the scrape configuration set.
    pub labels: serde_json::Map<String, serde_json::Value>,
}

impl Alert {
    /// Returns a label's value, or an empty text if the alert has no such label.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).and_then(|value| value.as_str()).unwrap_or_default()
    }
}

/// A running Alertmanager.
#[derive(Debug)]
pub struct Alertmanager {
    _process: Process,
    address: String,
    notifications: Arc<Mutex<Vec<Notification>>>,
    _receivers: HttpServer,
    _folder: TempDir,
}

impl Alertmanager {
    /// Starts an Alertmanager with the shipped configuration, in which `pace` may change how long it waits.
    pub async fn start(pace: impl Fn(&str) -> Result<String>) -> Result<Self> {
        let notifications: Arc<Mutex<Vec<Notification>>> = Arc::default();
        let kept = Arc::clone(&notifications);
        let receivers = HttpServer::answering(move |request| {
            let kept = Arc::clone(&kept);
            async move {
                let notification = serde_json::from_slice(request.body())?;
                kept.lock().expect("no one panics while holding the lock").push(notification);
                Ok(Response::new(Bytes::new()))
            }
        })
        .await?;
        let folder = TempDir::new()?;
        let config_file = folder.path().join("alertmanager.yml");
        let shipped = std::fs::read_to_string(workspace::root().join("dashboards/alertmanager.yml"))?;
        std::fs::write(&config_file, pace(&with_receivers(&shipped, &receivers.url())?)?)?;

        let address = format!("127.0.0.1:{}", port::free()?);
        let mut command = match workspace::tool("alertmanager") {
            Ok(folder) => {
                let mut command = Command::new(folder.join("usr/bin/prometheus-alertmanager"));
                // Alertmanager finds its templates in this folder: see scripts/fetch-tools.
                command.current_dir(folder);
                command
            }
            Err(_) => Command::new("alertmanager"),
        };
        command
            .arg(format!("--config.file={}", config_file.display()))
            .arg(format!("--storage.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            // An empty address turns clustering off: this Alertmanager is the only one.
            .arg("--cluster.listen-address=");
        let mut process = Process::spawn("Alertmanager", command, &folder.path().join("alertmanager.log"))?;
        let http = reqwest::Client::builder().no_proxy().build()?;
        wait::until("Alertmanager is ready", PATIENCE, async || {
            process.ensure_running().map_err(Setback::Final)?;
            http.get(format!("http://{address}/-/ready")).send().await?.error_for_status()?;
            Ok(())
        })
        .await?;
        Ok(Self { _process: process, address, notifications, _receivers: receivers, _folder: folder })
    }

    /// Returns the address to which Prometheus sends alerts: host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Returns all notifications that a receiver was sent, in order.
    pub fn notifications(&self, receiver: &str) -> Vec<Notification> {
        let all = self.notifications.lock().expect("no one panics while holding the lock");
        all.iter().filter(|notification| notification.receiver == receiver).cloned().collect()
    }
}

/// Adds a webhook at `url` to each receiver.
fn with_receivers(shipped: &str, url: &str) -> Result<String> {
    let (mut text, mut count) = (String::new(), 0);
    for line in shipped.lines() {
        writeln!(text, "{line}")?;
        if line.starts_with("  - name: ") {
            writeln!(text, "    webhook_configs: [{{ url: \"{url}\" }}]")?;
            count += 1;
        }
    }
    ensure!(count > 0, "alertmanager.yml has no receivers");
    Ok(text)
}

/// Returns the names of the alerts in `notifications` that have this status.
pub fn alert_names(notifications: &[Notification], status: &str) -> Result<std::collections::BTreeSet<String>> {
    let alerts = notifications.iter().flat_map(|notification| &notification.alerts);
    alerts
        .filter(|alert| alert.status == status)
        .map(|alert| {
            let name = alert.labels.get("alertname").and_then(|name| name.as_str());
            name.map(str::to_owned).context("an alert has a name")
        })
        .collect()
}
