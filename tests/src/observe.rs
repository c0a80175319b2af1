//! `make up OBSERVE=1`: Prometheus beside the bundle, with the rules loaded, and the dashboards on its pages.

use anyhow::{Context, Result, ensure};

use crate::client::Client;
use crate::prometheus::{Options, Prometheus};
use crate::settings::Settings;
use crate::{up, workspace};

/// Starts it over this bundle.
pub async fn start(settings: &Settings, client: &Client) -> Result<Prometheus> {
    let pages = workspace::root().join("dashboards/draw/dist");
    ensure!(
        pages.join("index.html").exists(),
        "the dashboards' pages are not built: start this by 'make up OBSERVE=1'"
    );
    Prometheus::start_with(&Options {
        target: client.url().strip_prefix("http://").context("it has a scheme")?.to_owned(),
        token: settings.metrics_token.clone(),
        interval: "5s",
        port: Some(settings.prometheus_port),
        pages: Some(pages),
        features: "",
        log: Some(workspace::local(&up::logs(settings)).join("prometheus.log")),
    })
    .await
}

/// Where to look, and what to send so that there is something to see.
pub fn welcome(settings: &Settings) -> String {
    let (port, prometheus) = (settings.port, settings.prometheus_port);
    format!(
        r#"
see it:
  dashboards http://127.0.0.1:{prometheus}/user/
  Prometheus http://127.0.0.1:{prometheus}/graph, its alerts http://127.0.0.1:{prometheus}/alerts
send something every now and then, and watch it come; Ctrl-C ends it:
  while sleep 0.2; do curl -s http://127.0.0.1:{port}/api/consciousness/sigils -H 'content-type: application/json' -d '{{"data":{{"at":"'$(date +%s)'"}}}}' >/dev/null; done
"#
    )
}
