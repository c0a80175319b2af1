//! Sets up logging by Lambda's settings, and keeps events with sensitive content out of the log.
//!
//! `AWS_LAMBDA_LOG_LEVEL` or, if it is not set, `RUST_LOG` sets the log level. `AWS_LAMBDA_LOG_FORMAT` sets whether
//! lines are JSON; see [advanced logging
//! controls](https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-advanced.html).
//!
//! These settings apply to the code of this project. Libraries are capped at INFO whatever the level: below INFO, the
//! runtime logs whole events, with bodies and `Authorization` headers, and the SDK logs requests and responses.

use std::io::{self, Write};

use lambda_http::tracing::Metadata;
use lambda_http::tracing::level_filters::LevelFilter;
use lambda_http::tracing::subscriber::filter::{EnvFilter, filter_fn};
use lambda_http::tracing::subscriber::fmt::format::Writer;
use lambda_http::tracing::subscriber::fmt::time::{FormatTime, SystemTime};
use lambda_http::tracing::subscriber::layer::SubscriberExt;
use lambda_http::tracing::subscriber::util::SubscriberInitExt;
use lambda_http::tracing::subscriber::{Registry, fmt};

/// Crates of this project that log, by the first part of their events' targets. A crate that is missing here is capped
/// like a library.
const OWN: [&str; 9] =
    ["encode", "verify", "gc", "metrics", "function_runtime", "prometheus_dynamodb", "secrets", "sigil", "sigil_http"];

/// Lowest level at which events of libraries are logged.
const LIBRARIES: LevelFilter = LevelFilter::INFO;

/// Sets up logging for the process.
///
/// Lambda gives each function its own log and each line a time. Elsewhere, which is where Lambda has set no format,
/// several functions may write to one log, so each line begins with its time and its function's name.
pub(crate) fn init() {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    let directives = variable("AWS_LAMBDA_LOG_LEVEL").or_else(|| variable("RUST_LOG")).unwrap_or_default();
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).parse_lossy(directives);
    let subscriber = Registry::default().with(filter).with(filter_fn(is_harmless));
    let lines = fmt::layer().with_target(false).without_time();
    match variable("AWS_LAMBDA_LOG_FORMAT") {
        Some(format) if format.eq_ignore_ascii_case("json") => {
            subscriber.with(lines.json().with_writer(io::stdout)).init();
        }
        Some(_) => subscriber.with(lines.with_writer(io::stdout)).init(),
        None => {
            let function = variable("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default();
            subscriber.with(lines.with_writer(move || Stamped { function: function.clone() })).init();
        }
    }
}

fn is_harmless(event: &Metadata<'_>) -> bool {
    *event.level() <= LIBRARIES || is_own(event.target())
}

fn is_own(target: &str) -> bool {
    let name = target.split("::").next().unwrap_or(target);
    OWN.contains(&name)
}

/// Writes events to the standard output, each after the time and the function's name. Each write must be one whole
/// event.
struct Stamped {
    function: String,
}

impl Write for Stamped {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time)).map_err(io::Error::other)?;
        let mut stdout = io::stdout().lock();
        write!(stdout, "{time} {} ", self.function)?;
        stdout.write_all(event)?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_crates_of_this_project_are_not_capped() {
        assert!(is_own("sigil::store::guarded") && is_own("encode") && is_own("secrets::secret"));
        for library in
            ["lambda_runtime::layers::api_response", "aws_smithy_runtime", "hyper", "log", "metrics_exporter"]
        {
            assert!(!is_own(library), "{library}");
        }
    }
}
