//! Shows that no log holds a secret, at any level and with any answer of Secrets Manager.

use anyhow::{Context, Result, ensure};
use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use harness::kit::deployed::{Deployed, HttpAnswer, ask};
use harness::kit::dynamodb_local::DynamoDbLocal;
use harness::kit::fault_proxy::{Fault, FaultProxy};
use harness::kit::lambda_event::{http_request, scheduled};
use harness::kit::runtime_api::Outcome;
use harness::kit::secrets_manager::{Answering, arn};
use harness::kit::tables;
use serde_json::json;

const SIGILS: &str = "/api/consciousness/sigils";

// Planted texts, none of which a log may contain.
const SEED: &str = "plantedseedplantedseedplantedseedplantedseedplantedseedplantedse";
const METRICS_TOKEN: &str = "planted-metrics-token";
const WRONG_TOKEN: &str = "planted-wrong-token";
const DATA: &str = "planted-data";
const METADATA: &str = "planted-metadata";
const CALLER: &str = "planted-authorization";
const AWS_SECRET: &str = "plantedawssecretaccesskey";
const AWS_SESSION: &str = "plantedawssessiontoken";

/// Every level, by either of the two variables, and the levels of single libraries.
const LEVELS: [(&str, &str); 9] = [
    ("AWS_LAMBDA_LOG_LEVEL", "TRACE"),
    ("AWS_LAMBDA_LOG_LEVEL", "DEBUG"),
    ("AWS_LAMBDA_LOG_LEVEL", "INFO"),
    ("AWS_LAMBDA_LOG_LEVEL", "WARN"),
    ("AWS_LAMBDA_LOG_LEVEL", "ERROR"),
    ("AWS_LAMBDA_LOG_LEVEL", "FATAL"),
    ("RUST_LOG", "trace"),
    ("RUST_LOG", "info,lambda_runtime=trace,lambda_http=trace,aws_smithy_runtime=trace,hyper=trace"),
    ("RUST_LOG", ""),
];

