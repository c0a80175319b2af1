//! Declares the metrics of the store, and of the circuit breaker in front of it.

use std::time::Instant;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Error, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};
use strum::VariantArray;

use super::attempts::AttemptCounter;
use super::registered;
use crate::store::{BreakerState, SharedBreaker, StorageError, StorageOperation};

/// Buckets from a read over a warm connection to 2.5 s, the time that a request has for all of its calls. A call of gc
/// may take longer.
const BUCKETS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5];

/// Outcomes of a call, as the values of the label `outcome`.
const OUTCOMES: [&str; 5] = [OK, "too_large", "throttled", "timeout", "unavailable"];
const OK: &str = "ok";

/// Measures calls to the store.
#[derive(Debug, Clone)]
pub struct StorageMetrics {
    duration: HistogramVec,
    retries: IntCounterVec,
    throttles: IntCounterVec,
}

impl StorageMetrics {
    /// Registers the metrics for the calls that a function makes.
    pub fn register(registry: &Registry, operations: &[StorageOperation]) -> Result<Self, Error> {
        let duration = HistogramOpts::new(
            "sigil_storage_operation_duration_seconds",
            "Time that a call to the store took with all its attempts, by how it ended.",
        )
        .buckets(BUCKETS.to_vec());
        let retries = Opts::new("sigil_storage_retries_total", "Attempts of calls to the store after the first.");
        let throttles =
            Opts::new("sigil_storage_throttles_total", "Attempts of calls to the store that were throttled.");
        let this = Self {
            duration: registered(registry, HistogramVec::new(duration, &["operation", "outcome"]))?,
            retries: registered(registry, IntCounterVec::new(retries, &["operation"]))?,
            throttles: registered(registry, IntCounterVec::new(throttles, &["operation"]))?,
        };
        for operation in operations {
            for outcome in OUTCOMES {
                if outcome != "too_large" || *operation == StorageOperation::Put {
                    this.duration.with_label_values(&[operation.as_ref(), outcome]);
                }
            }
            this.retries.with_label_values(&[operation.as_ref()]);
            this.throttles.with_label_values(&[operation.as_ref()]);
        }
        Ok(this)
    }

    /// Returns an interceptor that counts the attempts of a DynamoDB client.
    pub fn attempts(&self) -> AttemptCounter {
        AttemptCounter::new(self.retries.clone(), self.throttles.clone())
    }

    pub(crate) fn start(&self, operation: StorageOperation) -> StorageTimer {
        StorageTimer { duration: self.duration.clone(), operation, started: Instant::now() }
    }
}

/// Measures one call.
#[must_use = "a call is measured when it has ended"]
#[derive(Debug)]
pub struct StorageTimer {
    duration: HistogramVec,
    operation: StorageOperation,
    started: Instant,
}

impl StorageTimer {
    /// Ends the measurement of a call. `error` is the error that the call failed with, if it failed.
    pub fn stop(self, error: Option<&StorageError>) {
        let outcome = match error {
            None => OK,
            Some(StorageError::TooLarge { .. }) => "too_large",
            Some(StorageError::Throttled(_)) => "throttled",
            Some(StorageError::TimedOut(_)) => "timeout",
            Some(
                StorageError::Unavailable(_)
                | StorageError::Refused(_)
                | StorageError::NotSent(_)
                | StorageError::CircuitOpen { .. },
            ) => "unavailable",
        };
        let seconds = self.started.elapsed().as_secs_f64();
        self.duration.with_label_values(&[self.operation.as_ref(), outcome]).observe(seconds);
    }
}

/// Exports `sigil_circuit_breaker_state`: 1 for the state of this environment's breaker, 0 for the others. Over
/// environments, the live ones are added up, which gives the number of environments in each state.
#[derive(Debug)]
pub struct BreakerGauge {
    breaker: SharedBreaker,
    gauge: IntGaugeVec,
}

impl BreakerGauge {
    /// Registers the gauge of this breaker. The state is read whenever metrics are collected.
    pub fn register(registry: &Registry, breaker: SharedBreaker) -> Result<(), Error> {
        let opts = Opts::new(
            "sigil_circuit_breaker_state",
            "Execution environments whose circuit breaker before the store is in this state.",
        );
        let gauge = IntGaugeVec::new(opts, &["state"])?;
        registry.register(Box::new(Self { breaker, gauge }))
    }
}

impl Collector for BreakerGauge {
    fn desc(&self) -> Vec<&Desc> {
        self.gauge.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let current = self.breaker.state();
        for state in BreakerState::VARIANTS {
            self.gauge.with_label_values(&[state.as_ref()]).set(i64::from(*state == current));
        }
        self.gauge.collect()
    }
}
