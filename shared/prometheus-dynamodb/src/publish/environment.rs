//! The metrics that every execution environment has, whatever its function does. Each has the label `function`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use strum::VariantArray;

use crate::families::GaugeMerge;
use crate::publish::error::Fault;
use crate::publish::gather::Sources;
use crate::publish::ledger::Ledger;
use crate::publish::process::{ProcessMetrics, claim_process};
use crate::publish::refusal::Refusal;
use crate::registered::registered;

/// Reasons why a publish can fail, as the values of the label `reason`.
const FAILURE_REASONS: [&str; 6] = ["throttled", TIMEOUT, "failed", UNREADABLE, TOO_LARGE, PANICKED];
const TIMEOUT: &str = "timeout";
const UNREADABLE: &str = "unreadable";
const TOO_LARGE: &str = "too_large";
const PANICKED: &str = "panicked";

#[derive(Debug)]
pub(crate) struct EnvironmentMetrics {
    registry: Registry,
    pub(crate) invocations: IntCounter,
    cold_starts: IntCounter,
    init_duration: Histogram,
    publishes: IntCounter,
    publish_failures: IntCounterVec,
    snapshot_bytes: IntGauge,
    dropped_series: IntCounter,
    refused_series: IntCounterVec,
    is_ready: AtomicBool,
}

impl EnvironmentMetrics {
    /// Creates the metrics of an environment of this function, which publishes to this table.
    pub(crate) fn new(function: &str, table: &str) -> Result<Self, prometheus::Error> {
        let labels = HashMap::from([("function".to_owned(), function.to_owned())]);
        let registry = Registry::new_custom(None, Some(labels))?;
        // The metrics that are about the environment itself are published by one publisher alone.
        let is_first = claim_process(table);
        let environment = if is_first { registry.clone() } else { Registry::new() };
        let metrics = Self {
            invocations: registered(
                &environment,
                IntCounter::new("lambda_invocations_total", "Invocations that the function has received."),
            )?,
            cold_starts: registered(
                &environment,
                IntCounter::new("lambda_cold_starts_total", "Execution environments that have started."),
            )?,
            init_duration: registered(
                &environment,
                Histogram::with_opts(
                    HistogramOpts::new(
                        "lambda_init_duration_seconds",
                        "Time from the start of the program until it was ready for its first invocation.",
                    )
                    .buckets(vec![0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0]),
                ),
            )?,
            publishes: registered(
                &registry,
                IntCounter::new("prometheus_dynamodb_publishes_total", "Snapshots that were published."),
            )?,
            publish_failures: registered(
                &registry,
                IntCounterVec::new(
                    Opts::new(
                        "prometheus_dynamodb_publish_failures_total",
                        "Attempts to publish a snapshot that failed; the next one carries what they would have.",
                    ),
                    &["reason"],
                ),
            )?,
            snapshot_bytes: registered(
                &registry,
                IntGauge::new(
                    "prometheus_dynamodb_snapshot_bytes",
                    "Size of the largest encoded snapshot that a live environment last published; DynamoDB charges by 1 KB.",
                ),
            )?,
            dropped_series: registered(
                &registry,
                IntCounter::new(
                    "prometheus_dynamodb_dropped_series_total",
                    "Series that are not published because their environment has more than STATS_MAX_SERIES.",
                ),
            )?,
            refused_series: registered(
                &registry,
                IntCounterVec::new(
                    Opts::new(
                        "prometheus_dynamodb_refused_series_total",
                        "Series that are not published as the program has them, by reason; the log names their metrics.",
                    ),
                    &["reason"],
                ),
            )?,
            is_ready: AtomicBool::new(false),
            registry,
        };
        if is_first {
            metrics.registry.register(Box::new(ProcessMetrics::new()?))?;
        } else {
            tracing::warn!(
                table,
                "another publisher of this process publishes invocations, cold starts and the process's metrics"
            );
        }
        FAILURE_REASONS.iter().for_each(|reason| {
            metrics.publish_failures.with_label_values(&[reason]);
        });
        Refusal::VARIANTS.iter().for_each(|refusal| {
            metrics.refused_series.with_label_values(&[refusal.as_ref()]);
        });
        Ok(metrics)
    }

    /// Adds these metrics to those of the function.
    pub(crate) fn add_to(&self, sources: Sources) -> Sources {
        sources
            .led_by(self.registry.clone())
            .gauge("prometheus_dynamodb_snapshot_bytes", GaugeMerge::LiveMax)
            .gauge("process_start_time_seconds", GaugeMerge::LiveMin)
            .gauge("process_max_fds", GaugeMerge::LiveMin)
            // Of a `Compactor` in this function. It is about the table, so it outlives the environment of the last run.
            .gauge("prometheus_dynamodb_base_full_writers", GaugeMerge::MostRecent)
    }

    /// Counts the cold start, once.
    pub(crate) fn ready(&self, init: Duration) {
        if self.is_ready.swap(true, Ordering::Relaxed) {
            return;
        }
        self.cold_starts.inc();
        self.init_duration.observe(init.as_secs_f64());
    }

    /// Counts the cold start of an environment that was restored from an image. The time that Lambda took to restore it
    /// cannot be known here; Lambda's own report has it.
    pub(crate) fn restored(&self) {
        self.cold_starts.inc();
    }

    pub(crate) fn has_published(&self) -> bool {
        self.publishes.get() > 0
    }

    pub(crate) fn published(&self, bytes: usize) {
        self.publishes.inc();
        self.snapshot_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Counts the series that the ledger leaves out, but not again those that it left out before. Returns whether there are
    /// more now.
    pub(crate) fn left_out(&self, ledger: &Ledger) -> bool {
        let refused = |refusal: Refusal| {
            (self.refused_series.with_label_values(&[refusal.as_ref()]), ledger.refusals().series(refusal))
        };
        let dropped = (self.dropped_series.clone(), ledger.dropped());
        let mut more = false;
        for (counter, series) in Refusal::VARIANTS.iter().copied().map(refused).chain([dropped]) {
            let new = series.saturating_sub(counter.get());
            counter.inc_by(new);
            more |= new > 0;
        }
        more
    }

    pub(crate) fn failed(&self, error: &Fault) {
        let reason = match error {
            Fault::Table(error) => error.reason(),
            Fault::TimedOut(_) | Fault::GaveWay => TIMEOUT,
            Fault::Sealed(_) | Fault::Structure { .. } => UNREADABLE,
            Fault::TooLarge(_) => TOO_LARGE,
            Fault::Collector(_) => PANICKED,
        };
        self.publish_failures.with_label_values(&[reason]).inc();
    }
}
