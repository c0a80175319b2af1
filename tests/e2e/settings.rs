//! Shows that a function with wrong settings ends before its first request, and names everything that is wrong.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::kit::deployed::Deployed;
use harness::kit::{functions, variables};

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn missing_settings_are_named_at_once() -> Result<()> {
    let signing = ["SIGILS_TABLE", "STATS_TABLE", "SIGNING_KEYS", "SIGNING_KEYS_SECRET_ARN"];
    names_all("encode", &[], &signing).await?;
    names_all("verify", &[], &signing).await?;
    names_all("gc", &[], &["SIGILS_TABLE", "STATS_TABLE"]).await?;
    names_all("metrics", &[], &["STATS_TABLE"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_settings_are_named_together_with_missing_ones() -> Result<()> {
    let publishing = [
        ("STATS_SHARDS", "many"),
        ("STATS_PUBLISH_INTERVAL", "5"),
        ("STATS_PUBLISH_BURST", "-1"),
        ("STATS_PUBLISH_BUDGET_PERCENT", "0"),
        ("SIGNING_KEYS", "{"),
    ];
    let with_sigils: Vec<_> = publishing.into_iter().chain([("SIGIL_RETENTION_SECONDS", "a day")]).collect();
    let named = |pairs: &[(&'static str, &str)]| -> Vec<&'static str> {
        pairs.iter().map(|(name, _)| *name).chain(["STATS_TABLE"]).collect()
    };
    names_all("encode", &with_sigils, &named(&with_sigils)).await?;
    names_all("verify", &publishing, &named(&publishing)).await?;
    let not_an_arn = [("METRICS_TOKEN", "a-token"), ("METRICS_TOKEN_SECRET_ARN", "another-token")];
    names_all("metrics", &not_an_arn, &["STATS_TABLE", "METRICS_TOKEN_SECRET_ARN"]).await?;
    let scraping = [("METRICS_ALLOWED_CIDRS", "10.0.0.0/8,everyone"), ("STATS_WRITER_IDLE", "soon")];
    names_all("metrics", &scraping, &named(&scraping)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_settings_are_named_and_none_of_them_means_a_default() -> Result<()> {
    let publishing = [
        "STATS_TABLE",
        "STATS_SHARDS",
        "STATS_PUBLISH_INTERVAL",
        "STATS_PUBLISH_BURST",
        "STATS_MAX_SERIES",
        "STATS_FORMAT",
    ];
    let reading = ["STATS_TABLE", "STATS_WRITER_IDLE", "STATS_GRACE", "STATS_CREATED_SERIES"];
    let signing = ["SIGILS_TABLE", "SIGNING_KEYS", "SIGNING_KEYS_SECRET_ARN"];
    let lifetimes = ["SIGIL_MAX_TTL_SECONDS", "SIGIL_RETENTION_SECONDS"];
    let access = ["METRICS_TOKEN", "METRICS_TOKEN_PREVIOUS", "METRICS_TOKEN_SECRET_ARN", "METRICS_ALLOWED_CIDRS"];
    for (function, names) in [
        ("encode", [&publishing[..], &signing, &lifetimes].concat()),
        ("verify", [&publishing[..], &signing].concat()),
        ("gc", [&publishing[..], &reading].concat()),
        ("metrics", [&reading[..], &access].concat()),
    ] {
        for blank in ["", "  "] {
            let variables: Vec<_> = names.iter().map(|name| (*name, blank)).collect();
            let faults: Vec<_> = names.iter().map(|name| format!("{name} is set but empty")).collect();
            names_all(function, &variables, &faults.iter().map(String::as_str).collect::<Vec<_>>()).await?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_page_is_said_to_be_open_at_every_cold_start() -> Result<()> {
    let deployed = Deployed::start("settings-open", "{}", "the-token").await?;
    let closed = deployed.function("metrics", "closed").await?;
    let said = closed.process().output()?;
    ensure!(!said.contains("open to"), "{said}");
    let mut variables = deployed.variables();
    variables.remove("METRICS_TOKEN_SECRET_ARN");
    let open = deployed.function_with("metrics", &variables, "open").await?;
    let said = open.process().output()?;
    ensure!(said.contains("WARN") && said.contains("the page is open to everyone"), "{said}");
    Ok(())
}

/// Starts a function with only these variables. The function must end with an error that contains every name, and must not even
/// connect to the Runtime API.
async fn names_all(function: &str, variables: &[(&str, &str)], names: &[&str]) -> Result<()> {
    let runtime_api = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    runtime_api.set_nonblocking(true)?;
    let programs = functions::build().await?;
    let mut command = Command::new(programs.get(function).context("it is built")?);
    variables::clear(&mut command);
    command
        .envs(variables.iter().copied())
        .env("AWS_LAMBDA_RUNTIME_API", runtime_api.local_addr()?.to_string())
        .env("AWS_LAMBDA_FUNCTION_NAME", function)
        .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256");
    // Reads both outputs while the function runs: one that fills a pipe would otherwise never end.
    let ends = tokio::process::Command::from(command).kill_on_drop(true).output();
    let output = tokio::time::timeout(PATIENCE, ends).await.with_context(|| format!("{function} does not end"))??;
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success(), "{function} ended well:\n{said}");
    for name in names {
        ensure!(said.contains(name), "{function} does not name {name}:\n{said}");
    }
    ensure!(runtime_api.accept().is_err(), "{function} asked for requests before it read its settings:\n{said}");
    Ok(())
}
