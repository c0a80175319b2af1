//! `make up`: runs the bundle in the foreground until it is stopped.

pub mod index;
pub mod observe;
pub mod self_check;
pub mod settings;

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};

use crate::kit::bundle::{Bundle, Options};
use crate::kit::prometheus::Prometheus;
use crate::kit::{port, workspace};
use crate::up::settings::Settings;

/// Time between two looks at the processes.
const PAUSE: Duration = Duration::from_millis(500);

/// Runs the bundle until Ctrl-C or SIGTERM, which are a success, or until something fails.
///
/// Both signals are handled from the start, so that a process that is just starting is ended as well.
pub async fn run() -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        ended = serve() => ended,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }?;
    println!("\nstopped");
    Ok(())
}

async fn serve() -> Result<()> {
    let settings = Settings::from_env()?;
    for (variable, port) in settings.ports() {
        port::ensure_free(port, variable)?;
    }

    println!("starting DynamoDB Local and the functions; their logs are in .local/{}", logs(&settings));
    let mut bundle = Bundle::start(&options(&settings)).await?;
    // A Prometheus that is started by hand reads the token from this file: see dashboards/prometheus.yml.
    let token_file = workspace::local("metrics-token");
    std::fs::write(&token_file, &settings.metrics_token).with_context(|| token_file.display().to_string())?;

    // Prometheus starts before the self-check, so that it sees what the self-check does.
    let mut prometheus = if settings.observe { Some(observe::start(&settings, bundle.client()).await?) } else { None };
    println!("checking:");
    let sigil = match self_check::run(bundle.client()).await {
        Ok(sigil) => sigil,
        Err(error) => {
            eprintln!("{}", bundle.watch().process().log_tail(30));
            return Err(error);
        }
    };
    let _index = index::start(&settings, &mut bundle, &sigil).await?;
    println!("{}", welcome(&settings));
    loop {
        bundle.ensure_running()?;
        prometheus.as_mut().map_or(Ok(()), Prometheus::ensure_running)?;
        tokio::time::sleep(PAUSE).await;
    }
}

/// Returns the folder of the bundle's logs. It contains the port, so that two bundles on one machine have different
/// folders.
pub(crate) fn logs(settings: &Settings) -> String {
    format!("logs/up-{}", settings.port)
}

fn options(settings: &Settings) -> Options {
    Options {
        port: Some(settings.port),
        dynamodb_port: Some(settings.dynamodb_port),
        metrics_token: settings.metrics_token.clone(),
        concurrency: settings.concurrency,
        data: settings.persist.then(|| workspace::local("data")),
        logs: workspace::local(&logs(settings)),
        environment: Vec::new(),
    }
}

/// Returns the text that is printed once the bundle is up.
fn welcome(settings: &Settings) -> String {
    let index = index::url(settings);
    let kept = if settings.persist { "kept in .local/data" } else { "in memory; PERSIST=1 keeps it" };
    let observed = if settings.observe {
        observe::pages(settings).map(|(url, name, _)| format!("\n  {name:<12}{url}")).concat()
    } else {
        "\n  dashboards  start it as 'make up OBSERVE=1' for Prometheus, alerts and dashboards".to_owned()
    };
    format!(
        r#"
The bundle is up. Ctrl-C ends it.

  all of it   {index}
  metrics     {index}metrics
  tables      {index}tables (DynamoDB Local on port {dynamodb}: {kept}){observed}

{commands}"#,
        dynamodb = settings.dynamodb_port,
        commands = commands(settings),
    )
}

/// Returns commands that call the bundle, ready to paste into a shell.
pub(crate) fn commands(settings: &Settings) -> String {
    let (port, token) = (settings.port, &settings.metrics_token);
    let sigils = format!("http://127.0.0.1:{port}/api/consciousness/sigils");
    let json = "-H 'content-type: application/json'";
    let watched = if settings.observe { observe::commands(settings) } else { String::new() };
    format!(
        r#"encode, and keep the token:
  SIGIL=$(curl -s {sigils} {json} -d '{{"data":{{"hello":"world"}}}}'); echo "$SIGIL"
  TOKEN=$(echo "$SIGIL" | sed 's/.*"token":"\([^"]*\)".*/\1/'); ID=$(echo "$SIGIL" | sed 's/.*"id":"\([^"]*\)".*/\1/')
verify it, then with other data:
  curl -s {sigils}/verify {json} -d "{{\"token\":\"$TOKEN\"}}"
  curl -s {sigils}/verify {json} -d "{{\"token\":\"$TOKEN\",\"data\":\"something else\"}}"
show it, and revoke it:
  curl -s {sigils}/$ID
  curl -s -X DELETE {sigils}/$ID
collect garbage:
  .tools/cargo-lambda/bin/cargo-lambda lambda invoke gc --invoke-address 127.0.0.1 --invoke-port {port} --data-ascii '{{}}'
{watched}scrape:
  curl -s -H 'Authorization: Bearer {token}' http://127.0.0.1:{port}/metrics
"#
    )
}
