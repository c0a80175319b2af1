//! Measures the snapshots of the bundle's own functions in the table, which must be in format 2 and fit a write unit.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use aws_sdk_dynamodb::types::AttributeValue;
use harness::kit::dynamodb_local::DynamoDbLocal;
use harness::kit::execution_environment::{ExecutionEnvironment, Function};
use harness::kit::runtime_api::Outcome;
use harness::kit::variables::{DEFAULT_METRICS_TOKEN, FunctionVariables};
use harness::kit::{functions, lambda_event, tables, workspace};
use serde_json::{Value, json};

/// Number of publishes after which an environment stores its structure, unless another environment has.
const STABLE: usize = 10;

/// Largest size of a snapshot's item, in bytes.
const MOST_BYTES: usize = 600;

struct Desk {
    dynamodb: DynamoDbLocal,
    logs: PathBuf,
    programs: HashMap<&'static str, PathBuf>,
    variables: FunctionVariables,
}

impl Desk {
    async fn new() -> Result<Self> {
        let logs = workspace::local("logs/snapshots");
        std::fs::create_dir_all(&logs)?;
        let dynamodb = DynamoDbLocal::start_in_memory(&logs.join("dynamodb.log")).await?;
        tables::create(&dynamodb.client()).await?;
        let mut built = functions::build().await?;
        let programs = ["encode", "verify", "gc"].map(|name| Some((name, built.remove(name)?)));
        let programs = programs.into_iter().collect::<Option<_>>().context("they were built")?;
        let keys = sigil::keys::generate("snapshots");
        let mut variables = FunctionVariables::new(&dynamodb.url(), &keys, DEFAULT_METRICS_TOKEN);
        variables.set("STATS_PUBLISH_INTERVAL", "0s");
        variables.set("STATS_PUBLISH_BUDGET_PERCENT", "100");
        Ok(Self { dynamodb, logs, programs, variables })
    }

    /// Starts an environment of the function, and sends it this number of events.
    async fn environment(&self, function: &'static str, events: usize) -> Result<ExecutionEnvironment> {
        let program = self.programs[function].clone();
        let log = self.logs.join(format!("{function}-{events}.log"));
        let environment =
            ExecutionEnvironment::start(&Function { name: function, program }, &self.variables, &log).await?;
        let api = Arc::clone(&environment.api());
        for _ in 0..events {
            let outcome = api.invoke(&event(function)).await?;
            ensure!(matches!(outcome, Outcome::Response(_)), "{outcome:?}\n{}", environment.process().log_tail(20));
            // An environment publishes after its response, and before it asks for the next event.
            api.asks_for_event().await;
        }
        Ok(environment)
    }

    /// Returns the items of all snapshots.
    async fn snapshots(&self) -> Result<Vec<HashMap<String, AttributeValue>>> {
        let page = self
            .dynamodb
            .client()
            .query()
            .table_name(tables::STATS)
            .key_condition_expression("pk = :shard AND begins_with(sk, :writer)")
            .expression_attribute_values(":shard", AttributeValue::S("shard#0".into()))
            .expression_attribute_values(":writer", AttributeValue::S("writer#".into()))
            .consistent_read(true)
            .send()
            .await?;
        Ok(page.items.unwrap_or_default())
    }
}

fn event(function: &str) -> Value {
    match function {
        "encode" => {
            let body = json!({ "data": "snapshots" });
            lambda_event::http_request("POST", "/api/consciousness/sigils", &[], Some(&body))
        }
        "verify" => {
            let body = json!({ "token": "not a token" });
            lambda_event::http_request("POST", "/api/consciousness/sigils/verify", &[], Some(&body))
        }
        _ => lambda_event::scheduled(),
    }
}

/// Returns the size of an item, in bytes, as DynamoDB computes it; see
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html>.
fn bytes_of(item: &HashMap<String, AttributeValue>) -> usize {
    let value = |value: &AttributeValue| match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::N(digits) => digits.len().div_ceil(2) + 1,
        AttributeValue::B(bytes) => bytes.as_ref().len(),
        AttributeValue::Bool(_) => 1,
        other => panic!("no snapshot has {other:?}"),
    };
    item.iter().map(|(name, one)| name.len() + value(one)).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_each_function_is_one_write_unit() -> Result<()> {
    let desk = Desk::new().await?;
    let mut environments = Vec::new();
    for function in ["encode", "verify", "gc"] {
        // The first environment stores the structure, and the second names it from its first publish.
        environments.push(desk.environment(function, STABLE + 1).await?);
        environments.push(desk.environment(function, 1).await?);
    }
    // An environment that does not hear of its first put in time, as on a busy machine, leaves an empty sealed item.
    let mut snapshots = desk.snapshots().await?;
    snapshots.retain(|item| !item.contains_key("sealed_at"));
    assert_eq!(snapshots.len(), environments.len());
    for item in &snapshots {
        let text = |name: &str| item[name].as_s().cloned().unwrap_or_default();
        let bytes = bytes_of(item);
        println!("{} {bytes} bytes, seq {:?}", text("function"), item["seq"]);
        assert_eq!(item["format"], AttributeValue::N("2".into()), "{}", text("function"));
        assert!(bytes <= MOST_BYTES, "{} has {bytes} bytes", text("function"));
    }
    Ok(())
}
