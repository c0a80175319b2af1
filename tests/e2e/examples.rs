//! Runs the examples of prometheus-dynamodb, each under its own Runtime API, as a team that uses only this crate would.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use harness::kit::dynamodb_local::DynamoDbLocal;
use harness::kit::execution_environment::{ExecutionEnvironment, Function};
use harness::kit::runtime_api::{Outcome, RuntimeApi};
use harness::kit::variables::{DEFAULT_METRICS_TOKEN, FunctionVariables};
use harness::kit::wait::{self, not_yet};
use harness::kit::{functions, lambda_event, tables, workspace};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(30);

/// Lines that the page must have once all functions have been invoked.
const EXPECTED: [&str; 7] = [
    "ordered_items_total 3",
    "http_request_duration_seconds_count{method=\"GET\"} 1",
    "messages_total{outcome=\"done\"} 1",
    "messages_total{outcome=\"failed\"} 1",
    "jobs_total 4",
    "lambda_invocations_total{function=\"concurrent\"} 4",
    "prometheus_dynamodb_burials_total 0",
];

async fn response(api: &RuntimeApi, event: &Value) -> Result<Value> {
    match api.invoke(event).await? {
        Outcome::Response(response) => Ok(response),
        Outcome::Error(error) => anyhow::bail!("{error}"),
    }
}

/// Scrapes with this token. Returns the status and the body.
async fn scrape(api: &RuntimeApi, token: &str) -> Result<(u64, String)> {
    let authorization = format!("Bearer {token}");
    let headers = [("authorization", authorization.as_str())];
    let page = response(api, &lambda_event::http_request("GET", "/metrics", &headers, None)).await?;
    let body = page["body"].as_str().context("it has a body")?.to_owned();
    Ok((page["statusCode"].as_u64().context("it has a status")?, body))
}

struct Stack {
    programs: std::collections::BTreeMap<String, PathBuf>,
    variables: FunctionVariables,
    logs: PathBuf,
}

impl Stack {
    async fn start(&self, name: &'static str) -> Result<ExecutionEnvironment> {
        let program = self.programs[name].clone();
        let log: &Path = &self.logs.join(format!("{name}.log"));
        ExecutionEnvironment::start(&Function { name, program }, &self.variables, log).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_publish_are_scraped_and_compacted() -> Result<()> {
    let logs = workspace::local("logs/examples");
    std::fs::create_dir_all(&logs)?;
    let dynamodb = DynamoDbLocal::start_in_memory(&logs.join("dynamodb.log")).await?;
    tables::create_stats(&dynamodb.client(), tables::STATS).await?;
    let mut variables = FunctionVariables::new(&dynamodb.url(), "", DEFAULT_METRICS_TOKEN);
    variables.set("AWS_LAMBDA_MAX_CONCURRENCY", "4");
    let stack = Stack { programs: functions::build_examples().await?, variables, logs };

    let event = stack.start("event").await?;
    ensure!(response(&event.api(), &json!({ "items": 3 })).await? == "ordered");

    let http = stack.start("http").await?;
    let answer = response(&http.api(), &lambda_event::http_request("GET", "/world", &[], None)).await?;
    ensure!(answer["body"] == "hello from /world\n", "{answer}");

    let sqs = stack.start("sqs").await?;
    let messages = [("a", "1"), ("b", "no number")].map(|(id, body)| json!({ "messageId": id, "body": body }));
    let answer = response(&sqs.api(), &json!({ "Records": messages })).await?;
    ensure!(answer == json!({ "batchItemFailures": [{ "itemIdentifier": "b" }] }), "{answer}");

    let concurrent = stack.start("concurrent").await?;
    let api = concurrent.api();
    try_join_all((0..4).map(|_| response(&api, &Value::Null))).await?;

    let compactor = stack.start("compactor").await?;
    let report = response(&compactor.api(), &lambda_event::scheduled()).await?;
    ensure!(report["finished"] == true, "{report}");

    let scraper = stack.start("scraper").await?;
    ensure!(scrape(&scraper.api(), "another-token").await?.0 == 401);
    // An environment publishes after its response, so the last publish may still be under way.
    wait::until("the page shows what was counted", PATIENCE, async || {
        let (status, page) = scrape(&scraper.api(), DEFAULT_METRICS_TOKEN).await?;
        let missing = EXPECTED.iter().find(|line| !page.lines().any(|shown| shown == **line));
        match missing {
            None if status == 200 => Ok(()),
            _ => not_yet(format!("{status}, without {missing:?}:\n{page}")),
        }
    })
    .await?;
    // On SIGTERM an environment marks its snapshot closed, within the time that Lambda leaves it.
    event.terminate().await?;
    let (_, page) = scrape(&scraper.api(), DEFAULT_METRICS_TOKEN).await?;
    ensure!(page.contains("\nprometheus_dynamodb_writers{state=\"closed\"} 1\n"), "{page}");
    Ok(())
}
