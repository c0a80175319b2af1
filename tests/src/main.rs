//! What the Makefile runs: `local-bundle up` and `local-bundle soak`.

use std::process::ExitCode;

use local_bundle::{soak, up};

#[tokio::main]
async fn main() -> ExitCode {
    let command = std::env::args().nth(1);
    let ended = match command.as_deref() {
        Some("up") => up::run().await,
        Some("soak") => soak::run().await,
        _ => Err(anyhow::anyhow!("usage: local-bundle up|soak")),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
