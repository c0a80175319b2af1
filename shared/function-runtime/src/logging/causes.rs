//! Adds their causes to the errors in log lines of JSON.
//!
//! tracing writes an error into JSON by its own message alone, so that "the store is unavailable" would not say why.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;

use lambda_http::tracing::field::{Field, Visit};
use lambda_http::tracing::subscriber::fmt::format::{
    DefaultFields, Format, FormatEvent, Full, Json, JsonFields, Writer,
};
use lambda_http::tracing::subscriber::fmt::{FmtContext, FormatFields, Layer, MakeWriter};
use lambda_http::tracing::subscriber::registry::LookupSpan;
use lambda_http::tracing::{Event, Subscriber};
use serde_json::Value;

/// Makes a layer write JSON in which each error has its causes.
pub(super) fn json<S, W>(lines: Layer<S, DefaultFields, Format<Full>, W>) -> Layer<S, JsonFields, WithCauses, W>
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    W: for<'writer> MakeWriter<'writer> + 'static,
{
    lines.json().map_event_format(WithCauses)
}

/// Formats events as tracing's own JSON, but each error with its causes.
pub(super) struct WithCauses(Format<Json>);

impl<S, N> FormatEvent<S, N> for WithCauses
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut errors = Errors::default();
        event.record(&mut errors);
        if errors.0.is_empty() {
            return self.0.format_event(context, writer, event);
        }
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        let mut line: Value = serde_json::from_str(&line).map_err(|_| fmt::Error)?;
        for (name, error) in errors.0 {
            line["fields"][name] = error.into();
        }
        writeln!(writer, "{line}")
    }
}

/// The fields of an event that are errors, each with its causes.
#[derive(Default)]
struct Errors(BTreeMap<&'static str, String>);

impl Visit for Errors {
    fn record_error(&mut self, field: &Field, error: &(dyn Error + 'static)) {
        self.0.insert(field.name(), with_causes(error));
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

/// Returns the messages of an error and of its causes, without those that an earlier one repeats.
fn with_causes(error: &dyn Error) -> String {
    let mut told = error.to_string();
    for cause in std::iter::successors(error.source(), |&cause| cause.source()) {
        let message = cause.to_string();
        if !told.contains(&message) {
            told.push_str(": ");
            told.push_str(&message);
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;
    use aws_sdk_dynamodb::error::{ErrorMetadata, SdkError};
    use aws_sdk_dynamodb::operation::get_item::GetItemError;
    use aws_sdk_dynamodb::primitives::{DateTime, DateTimeFormat};
    use lambda_http::tracing::subscriber::Registry;
    use lambda_http::tracing::subscriber::fmt::layer;
    use lambda_http::tracing::subscriber::layer::SubscriberExt;
    use tracing::subscriber::with_default;

    #[derive(Debug, thiserror::Error)]
    enum Failed {
        #[error("the store is unavailable")]
        Store(#[source] SdkError<GetItemError, ()>),
        #[error(transparent)]
        Transparent(Box<Failed>),
        #[error("there is no page: {0}")]
        Told(#[source] Box<Failed>),
    }

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Returns the line that is logged of an error.
    fn logged(error: &Failed) -> Value {
        let log = Log::default();
        let writer = log.clone();
        let lines = layer().with_target(false).with_writer(move || writer.clone());
        with_default(Registry::default().with(json(lines)), || {
            tracing::error!(error = error as &dyn Error, number = 7, "a request failed");
        });
        let bytes = log.0.lock().unwrap();
        assert_eq!(bytes.iter().filter(|byte| **byte == b'\n').count(), 1, "it is one line");
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn an_error_is_logged_with_what_dynamodb_answered() {
        let store = || {
            let refusal = ErrorMetadata::builder().code("AccessDeniedException").message("may not GetItem").build();
            Failed::Store(SdkError::service_error(GetItemError::generic(refusal), ()))
        };
        for (error, told) in [
            (store(), "the store is unavailable"),
            (Failed::Transparent(Box::new(store())), "the store is unavailable"),
            (Failed::Told(Box::new(store())), "there is no page: the store is unavailable"),
        ] {
            let line = logged(&error);
            let fields = &line["fields"];
            let message = fields["error"].as_str().unwrap();
            assert!(message.starts_with(&format!("{told}: service error: ")), "{message}");
            assert!(message.contains("AccessDeniedException"), "{message}");
            for once in ["may not GetItem", "the store is unavailable"] {
                assert_eq!(message.matches(once).count(), 1, "{once}: {message}");
            }
            assert_eq!(
                (&line["level"], &fields["message"], &fields["number"]),
                (&"ERROR".into(), &"a request failed".into(), &7.into())
            );
            let time = line["timestamp"].as_str().unwrap();
            assert!(DateTime::from_str(time, DateTimeFormat::DateTime).is_ok(), "{time}");
        }
    }
}
