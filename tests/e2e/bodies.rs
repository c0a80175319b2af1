//! Shows that a body of up to 6 MB is answered with little time and little memory, whatever it holds and whichever route it is
//! sent to.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use harness::bench::measurement::{peak_memory, processor_time};
use harness::kit::bundle::logs_of_test;
use harness::kit::dynamodb_local::DynamoDbLocal;
use harness::kit::execution_environment::{ExecutionEnvironment, Function};
use harness::kit::hostile_bodies::{self, LENGTHS};
use harness::kit::runtime_api::Outcome;
use harness::kit::variables::FunctionVariables;
use harness::kit::{functions, lambda_event, tables};
use serde_json::{Value, json};

/// Most memory that a function's process may take, in bytes.
const MAX_MEMORY: u64 = 64 * 1024 * 1024;

/// Most processor time that one request may take. Without optimization, the most expensive body takes a third of this; work
/// that grows faster than the body's length would take many times as long.
const MAX_TIME: Duration = Duration::from_secs(5);

const SIGILS: &str = "/api/consciousness/sigils";

#[tokio::test(flavor = "multi_thread")]
async fn every_body_is_answered_with_little_time_and_memory() -> Result<()> {
    let logs = logs_of_test("bodies")?;
    let dynamodb = DynamoDbLocal::start_in_memory(&logs.join("dynamodb.log")).await?;
    tables::create(&dynamodb.client()).await?;
    let variables = FunctionVariables::new(&dynamodb.url(), &sigil::keys::generate("test"), "bodies-metrics-token");
    let programs = functions::build().await?;
    let start = async |name: &'static str| {
        let function = Function { name, program: programs[name].clone() };
        ExecutionEnvironment::start(&function, &variables, &logs.join(format!("{name}.log"))).await
    };
    let (encode, verify, metrics) = (start("encode").await?, start("verify").await?, start("metrics").await?);
    let made = answer(&encode, &request("POST", SIGILS, r#"{"data":1}"#, false)).await?;
    let made: Value = serde_json::from_str(made["body"].as_str().context("there is a body")?)?;
    let token = made["sigil"]["token"].as_str().context("there is a token")?;

    for length in LENGTHS {
        for (name, data) in hostile_bodies::all(length - 1000) {
            let (to_encode, to_verify) =
                (format!(r#"{{"data":{data}}}"#), format!(r#"{{"token":"{token}","data":{data}}}"#));
            let event = request("POST", SIGILS, &to_encode, false);
            is_cheap(&encode, &event, &format!("encode of {name}, {length} bytes")).await?;
            let event = request("POST", &format!("{SIGILS}/verify"), &to_verify, false);
            is_cheap(&verify, &event, &format!("verify of {name}, {length} bytes")).await?;
        }
        let long = format!(r#"{{"token":"{}"}}"#, "e".repeat(length - 20));
        is_cheap(&verify, &request("POST", &format!("{SIGILS}/verify"), &long, false), "a long token").await?;
        let encoded = STANDARD.encode(format!(r#"{{"data":"{}"}}"#, "x".repeat(length / 4 * 3 - 20)));
        is_cheap(&encode, &request("POST", SIGILS, &encoded, true), "base64").await?;
        for (function, method, path) in [
            (&encode, "DELETE", format!("{SIGILS}/x")),
            (&verify, "GET", format!("{SIGILS}/x")),
            (&verify, "GET", "/.well-known/jwks.json".to_owned()),
            (&metrics, "GET", "/metrics".to_owned()),
        ] {
            is_cheap(function, &request(method, &path, &long, false), &path).await?;
        }
    }
    Ok(())
}

fn request(method: &str, path: &str, body: &str, is_base64: bool) -> Value {
    let mut event = lambda_event::http_request(method, path, &[("content-type", "application/json")], None);
    event["body"] = json!(body);
    event["isBase64Encoded"] = json!(is_base64);
    event
}

async fn answer(function: &ExecutionEnvironment, event: &Value) -> Result<Value> {
    match function.api().invoke(event).await? {
        Outcome::Response(response) => Ok(response),
        Outcome::Error(error) => anyhow::bail!("{error}"),
    }
}

async fn is_cheap(function: &ExecutionEnvironment, event: &Value, what: &str) -> Result<()> {
    // An environment publishes after it has sent its response, and that time is not this request's.
    function.api().asks_for_event().await;
    let before = processor_time(function.process())?;
    let response = answer(function, event).await.with_context(|| what.to_owned())?;
    let time = processor_time(function.process())? - before;
    let memory = peak_memory(function.process())?;
    eprintln!("{what}: {} in {time:?}, {} MB so far", response["statusCode"], memory / 1024 / 1024);
    // On a busy machine DynamoDB Local can be too slow, which is answered with 503; the body has been read by then.
    let answered = response["statusCode"].as_u64().is_some_and(|status| status < 500 || status == 503);
    ensure!(answered, "{what}: {response}");
    ensure!(time <= MAX_TIME, "{what} took {time:?}");
    ensure!(memory <= MAX_MEMORY, "{what}: {memory} bytes");
    Ok(())
}
