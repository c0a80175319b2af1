//! Starts a function: sets up logging and the async runtime.

use std::error::Error;
use std::io;
use std::process::ExitCode;
use std::time::Instant;

use env_settings::{EnvReader, SettingsError, parse};
use tokio::runtime::{Builder, Runtime};

use crate::logging;

/// Variable that holds the number of requests that an environment handles at once. Lambda's Managed Instances set it,
/// and Lambda itself allows fewer than `MOST_CONCURRENCY`.
const MAX_CONCURRENCY: &str = "AWS_LAMBDA_MAX_CONCURRENCY";
const MOST_CONCURRENCY: u32 = 10_000;

/// Sets up logging by Lambda's settings and runs `function`. An error of `function` becomes a message on the standard
/// error and a failing exit code. `function` is given the time at which the program started.
pub fn start<F>(function: impl FnOnce(Instant) -> F) -> ExitCode
where
    F: Future<Output = Result<(), Box<dyn Error + Send + Sync>>>,
{
    let started_at = Instant::now();
    logging::init();
    match run(function, started_at) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // This goes to stderr and not through `tracing`, which would put a text of several lines into one.
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

fn run<F>(function: impl FnOnce(Instant) -> F, started_at: Instant) -> Result<(), Box<dyn Error + Send + Sync>>
where
    F: Future<Output = Result<(), Box<dyn Error + Send + Sync>>>,
{
    // An invalid value must be refused here, because lambda_runtime would treat it as 1.
    let concurrency = max_concurrency(EnvReader::from_process())?;
    runtime(concurrency)?.block_on(function(started_at))
}

fn max_concurrency(mut env: EnvReader) -> Result<u32, SettingsError> {
    let concurrency = env.with_default(MAX_CONCURRENCY, 1, parse::in_range(1..=MOST_CONCURRENCY));
    env.finish(|| concurrency)
}

/// Creates a runtime. One thread is enough for one request at a time, and more threads would only slow the cold start.
fn runtime(concurrency: u32) -> io::Result<Runtime> {
    let mut builder = if concurrency > 1 { Builder::new_multi_thread() } else { Builder::new_current_thread() };
    builder.enable_all().build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::runtime::RuntimeFlavor;

    #[test]
    fn several_requests_at_once_have_several_threads() {
        let flavor = |concurrency| runtime(concurrency).unwrap().handle().runtime_flavor();
        assert_eq!((flavor(1), flavor(2)), (RuntimeFlavor::CurrentThread, RuntimeFlavor::MultiThread));
    }

    #[test]
    fn a_concurrency_that_is_none_is_named_with_what_is_allowed() {
        assert_eq!(max_concurrency(EnvReader::from_pairs([("AWS_LAMBDA_MAX_CONCURRENCY", "16")])).unwrap(), 16);
        assert_eq!(max_concurrency(EnvReader::from_pairs::<&str, &str>([])).unwrap(), 1);
        for wrong in ["", "0", "-1", "many", "1.5", "10001"] {
            let error = max_concurrency(EnvReader::from_pairs([("AWS_LAMBDA_MAX_CONCURRENCY", wrong)])).unwrap_err();
            let faults: Vec<_> = error.faults().iter().map(|fault| fault.name()).collect();
            assert_eq!(faults, ["AWS_LAMBDA_MAX_CONCURRENCY"], "{wrong}");
            assert!(wrong.is_empty() || error.to_string().contains("a whole number from 1 to 10000"), "{error}");
        }
    }
}
