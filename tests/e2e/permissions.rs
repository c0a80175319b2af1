//! Shows that each function may do what it does and no more: its role allows exactly the calls that it is seen to make.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result};
use harness::kit::bundle::logs_of_test;
use harness::kit::client::Client;
use harness::kit::dynamodb_local::DynamoDbLocal;
use harness::kit::secrets_manager::{self, SecretsManager};
use harness::kit::variables::FunctionVariables;
use harness::kit::wait::{self, not_yet};
use harness::kit::watch::Watch;
use harness::kit::{functions, port, tables};
use harness::template::cloudformation::{self, Expanded};
use harness::template::permissions::{Permission, by_lambda, called, granted};
use harness::template::recorder::Recorder;
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(60);
const METRICS_TOKEN: &str = "recorded-metrics-token";

/// A function by itself, behind its own recorder, with the environment variables that the template gives it.
struct Recorded {
    client: Client,
    recorder: Recorder,
    _watch: Watch,
}

impl Recorded {
    async fn start(name: &'static str, dynamodb: &DynamoDbLocal, secrets: &SecretsManager) -> Result<Self> {
        let recorder = Recorder::start(&dynamodb.url(), &secrets.url(), logical_name).await?;
        let function = name.trim_end_matches("-again");
        let template = Expanded::of(&cloudformation::source()?)?;
        let variables = template.environment(function, physical_name)?;
        let mut environment = FunctionVariables::of(variables, &recorder.url(), &recorder.url());
        // An environment that has been silent for a second counts as gone, and is buried a second later.
        environment.set("STATS_WRITER_IDLE", "1s");
        environment.set("STATS_GRACE", "1s");
        // Writers announce the number of shards only if there are several.
        environment.set("STATS_SHARDS", "2");
        environment.set("SIGIL_RETENTION_SECONDS", "0");
        let log = logs_of_test("permissions")?.join(format!("{name}.log"));
        let mut watch = Watch::idle(port::free()?, 1, environment, log).await?;
        if function != "gc" {
            watch.answers(function).await?;
        }
        Ok(Self { client: Client::new(&watch.url(), METRICS_TOKEN)?, recorder, _watch: watch })
    }

    /// Waits for a call that is made after a response.
    async fn has_called(&self, call: &Permission) -> Result<()> {
        wait::until(&format!("{call} was called"), PATIENCE, async || match self.recorder.calls() {
            calls if calls.contains(call) => Ok(()),
            calls => not_yet(format!("{calls:?} were")),
        })
        .await
    }
}

fn physical_name(logical: &str) -> Option<String> {
    Some(match logical {
        "SigilsTable" => tables::SIGILS.to_owned(),
        "StatsTable" => tables::STATS.to_owned(),
        "SigningSecret" | "MetricsTokenSecret" => secrets_manager::arn(logical),
        _ => return None,
    })
}

fn logical_name(physical: &str) -> Option<&'static str> {
    ["SigilsTable", "StatsTable", "SigningSecret", "MetricsTokenSecret"]
        .into_iter()
        .find(|logical| physical_name(logical).is_some_and(|name| name == physical))
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_allow_exactly_the_calls_made() -> Result<()> {
    let dynamodb = DynamoDbLocal::start_in_memory(&logs_of_test("permissions")?.join("dynamodb.log")).await?;
    tables::create(&dynamodb.client()).await?;
    let secrets = SecretsManager::start().await?;
    // The secret has the form that GenerateSecretString gives it.
    secrets.put(&secrets_manager::arn("SigningSecret"), &json!({ "seed": "s".repeat(64) }).to_string());
    secrets.put(&secrets_manager::arn("MetricsTokenSecret"), METRICS_TOKEN);

    let encode = Recorded::start("encode", &dynamodb, &secrets).await?;
    let verify = Recorded::start("verify", &dynamodb, &secrets).await?;
    let metrics = Recorded::start("metrics", &dynamodb, &secrets).await?;
    let gc = Recorded::start("gc", &dynamodb, &secrets).await?;
    let gc_again = Recorded::start("gc-again", &dynamodb, &secrets).await?;

    let sigil = encode.client.encode(&json!({ "kept": true })).await?;
    let revoked = encode.client.encode(&json!({ "kept": false })).await?;
    encode.client.revoke(&revoked.id).await?.expect(200)?;
    assert_eq!(verify.client.verdict(&sigil.token, None).await?, "valid");
    verify.client.get(&sigil.id).await?.expect(200)?;
    verify.client.jwks().await?.expect(200)?;
    gc.client.gc().await?;
    metrics.client.metrics().await?;
    for (function, recorded) in [("encode", &encode), ("verify", &verify), ("gc", &gc)] {
        let publish = Permission::new("dynamodb:PutItem", "StatsTable/shard#*");
        recorded.has_called(&publish).await.with_context(|| function)?;
    }

    // All environments except the second one of gc fall silent and are folded and buried. The next publish of each must then
    // ask for its grave.
    wait::until("the silent environments are buried", PATIENCE, async || {
        gc_again.client.gc().await?;
        let silent = unburied(&dynamodb).await?;
        if silent.is_empty() { Ok(()) } else { not_yet(format!("{silent:?} are not")) }
    })
    .await?;
    encode.client.encode(&json!("after a freeze")).await?;
    verify.client.get(&sigil.id).await?.expect(200)?;
    gc.client.gc().await?;
    for recorded in [&encode, &verify, &gc] {
        recorded.has_called(&Permission::new("dynamodb:GetItem", "StatsTable/grave#*")).await?;
    }

    let template = Expanded::of(&cloudformation::source()?)?;
    for function in functions::ALL {
        let seen: BTreeSet<_> = match function {
            "encode" => encode.recorder.calls(),
            "verify" => verify.recorder.calls(),
            "metrics" => metrics.recorder.calls(),
            _ => &gc.recorder.calls() | &gc_again.recorder.calls(),
        };
        assert_eq!(seen, called(function), "{function} calls what it is known to call");
        assert_eq!(granted(&template, function)?, &seen | &by_lambda(function), "{function} may do what it does");
    }
    Ok(())
}

/// Returns the functions of the snapshots that are not buried, without one snapshot of gc: that of the run that buries is never
/// buried.
async fn unburied(dynamodb: &DynamoDbLocal) -> Result<Vec<String>> {
    let scanned = dynamodb.client().scan().table_name(tables::STATS).consistent_read(true).send().await?;
    let snapshots = scanned.items().iter().filter(|item| item.contains_key("seq"));
    let mut functions: Vec<_> = snapshots.filter_map(|item| Some(item.get("function")?.as_s().ok()?.clone())).collect();
    if let Some(position) = functions.iter().position(|function| function == "gc") {
        functions.remove(position);
    }
    Ok(functions)
}
