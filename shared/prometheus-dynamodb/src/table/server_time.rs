//! Keeps the time that DynamoDB's answers tell.

use std::sync::{Arc, Mutex, MutexGuard};

use aws_sdk_dynamodb::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_sdk_dynamodb::primitives::{DateTime, DateTimeFormat};

use crate::clock;

/// Interceptor that reads the header `Date` ([RFC 9110, 6.6.1](https://www.rfc-editor.org/rfc/rfc9110#section-6.6.1))
/// of every answer, refusals included. The header has whole seconds, rounded down. Clones share the times that they
/// have read.
#[derive(Debug, Clone, Default)]
pub(super) struct ServerTime {
    heard: Arc<Mutex<Option<Heard>>>,
}

#[derive(Debug, Clone, Copy)]
struct Heard {
    /// Latest `Date` that was read, in milliseconds since the epoch. Answers can overtake each other.
    date_ms: u64,
    /// Time of the process's clock when this `Date` was read, in milliseconds since the epoch.
    clock_ms: u64,
}

impl ServerTime {
    /// Returns the latest time that was read, or the time of the process's clock as long as no answer has had a `Date`.
    /// DynamoDB's answers always have one.
    pub(super) fn answered_at_ms(&self) -> u64 {
        let heard = *self.heard();
        heard.map_or_else(clock::now_ms, |heard| heard.date_ms)
    }

    /// Returns the process's time, corrected by its difference from the table's at the last answer.
    pub(super) fn now_ms(&self) -> u64 {
        let now_ms = clock::now_ms();
        let heard = *self.heard();
        heard.map_or(now_ms, |heard| (now_ms + heard.date_ms).saturating_sub(heard.clock_ms))
    }

    fn hear(&self, date_ms: u64) {
        let mut heard = self.heard();
        if heard.is_none_or(|heard| heard.date_ms <= date_ms) {
            *heard = Some(Heard { date_ms, clock_ms: clock::now_ms() });
        }
    }

    fn heard(&self) -> MutexGuard<'_, Option<Heard>> {
        self.heard.lock().expect("no one panics while holding the lock")
    }
}

impl Intercept for ServerTime {
    fn name(&self) -> &'static str {
        "ServerTime"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        let date = date.and_then(|date| DateTime::from_str(date, DateTimeFormat::HttpDate).ok());
        match date.and_then(|date| u64::try_from(date.to_millis().ok()?).ok()) {
            Some(date_ms) => self.hear(date_ms),
            None => {
                tracing::warn!("an answer of the stats table has no readable Date header; using the process's clock");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_answer_counts_and_a_wrong_clock_is_corrected_by_it() {
        let time = ServerTime::default();
        let hour_ms = 3_600_000;
        // The process's clock is an hour ahead of the table.
        let date_ms = clock::now_ms() - hour_ms;
        time.hear(date_ms);
        time.hear(date_ms - 2_000);
        assert_eq!(time.answered_at_ms(), date_ms);
        assert!((date_ms..date_ms + 60_000).contains(&time.now_ms()));
    }
}
