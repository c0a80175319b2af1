//! From `main` into async code.

use std::error::Error;
use std::process::ExitCode;
use std::time::Instant;

use crate::logging;

/// Sets up logging as Lambda's settings say, runs `function`, and turns its error into a line in the log and a failing
/// exit code. `function` is given the time at which the program started.
///
/// One thread is enough: an environment handles one request at a time, and every other thread would only add to the cold
/// start.
pub fn start<F>(function: impl FnOnce(Instant) -> F) -> ExitCode
where
    F: Future<Output = Result<(), Box<dyn Error + Send + Sync>>>,
{
    let started_at = Instant::now();
    logging::init();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(function(started_at)),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // To stderr and not by `tracing`, which puts a text of several lines into one.
            eprintln!("the function cannot run: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                eprintln!("  because: {cause}");
                source = cause.source();
            }
            ExitCode::FAILURE
        }
    }
}
