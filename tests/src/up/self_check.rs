//! Runs the short check that `make up` shows, with one line for each feature of the bundle.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::kit::client::{Client, Sigil};
use crate::kit::wait::{self, not_yet};

/// A snapshot is published right after the response, so a scrape shows it within moments.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs the steps in turn and prints the outcome of each. Stops at the first step that fails. Returns the sigil that
/// was checked.
pub async fn run(client: &Client) -> Result<Sigil> {
    let data = json!({ "checked": "by make up" });
    let before = step("scrape", async { Ok((client.metrics().await?, "the page answers".to_owned())) }).await?;
    let sigil = step("encode", async {
        let sigil = client.encode(&data).await?;
        let said = format!("the sigil {}", sigil.id);
        Ok((sigil, said))
    })
    .await?;
    step("verify", verdict(client, &sigil.token, "valid")).await?;
    step("revoke", async {
        let revoked = client.revoke(&sigil.id).await?.expect(200)?;
        Ok(((), format!("at {}", revoked.body["revoked_at"])))
    })
    .await?;
    step("verify", verdict(client, &sigil.token, "revoked")).await?;
    step("gc", async { Ok(((), collected(&client.gc().await?)?)) }).await?;
    step("scrape", async {
        let risen = [("sigil_encode_total", 1.0), ("sigil_verify_total", 2.0), ("sigil_gc_total", 1.0)];
        wait::until("the page counts what was done", PATIENCE, async || {
            let now = client.metrics().await?;
            for (name, by) in risen {
                let rise = now.sum(name, &[]) - before.sum(name, &[]);
                if rise < by {
                    return not_yet(format!("{name} has risen by {rise}, not {by}"));
                }
            }
            Ok(())
        })
        .await?;
        Ok(((), "all of it is counted".to_owned()))
    })
    .await?;
    Ok(sigil)
}

/// Describes a run of gc. On a fresh bundle nothing is due, and the summary has only zeros.
fn collected(summary: &Value) -> Result<String> {
    let count = |pointer: &str| {
        summary.pointer(pointer).and_then(Value::as_u64).with_context(|| format!("no {pointer} in {summary}"))
    };
    let done = [
        (count("/sigils/expired")? + count("/sigils/revoked")?, "records deleted"),
        (count("/stats/folded")?, "environments folded"),
    ];
    let done: Vec<String> =
        done.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    Ok(if done.is_empty() { "nothing is due yet".to_owned() } else { done.join(", ") })
}

async fn verdict(client: &Client, token: &str, expected: &str) -> Result<((), String)> {
    let verdict = client.verdict(token, None).await?;
    ensure!(verdict == expected, "the verdict is {verdict}, not {expected}");
    Ok(((), verdict))
}

/// Runs a step and prints its outcome. Returns the step's value without its message.
async fn step<T>(name: &str, step: impl Future<Output = Result<(T, String)>>) -> Result<T> {
    let start = Instant::now();
    match step.await {
        Ok((value, said)) => {
            println!("  ✓ {name:<7} {said} ({} ms)", start.elapsed().as_millis());
            Ok(value)
        }
        Err(error) => {
            println!("  ✗ {name:<7} {error:#}");
            bail!("the self-check ended at {name}")
        }
    }
}
