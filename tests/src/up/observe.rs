//! `make up OBSERVE=1`: runs Prometheus beside the bundle, with the rules loaded and the dashboards on its pages.

use anyhow::{Context, Result, ensure};

use crate::kit::client::Client;
use crate::kit::prometheus::{Options, Prometheus};
use crate::kit::workspace;
use crate::up;
use crate::up::settings::Settings;

/// Counters that the self-check increments.
const COUNTED: [&str; 3] = ["sigil_encode_total", "sigil_verify_total", "sigil_gc_total"];

/// Starts Prometheus over a bundle, and waits until it has seen each counter at 0: no rate shows the increments from
/// before a counter's first sample.
pub async fn start(settings: &Settings, client: &Client) -> Result<Prometheus> {
    let pages = workspace::root().join("dashboards/draw/dist");
    ensure!(
        pages.join("index.html").exists(),
        "the dashboards' pages are not built: start this by 'make up OBSERVE=1'"
    );
    println!("starting Prometheus, and waiting for its first scrape");
    // gc has not been invoked yet, and so has published nothing.
    client.wake_gc().await?;
    let prometheus = Prometheus::start_with(&Options {
        target: client.url().strip_prefix("http://").context("it has a scheme")?.to_owned(),
        token: settings.metrics_token.clone(),
        interval: "5s",
        port: Some(settings.prometheus_port),
        pages: Some(pages),
        features: "",
        log: Some(workspace::local(&up::logs(settings)).join("prometheus.log")),
    })
    .await?;
    for counter in COUNTED {
        prometheus.query_until(counter, |series| !series.is_empty()).await?;
    }
    Ok(prometheus)
}

/// Returns the pages to look at: URL, name and content.
pub fn pages(settings: &Settings) -> [(String, &'static str, &'static str); 4] {
    let at = |path: &str| format!("http://127.0.0.1:{}{path}", settings.prometheus_port);
    [
        (at("/user/?dashboard=service"), "dashboards", "what clients ask of the service, what they get, and how fast"),
        (at("/user/?dashboard=pipeline"), "pipeline", "whether the metrics can be trusted"),
        (at("/user/?dashboard=alerts"), "alerts", "what is watched, and which of it fires"),
        // The link goes to the API, since not every build of Prometheus has its own pages.
        (at("/api/v1/query?query=sigil_encode_total"), "Prometheus", "the answer to a query"),
    ]
}

/// Returns a command that sends requests, so that there is something to see.
pub fn commands(settings: &Settings) -> String {
    let port = settings.port;
    format!(
        r#"send something every now and then, and watch it come; Ctrl-C ends it:
  while sleep 0.2; do curl -s http://127.0.0.1:{port}/api/consciousness/sigils -H 'content-type: application/json' -d '{{"data":{{"at":"'$(date +%s)'"}}}}' >/dev/null; done
"#
    )
}
