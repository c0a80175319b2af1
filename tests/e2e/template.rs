//! `template.yaml` is sound, and says the same as the routes that run on a desk.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use aws_sdk_dynamodb::types::{AttributeValue, TimeToLiveStatus};
use local_bundle::dynamodb_local::DynamoDbLocal;
use local_bundle::template::Template;
use local_bundle::{tables, workspace};
use serde_json::Value;
use tempfile::TempDir;

type Routes = BTreeSet<(String, String, String)>;

#[test]
fn cfn_lint_has_no_complaint() -> Result<()> {
    let checks = workspace::tool("checks")?;
    let output = Command::new("python3")
        .arg(checks.join("bin/cfn-lint"))
        .env("PYTHONPATH", &checks)
        .arg("--template")
        .arg(workspace::root().join("template.yaml"))
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    Ok(())
}

/// The scrape is the exception: in production it has a URL of its own, so that clients and scrapers do not share limits.
#[test]
fn the_desk_has_the_routes_of_production() -> Result<()> {
    let mut here = routes_of_watch()?;
    here.retain(|(_, path, _)| path != "/metrics");
    assert_eq!(routes_of_template()?, here);
    Ok(())
}

/// No linter refuses `rate(1 hours)`, and the deployment does.
#[test]
fn schedules_are_spelled_as_the_service_wants_them() -> Result<()> {
    let mut found = 0;
    for (event, schedule) in events("Schedule")?.iter().filter_map(|(_, event)| Some((event, event.get("Schedule")?))) {
        let rate = schedule.as_str().and_then(|text| text.strip_prefix("rate(")?.strip_suffix(')')?.split_once(' '));
        let (count, unit) = rate.with_context(|| format!("not a rate: {event}"))?;
        assert_eq!(count == "1", !unit.ends_with('s'), "{schedule}");
        found += 1;
    }
    assert_eq!(found, 1);
    Ok(())
}

#[test]
fn each_function_may_do_what_it_does_and_no_more() -> Result<()> {
    let allowed = |function: &str| -> Result<BTreeSet<String>> {
        let template = Template::read()?;
        let resource = template.resources.get(function).context("no such function")?;
        let statements = resource.properties.pointer("/Policies/0/Statement").and_then(Value::as_array);
        let statements = statements.with_context(|| format!("{function} has no statements"))?;
        let mut allowed = BTreeSet::new();
        for statement in statements {
            let resource = statement["Resource"].as_str().context("one resource a statement")?;
            for action in statement["Action"].as_array().context("a list of actions")? {
                allowed.insert(format!("{} on {resource}", action.as_str().context("a name")?));
            }
        }
        Ok(allowed)
    };
    let set = |actions: &[&str]| -> BTreeSet<String> { actions.iter().map(|&action| action.to_owned()).collect() };
    let publish = ["dynamodb:GetItem on StatsTable.Arn", "dynamodb:PutItem on StatsTable.Arn"];
    let with_publish = |actions: &[&str]| set(&[actions, &publish].concat());

    let encode = ["dynamodb:PutItem on SigilsTable.Arn", "dynamodb:UpdateItem on SigilsTable.Arn"];
    assert_eq!(allowed("EncodeFunction")?, with_publish(&encode));
    assert_eq!(allowed("VerifyFunction")?, with_publish(&["dynamodb:GetItem on SigilsTable.Arn"]));
    let gc = ["dynamodb:DeleteItem on SigilsTable.Arn", "dynamodb:Query on ${SigilsTable.Arn}/index/due-index"];
    assert_eq!(allowed("GcFunction")?, with_publish(&gc));
    let metrics = ["dynamodb:GetItem on StatsTable.Arn", "dynamodb:Query on StatsTable.Arn"];
    assert_eq!(allowed("MetricsFunction")?, set(&metrics));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn its_tables_can_be_created_twice_and_hold_items() -> Result<()> {
    let folder = TempDir::new()?;
    let dynamodb = DynamoDbLocal::start_in_memory(&folder.path().join("dynamodb.log")).await?;
    let client = dynamodb.client();
    tables::create(&client).await?;
    tables::create(&client).await?;

    for table in [tables::SIGILS, tables::STATS] {
        let expiry = client.describe_time_to_live().table_name(table).send().await?;
        let expiry = expiry.time_to_live_description().context("there is one")?;
        assert_eq!(expiry.attribute_name(), Some("ttl"));
        assert_eq!(expiry.time_to_live_status(), Some(&TimeToLiveStatus::Enabled));
    }
    let text = |value: &str| AttributeValue::S(value.into());
    client
        .put_item()
        .table_name(tables::SIGILS)
        .item("id", text("a"))
        .item("gc_shard", text("0"))
        .item("due", AttributeValue::N("1".into()))
        .send()
        .await?;
    let due = client
        .query()
        .table_name(tables::SIGILS)
        .index_name("due-index")
        .key_condition_expression("gc_shard = :shard AND due <= :now")
        .expression_attribute_values(":shard", text("0"))
        .expression_attribute_values(":now", AttributeValue::N("2".into()))
        .send()
        .await?;
    assert_eq!(due.count(), 1);
    client.put_item().table_name(tables::STATS).item("pk", text("a")).item("sk", text("b")).send().await?;
    Ok(())
}

/// Every event of a kind, with its function's program.
fn events(kind: &str) -> Result<Vec<(String, Value)>> {
    let template = Template::read()?;
    let functions = template.resources.iter().filter(|(_, resource)| resource.kind == "AWS::Serverless::Function");
    let mut found = Vec::new();
    for (name, resource) in functions {
        let program = name.strip_suffix("Function").context("a function's name ends so")?.to_lowercase();
        let events = resource.properties.get("Events").and_then(Value::as_object);
        for event in events.into_iter().flat_map(|events| events.values()).filter(|event| event["Type"] == kind) {
            found.push((program.clone(), event["Properties"].clone()));
        }
    }
    Ok(found)
}

fn routes_of_template() -> Result<Routes> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let routes = events("HttpApi")?;
    Ok(routes.into_iter().map(|(function, event)| (text(&event["Method"]), text(&event["Path"]), function)).collect())
}

fn routes_of_watch() -> Result<Routes> {
    let output = Command::new("cargo")
        .current_dir(workspace::root())
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .output()?;
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let router = metadata.pointer("/metadata/lambda/watch/router").and_then(Value::as_object).context("no router")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(router
        .iter()
        .flat_map(|(path, routes)| {
            let routes = routes.as_array().cloned().unwrap_or_default();
            routes.into_iter().map(move |route| (text(&route["method"]), path.clone(), text(&route["function"])))
        })
        .collect())
}
