//! The part `bodies`: measures the processor time and the memory that the release artifacts take for bodies that are as
//! expensive as any of their length.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::desk::Desk;
use super::measurement::{CpuTime, milliseconds, peak_memory};
use super::report::{Report, Table};
use super::subject::Subject;
use crate::kit::execution_environment::ExecutionEnvironment;
use crate::kit::hostile_bodies::{self, LENGTHS};
use crate::kit::lambda_event;
use crate::kit::runtime_api::Outcome;

const SIGILS: &str = "/api/consciousness/sigils";

/// Measures the part. A response with status 500 or more is a failure.
pub(super) async fn run() -> Result<Report> {
    let desk = Desk::start().await?;
    let encode = desk.environment(&Subject::artifact("encode")?).await?;
    let verify = desk.environment(&Subject::artifact("verify")?).await?;
    let (made, _) = answer(&encode, SIGILS, r#"{"data":1}"#).await?;
    let made: Value = serde_json::from_str(made["body"].as_str().context("there is a body")?)?;
    let token = made["sigil"]["token"].as_str().context("there is a token")?;

    let mut table = Table::new(
        "Processor time of one request with a hostile body",
        [("encode, 1.2 MB", "ms"), ("verify, 1.2 MB", "ms"), ("encode, 5.9 MB", "ms"), ("verify, 5.9 MB", "ms")],
    );
    let [read, refused] = LENGTHS.map(|length| hostile_bodies::all(length - 1000));
    for ((name, read), (_, refused)) in read.iter().zip(&refused) {
        let mut cells = Vec::new();
        for data in [read, refused] {
            let to_verify = format!(r#"{{"token":"{token}","data":{data}}}"#);
            cells.push(answer(&encode, SIGILS, &format!(r#"{{"data":{data}}}"#)).await.context(*name)?.1);
            cells.push(answer(&verify, &format!("{SIGILS}/verify"), &to_verify).await.context(*name)?.1);
        }
        table.row(*name, cells.into_iter().map(milliseconds));
    }
    let peak =
        |environment: &ExecutionEnvironment| Ok::<_, anyhow::Error>(peak_memory(environment.process())? / 1_000_000);
    table.note(format!(
        "Data of 1.2 MB are the longest that are read; those of 5.9 MB are refused by their length. With verify, the token is a \
         good one. Peak memory afterwards: encode {} MB, verify {} MB.",
        peak(&encode)?,
        peak(&verify)?
    ));
    encode.terminate().await?;
    verify.terminate().await?;
    Ok(table.into())
}

/// Returns the response, and the processor time until then.
async fn answer(function: &ExecutionEnvironment, path: &str, body: &str) -> Result<(Value, Duration)> {
    let mut event = lambda_event::http_request("POST", path, &[("content-type", "application/json")], None);
    event["body"] = json!(body);
    // An environment publishes after it has sent its response, and that time is not this request's.
    function.api().asks_for_event().await;
    let before = CpuTime::of(function.process())?;
    let response = match function.api().invoke(&event).await? {
        Outcome::Response(response) => response,
        Outcome::Error(error) => bail!("{error}"),
    };
    let took = CpuTime::of(function.process())?.since(&before);
    ensure!(response["statusCode"].as_u64().is_some_and(|status| status < 500), "{response}");
    Ok((response, took))
}
