//! Sets up logging by Lambda's settings, and keeps events with sensitive content out of the log.
//!
//! `AWS_LAMBDA_LOG_LEVEL` or, if it is not set, `RUST_LOG` sets the log level. `AWS_LAMBDA_LOG_FORMAT` sets whether
//! lines are JSON; see [advanced logging
//! controls](https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-advanced.html).
//!
//! These settings apply to the code of this project. Libraries are capped at INFO whatever the level: below INFO, the
//! runtime logs whole events, with bodies and `Authorization` headers, and the SDK logs requests and responses.

mod causes;

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
/// Lambda gives each function its own log, and each line of text a time. Elsewhere, which is where Lambda has set no
/// format, several functions may write to one log, so each line begins with its time and its function's name.
pub(crate) fn init() {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    let (filter, fault) = filter(variable("AWS_LAMBDA_LOG_LEVEL"), variable("RUST_LOG"));
    let subscriber = Registry::default().with(filter).with(filter_fn(is_harmless));
    let lines = fmt::layer().with_target(false);
    match variable("AWS_LAMBDA_LOG_FORMAT") {
        // Lambda filters lines of JSON by their level only if they have a time:
        // https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html
        Some(format) if format.eq_ignore_ascii_case("json") => {
            subscriber.with(causes::json(lines).with_writer(io::stdout)).init();
        }
        Some(_) => subscriber.with(lines.without_time().with_writer(io::stdout)).init(),
        None => {
            let function = variable("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default();
            let writer = move || Stamped { function: function.clone() };
            subscriber.with(lines.without_time().with_writer(writer)).init();
        }
    }
    if let Some(fault) = fault {
        lambda_http::tracing::warn!("{fault}");
    }
}

/// Returns the filter for the values of `AWS_LAMBDA_LOG_LEVEL` and `RUST_LOG`. A value that is not valid gives INFO and a
/// sentence about it.
///
/// A value of `AWS_LAMBDA_LOG_LEVEL` must be a level: [`EnvFilter`] would take any other word for a target, log all of
/// that target, and log nothing else. `RUST_LOG` may be anything that [`EnvFilter`] takes.
fn filter(lambda: Option<String>, rust: Option<String>) -> (EnvFilter, Option<String>) {
    let builder = || EnvFilter::builder().with_default_directive(LevelFilter::INFO.into());
    let parsed = match (lambda, rust) {
        (Some(value), _) => match level(value.trim()) {
            Some(level) => Ok(builder().parse_lossy(level.to_string())),
            None => Err(format!(
                "AWS_LAMBDA_LOG_LEVEL is {value:?}: TRACE, DEBUG, INFO, WARN, ERROR or FATAL is needed; INFO is used"
            )),
        },
        (None, Some(value)) => {
            builder().parse(&value).map_err(|error| format!("RUST_LOG is {value:?}: {error}; INFO is used"))
        }
        (None, None) => Ok(builder().parse_lossy("")),
    };
    match parsed {
        Ok(filter) => (filter, None),
        Err(fault) => (builder().parse_lossy(""), Some(fault)),
    }
}

/// Returns the level that this word of Lambda names. FATAL is Lambda's alone.
fn level(word: &str) -> Option<LevelFilter> {
    if word.eq_ignore_ascii_case("FATAL") { Some(LevelFilter::ERROR) } else { word.parse().ok() }
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
    fn each_level_of_lambda_is_a_level_here() {
        for (value, level) in [
            ("TRACE", LevelFilter::TRACE),
            ("debug", LevelFilter::DEBUG),
            ("INFO", LevelFilter::INFO),
            ("WARN", LevelFilter::WARN),
            ("ERROR", LevelFilter::ERROR),
            ("FATAL", LevelFilter::ERROR),
            ("Fatal", LevelFilter::ERROR),
        ] {
            let (filter, fault) = filter(Some(value.to_owned()), Some("sigil=trace".to_owned()));
            assert_eq!((filter.to_string(), fault), (level.to_string(), None), "{value}");
        }
    }

    #[test]
    fn a_level_that_is_none_is_told_and_info_is_logged() {
        for (lambda, rust, name) in [
            (Some("LOUD"), None, "AWS_LAMBDA_LOG_LEVEL"),
            (Some("sigil=debug"), None, "AWS_LAMBDA_LOG_LEVEL"),
            (Some("LOUD"), Some("debug"), "AWS_LAMBDA_LOG_LEVEL"),
            (None, Some("info,sigil=loud"), "RUST_LOG"),
        ] {
            let (filter, fault) = filter(lambda.map(str::to_owned), rust.map(str::to_owned));
            assert_eq!(filter.to_string(), "info", "{lambda:?} {rust:?}");
            let fault = fault.unwrap_or_else(|| panic!("{lambda:?} {rust:?}"));
            let value = format!("{name} is {:?}: ", lambda.or(rust).unwrap());
            assert!(fault.starts_with(&value), "{fault}");
        }
    }

    #[test]
    fn rust_log_may_name_targets() {
        let of = |rust: Option<&str>| filter(None, rust.map(str::to_owned));
        assert_eq!((of(None).0.to_string(), of(None).1), ("info".to_owned(), None));
        let (filter, fault) = of(Some("warn,sigil=trace"));
        assert_eq!((filter.to_string(), fault), ("sigil=trace,warn".to_owned(), None));
        assert_eq!(of(Some("sigil")).1, None, "a target without a level is valid");
    }

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
