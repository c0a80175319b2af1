//! Serves the page that links everything that `make up` runs, and shows what has no other page: metrics behind their
//! token, tables, logs.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};
use bytes::Bytes;
use hyper::header::CONTENT_TYPE;
use hyper::{Response, StatusCode};

use crate::kit::bundle::Bundle;
use crate::kit::client::{Client, Sigil};
use crate::kit::http_server::HttpServer;
use crate::kit::workspace;
use crate::up::settings::Settings;
use crate::up::{self, observe};

const HTML: &str = "text/html; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// Functions and their purposes.
const FUNCTIONS: [(&str, &str); 4] = [
    ("encode", "creates and revokes sigils"),
    ("verify", "checks and shows them; serves the public keys"),
    ("gc", "deletes what is due, and folds the metrics of environments that are gone; the schedule's part is yours"),
    ("metrics", "renders what all of them have counted"),
];

/// Starts the page of a bundle. The record of `sigil` is linked as an example.
pub async fn start(settings: &Settings, bundle: &mut Bundle, sigil: &Sigil) -> Result<HttpServer> {
    let page = page(settings, sigil);
    let (client, tables) = (bundle.client().clone(), bundle.dynamodb().client());
    let logs = workspace::local(&up::logs(settings));
    HttpServer::answering_on(settings.index_port, move |request| {
        let (page, client, tables, logs) = (page.clone(), client.clone(), tables.clone(), logs.clone());
        async move {
            match request.uri().path() {
                "/" => answer(StatusCode::OK, HTML, page),
                "/metrics" => answer(StatusCode::OK, TEXT, metrics(&client).await?),
                "/tables" => answer(StatusCode::OK, TEXT, described(&tables).await?),
                path => match path.strip_prefix("/logs/").and_then(|name| log(&logs, name)) {
                    Some(text) => answer(StatusCode::OK, TEXT, text),
                    None => answer(StatusCode::NOT_FOUND, TEXT, format!("there is no {path}; / links what there is\n")),
                },
            }
        }
    })
    .await
}

/// Returns the URL of the page.
pub fn url(settings: &Settings) -> String {
    format!("http://127.0.0.1:{}/", settings.index_port)
}

/// Returns the names of the logs that this bundle writes.
pub fn logs(settings: &Settings) -> Vec<&'static str> {
    let observed = settings.observe.then_some("prometheus.log");
    ["functions.log", "dynamodb.log"].into_iter().chain(observed).collect()
}

fn answer(status: StatusCode, content_type: &str, text: impl Into<Bytes>) -> Result<Response<Bytes>> {
    Ok(Response::builder().status(status).header(CONTENT_TYPE, content_type).body(text.into())?)
}

async fn metrics(client: &Client) -> Result<String> {
    Ok(client.get_metrics(Some(client.token())).await?.expect(200)?.text)
}

/// Describes each table in one line.
async fn described(client: &aws_sdk_dynamodb::Client) -> Result<String> {
    let mut text = String::new();
    for name in client.list_tables().send().await?.table_names() {
        let described = client.describe_table().table_name(name).send().await?;
        let table = described.table().with_context(|| format!("{name} is not described"))?;
        let keys: Vec<&str> = table.key_schema().iter().map(|key| key.attribute_name()).collect();
        writeln!(text, "{name:<8} {:>6} items, by {}", table.item_count().unwrap_or_default(), keys.join(" and "))?;
    }
    Ok(text)
}

/// Returns the text of the log called `name`, but only if it is a plain name: a path could lead to other files.
fn log(folder: &Path, name: &str) -> Option<String> {
    let is_name = name.ends_with(".log") && !name.contains(['/', '\\']);
    let bytes = is_name.then(|| std::fs::read(folder.join(name)).ok())??;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn page(settings: &Settings, sigil: &Sigil) -> String {
    let link = |url: &str, text: &str| format!(r#"<a href="{url}">{text}</a>"#);
    let item = |(what, about): (String, &str)| format!("<tr><td>{what}</td><td>{about}</td></tr>\n");
    let list = |items: Vec<(String, &str)>| items.into_iter().map(item).collect::<String>();
    let routes = format!("http://127.0.0.1:{}", settings.port);
    let sigils = "/api/consciousness/sigils";

    let functions = list(FUNCTIONS.map(|(name, about)| (name.to_owned(), about)).into());
    let routes = list(vec![
        (format!("POST {sigils}"), "encodes"),
        (format!("POST {sigils}/verify"), "verifies"),
        (
            format!("GET {}", link(&format!("{routes}{sigils}/{}", sigil.id), &format!("{sigils}/{{id}}"))),
            "shows a record; the link shows the self-check's, which is revoked",
        ),
        (format!("DELETE {sigils}/{{id}}"), "revokes"),
        (
            format!("GET {}", link(&format!("{routes}/.well-known/jwks.json"), "/.well-known/jwks.json")),
            "the public keys",
        ),
        (
            format!("GET {}", link("/metrics", "/metrics")),
            "the page that Prometheus scrapes; the link presents the token for you",
        ),
    ]);
    let observed = if settings.observe {
        let pages = observe::pages(settings).into_iter().map(|(url, name, about)| (link(&url, name), about));
        list(pages.collect())
    } else {
        "<tr><td>make up OBSERVE=1</td><td>starts Prometheus with its alerts, and the dashboards, beside it</td></tr>\n"
            .to_owned()
    };
    let dynamodb = format!("DynamoDB Local, at http://127.0.0.1:{} for the AWS CLI", settings.dynamodb_port);
    let stored = list(vec![(link("/tables", "tables"), &dynamodb)]);
    let logs = list(logs(settings).into_iter().map(|name| (link(&format!("/logs/{name}"), name), "")).collect());
    let commands = escaped(&up::commands(settings));
    format!(
        r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<link rel="icon" href="data:,">
<title>Sigils on this machine</title>
<style>
:root {{ color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif }}
body {{ max-width: 60rem; margin: 1rem auto; padding: 0 1rem }}
h2 {{ font-size: 1rem; margin: 1.2rem 0 0 }}
td {{ padding-right: 1rem; vertical-align: top; overflow-wrap: anywhere }}
pre {{ overflow-x: auto }}
</style>
<h1>Sigils on this machine</h1>
<h2>Dashboards and alerts</h2>
<table>{observed}</table>
<h2>Routes</h2>
<table>{routes}</table>
<h2>Functions</h2>
<table>{functions}</table>
<h2>Data</h2>
<table>{stored}</table>
<h2>Logs</h2>
<table>{logs}</table>
<h2>To paste into a shell</h2>
<pre>{commands}</pre>
</html>
"#
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_logs_of_the_folder_are_shown() -> Result<()> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("functions.log"), "a line")?;
        let inner = folder.path().join("inner");
        std::fs::create_dir(&inner)?;
        assert_eq!(log(folder.path(), "functions.log").as_deref(), Some("a line"));
        assert_eq!(log(&inner, "../functions.log"), None);
        assert_eq!(log(folder.path(), "other.log"), None);
        Ok(())
    }
}
