//! Runs one command for the Makefile and the scripts: `harness up`, `soak`, `latency`, `concurrency`, `fleet`, `bench`,
//! `count` or `dashboards`.

use std::process::ExitCode;

use harness::{bench, concurrency, dashboards, fleet, latency, soak, up};

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(2).collect();
    let command = std::env::args().nth(1);
    let ended = match command.as_deref() {
        Some("up") => up::run().await,
        Some("soak") => soak::run().await,
        Some("latency") => latency::run().await,
        Some("concurrency") => concurrency::run().await,
        Some("fleet") => fleet::soak().await,
        Some("bench") => bench::run(&arguments).await,
        Some("count") => bench::counted::run(&arguments).await,
        Some("dashboards") => dashboards::run().await,
        _ => Err(anyhow::anyhow!("usage: harness up|soak|latency|concurrency|fleet|bench|count|dashboards")),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