fn clean(log: &str, secrets: &[&str]) -> Result<()> {
    for secret in secrets {
        for form in [(*secret).to_owned(), STANDARD.encode(secret)] {
            let found = log.find(&form).map(|at| &log[log[..at].rfind('\n').map_or(0, |start| start + 1)..]);
            ensure!(found.is_none(), "{secret} is logged: {}", found.unwrap_or_default());
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_level_and_no_format_logs_what_requests_carry() -> Result<()> {
    let deployed = Deployed::start("logs", &json!({ "seed": SEED }).to_string(), METRICS_TOKEN).await?;
    for (number, (variable, level)) in LEVELS.into_iter().enumerate() {
        for format in ["JSON", "Text"] {
            let mut variables = deployed.variables();
            variables.set(variable, level);
            variables.set("AWS_LAMBDA_LOG_FORMAT", format);
            variables.set("AWS_SECRET_ACCESS_KEY", AWS_SECRET);
            variables.set("AWS_SESSION_TOKEN", AWS_SESSION);
            let log = |function: &str| format!("{function}-{number}-{format}");
            let start = async |function| deployed.function_with(function, &variables, &log(function)).await;
            let (encode, verify) = (start("encode").await?, start("verify").await?);
            let (gc, metrics) = (start("gc").await?, start("metrics").await?);

            let authorization = [("authorization", format!("Bearer {CALLER}"))];
            let authorization = authorization.each_ref().map(|(name, value)| (*name, value.as_str()));
            let body = json!({ "data": { "secret": DATA }, "metadata": { "secret": METADATA } });
            let sigil = ask(&encode, &http_request("POST", SIGILS, &authorization, Some(&body))).await?;
            ensure!(sigil.status == 201, "{sigil:?}");
            let token = sigil.body["sigil"]["token"].as_str().unwrap_or_default().to_owned();
            let wrong = json!({ "data": { "secret": DATA }, "metadata": DATA });
            ask(&encode, &http_request("POST", SIGILS, &authorization, Some(&wrong))).await?;
            for body in [json!({ "token": token, "data": { "secret": DATA } }), json!({ "token": [token] })] {
                ask(&verify, &http_request("POST", &format!("{SIGILS}/verify"), &authorization, Some(&body))).await?;
            }
            gc.api().invoke(&scheduled()).await?;
            for (token, status) in [(METRICS_TOKEN, 200), (WRONG_TOKEN, 401)] {
                let bearer = format!("Bearer {token}");
                let answer =
                    ask(&metrics, &http_request("GET", "/metrics", &[("authorization", &bearer)], None)).await?;
                ensure!(answer.status == status, "{answer:?}");
            }
            let mut all = String::new();
            for environment in [encode, verify, gc, metrics] {
                environment.api().asks_for_event().await;
                let secrets =
                    [SEED, METRICS_TOKEN, WRONG_TOKEN, DATA, METADATA, CALLER, AWS_SECRET, AWS_SESSION, &token];
                let said = environment.process().output()?;
                clean(&said, &secrets)?;
                all += &said;
                environment.terminate().await?;
            }
            // An empty log would have no secret either.
            let is_quiet = ["WARN", "ERROR", "FATAL"].contains(&level);
            ensure!(all.contains("a run ended") != is_quiet, "{variable}={level}: {all}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_secrets_manager_answers_is_not_logged() -> Result<()> {
    let deployed = Deployed::start("logs-secrets", &json!({ "seed": SEED }).to_string(), METRICS_TOKEN).await?;
    let mut variables = deployed.variables();
    variables.set("AWS_LAMBDA_LOG_LEVEL", "TRACE");
    let verify = deployed.function_with("verify", &variables, "verify").await?;
    let metrics = deployed.function_with("metrics", &variables, "metrics").await?;
    for answering in Answering::WRONG {
        deployed.secrets.set_answering(answering);
        let log = format!("{answering:?}");
        for (function, secret) in [("encode", "signing"), ("verify", "signing"), ("metrics", "token")] {
            // A start may succeed: a token that is much too long is a token all the same.
            if let Err(error) = deployed.function_with(function, &variables, &format!("{function}-{log}")).await {
                let said = format!("{error:#}");
                ensure!(said.contains(&arn(secret)), "{function}, {answering:?}: {said}");
            }
            let said = std::fs::read_to_string(deployed.log(&format!("{function}-{log}")))?;
            clean(&said, &[SEED, METRICS_TOKEN])?;
        }
        // An unknown token or key makes a warm environment read the secret again.
        let unknown = http_request("GET", "/metrics", &[("authorization", &format!("Bearer {WRONG_TOKEN}"))], None);
        ensure!(ask(&metrics, &unknown).await?.status == 401);
        let good = http_request("GET", "/metrics", &[("authorization", &format!("Bearer {METRICS_TOKEN}"))], None);
        ensure!(answering == Answering::Oversized || ask(&metrics, &good).await?.status == 200, "{answering:?}");
        ensure!(ask(&verify, &http_request("GET", "/.well-known/jwks.json", &[], None)).await?.status == 200);
        for environment in [&verify, &metrics] {
            clean(&environment.process().output()?, &[SEED, METRICS_TOKEN, WRONG_TOKEN])?;
        }
    }
    // It has no other sign of a renewal that failed.
    let said = metrics.process().output()?;
    ensure!(said.contains("stays in use"), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_dynamodb_answers_is_not_logged() -> Result<()> {
    let deployed = Deployed::start("logs-records", &json!({ "seed": SEED }).to_string(), METRICS_TOKEN).await?;
    let proxy = FaultProxy::before(&deployed.dynamodb_valve.url()).await?;
    for format in ["JSON", "Text"] {
        let mut variables = deployed.variables();
        variables.set("AWS_ENDPOINT_URL_DYNAMODB", &proxy.url());
        variables.set("AWS_LAMBDA_LOG_FORMAT", format);
        variables.set("AWS_LAMBDA_LOG_LEVEL", "TRACE");
        // A sigil that is revoked is due at once.
        variables.set("SIGIL_RETENTION_SECONDS", "0");
        let start = async |function: &'static str| {
            deployed.function_with(function, &variables, &format!("{function}-{format}")).await
        };
        let (encode, verify, gc) = (start("encode").await?, start("verify").await?, start("gc").await?);
        let body = json!({ "data": { "secret": DATA } });
        let key = [("idempotency-key", format)];
        let kept = ask(&encode, &http_request("POST", SIGILS, &key, Some(&body))).await?;
        let due = ask(&encode, &http_request("POST", SIGILS, &[], Some(&body))).await?;
        let path = |sigil: &HttpAnswer| format!("{SIGILS}/{}", sigil.body["sigil"]["id"].as_str().unwrap_or_default());
        ensure!(ask(&encode, &http_request("DELETE", &path(&due), &[], None)).await?.status == 200);

        proxy.set_outage(tables::SIGILS, Some(Fault::CutOff));
        for (function, event) in [
            (&encode, http_request("POST", SIGILS, &key, Some(&body))),
            (&encode, http_request("DELETE", &path(&kept), &[], None)),
            (&verify, http_request("GET", &path(&kept), &[], None)),
        ] {
            let failed = ask(function, &event).await?;
            ensure!(failed.status == 503, "{event}: {failed:?}");
        }
        let run = gc.api().invoke(&scheduled()).await?;
        ensure!(matches!(run, Outcome::Error(_)), "{run:?}");
        proxy.set_outage(tables::SIGILS, None);
        let tokens = [&kept, &due].map(|sigil| sigil.body["sigil"]["token"].as_str().unwrap_or("no token"));
        for (environment, said) in [(encode, "a request failed"), (verify, "a request failed"), (gc, "a run failed")] {
            environment.api().asks_for_event().await;
            let log = environment.process().output()?;
            ensure!(log.contains(said), "{log}");
            clean(&log, &[SEED, DATA, tokens[0], tokens[1]])?;
            environment.terminate().await?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_record_is_an_error_that_names_it() -> Result<()> {
    let deployed = Deployed::start("logs-damaged", &json!({ "seed": SEED }).to_string(), METRICS_TOKEN).await?;
    let (encode, verify) = (deployed.function("encode", "encode").await?, deployed.function("verify", "verify").await?);
    let body = json!({ "data": DATA });
    let table = DynamoDbLocal::client_of(&deployed.dynamodb_valve.url());
    // A changed record, and an item that is none.
    for (attribute, log) in [("created_at", "its signature is not valid"), ("note", "writes such an item")] {
        let key = [("idempotency-key", attribute)];
        let sigil = ask(&encode, &http_request("POST", SIGILS, &key, Some(&body))).await?;
        let id = sigil.body["sigil"]["id"].as_str().with_context(|| format!("{sigil:?}"))?;
        let change = table.update_item().table_name(tables::SIGILS).key("id", AttributeValue::S(id.to_owned()));
        let change =
            change.update_expression("SET #changed = :value").expression_attribute_names("#changed", attribute);
        change.expression_attribute_values(":value", AttributeValue::N("4000000000".to_owned())).send().await?;
        for (function, event) in [
            (&encode, http_request("POST", SIGILS, &key, Some(&body))),
            (&encode, http_request("DELETE", &format!("{SIGILS}/{id}"), &[], None)),
            (&verify, http_request("GET", &format!("{SIGILS}/{id}"), &[], None)),
        ] {
            let before = function.process().output()?.len();
            let failed = ask(function, &event).await?;
            ensure!(failed.status == 500 && failed.body["error"] == "damaged", "{event}: {failed:?}");
            let said = function.process().output()?.split_off(before);
            let named = said.lines().any(|line| line.contains("ERROR") && line.contains(id) && line.contains(log));
            ensure!(named, "{event}: {said}");
            clean(&said, &[DATA])?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_request_is_logged_with_what_dynamodb_answered() -> Result<()> {
    let deployed = Deployed::start("logs-causes", &json!({ "seed": SEED }).to_string(), METRICS_TOKEN).await?;
    for format in ["JSON", "Text"] {
        let mut variables = deployed.variables();
        variables.set("AWS_LAMBDA_LOG_FORMAT", format);
        variables.set("SIGILS_TABLE", "no-such-table");
        let encode = deployed.function_with("encode", &variables, format).await?;
        let failed = ask(&encode, &http_request("POST", SIGILS, &[], Some(&json!({ "data": DATA })))).await?;
        ensure!(failed.status == 503, "{failed:?}");
        let log = encode.process().output()?;
        let line = log.lines().rfind(|line| line.contains("a request failed")).with_context(|| log.clone())?;
        ensure!(line.contains("ResourceNotFoundException"), "{format}: {line}");
        clean(&log, &[SEED, DATA])?;
        encode.terminate().await?;
    }
    Ok(())
}
