//! What the Makefile runs: `local-bundle up`, `local-bundle soak` and `local-bundle fleet`.

use std::process::ExitCode;

use local_bundle::{fleet, soak, up};

#[tokio::main]
async fn main() -> ExitCode {
    let command = std::env::args().nth(1);
    let ended = match command.as_deref() {
        Some("up") => up::run().await,
        Some("soak") => soak::run().await,
        Some("fleet") => fleet::soak().await,
        _ => Err(anyhow::anyhow!("usage: local-bundle up|soak|fleet")),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
