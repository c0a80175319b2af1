//! The metrics of each function.

use prometheus::{Error, Gauge, Histogram, HistogramOpts, HistogramTimer, IntCounter, IntCounterVec, Opts, Registry};
use strum::VariantArray;

use super::registered;
use crate::store::Deletion;
use crate::sweep::SweepReport;
use crate::timestamp::Timestamp;
use crate::verify::Verdict;

/// Buckets from a millisecond, for an answer from memory, to more than the 2.5 s that a request may take.
const REQUEST_BUCKETS: [f64; 10] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0];

/// Buckets from a run that finds nothing to a run that uses all of its time.
const GC_BUCKETS: [f64; 10] = [0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Name of the gauge for the time of the last successful gc run. Over environments, the largest value is shown.
pub const LAST_SUCCESS: &str = "sigil_gc_last_success_timestamp_seconds";

fn histogram(name: &str, help: &str, buckets: &[f64]) -> Result<Histogram, Error> {
    Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))
}

/// The metrics of encode.
#[derive(Debug, Clone)]
pub struct EncodeMetrics {
    encoded: IntCounter,
    repeats: IntCounter,
    duration: Histogram,
    revoked: IntCounter,
}

impl EncodeMetrics {
    /// Registers the metrics.
    pub fn register(registry: &Registry) -> Result<Self, Error> {
        let encoded = IntCounter::new("sigil_encode_total", "Sigils that were created.");
        let repeats = IntCounter::new(
            "sigil_encode_repeats_total",
            "Requests to encode that were answered with the sigil that the same request under the same key had created.",
        );
        let duration = histogram(
            "sigil_encode_duration_seconds",
            "Time that answering a request to encode took, whatever the answer.",
            &REQUEST_BUCKETS,
        );
        let revoked = IntCounter::new("sigil_revoke_total", "Sigils that were revoked.");
        Ok(Self {
            encoded: registered(registry, encoded)?,
            repeats: registered(registry, repeats)?,
            duration: registered(registry, duration)?,
            revoked: registered(registry, revoked)?,
        })
    }

    /// Measures a request to encode until the timer is dropped.
    pub fn start(&self) -> HistogramTimer {
        self.duration.start_timer()
    }

    /// Counts a sigil that was created (`newly`), or a request that was answered with the sigil that it had created
    /// before.
    pub fn encoded(&self, newly: bool) {
        let counter = if newly { &self.encoded } else { &self.repeats };
        counter.inc();
    }

    /// Counts a revocation.
    pub fn revoked(&self) {
        self.revoked.inc();
    }
}

/// The metrics of verify.
#[derive(Debug, Clone)]
pub struct VerifyMetrics {
    verdicts: IntCounterVec,
    duration: Histogram,
}

impl VerifyMetrics {
    /// Registers the metrics.
    pub fn register(registry: &Registry) -> Result<Self, Error> {
        let verdicts =
            IntCounterVec::new(Opts::new("sigil_verify_total", "Tokens that were verified, by verdict."), &["verdict"]);
        let duration = histogram(
            "sigil_verify_duration_seconds",
            "Time that answering a request to verify took, whatever the answer.",
            &REQUEST_BUCKETS,
        );
        let this = Self { verdicts: registered(registry, verdicts)?, duration: registered(registry, duration)? };
        for verdict in Verdict::VARIANTS {
            this.verdicts.with_label_values(&[verdict.as_ref()]);
        }
        Ok(this)
    }

    /// Measures a request to verify until the timer is dropped.
    pub fn start(&self) -> HistogramTimer {
        self.duration.start_timer()
    }

    /// Counts a verdict.
    pub fn verified(&self, verdict: Verdict) {
        self.verdicts.with_label_values(&[verdict.as_ref()]).inc();
    }
}

/// The metrics of gc.
#[derive(Debug, Clone)]
pub struct GcMetrics {
    runs: IntCounter,
    deleted: IntCounterVec,
    duration: Histogram,
    last_success: Gauge,
}

impl GcMetrics {
    /// Registers the metrics.
    pub fn register(registry: &Registry) -> Result<Self, Error> {
        let deleted =
            Opts::new("sigil_gc_deleted_total", "Records that gc deleted, by the reason for which they were due.");
        let duration = histogram("sigil_gc_duration_seconds", "Time that a gc run took.", &GC_BUCKETS);
        let last_success = Gauge::new(LAST_SUCCESS, "When a gc run last succeeded, in seconds since the epoch.");
        let this = Self {
            runs: registered(registry, IntCounter::new("sigil_gc_total", "Runs of gc, successful or not."))?,
            deleted: registered(registry, IntCounterVec::new(deleted, &["reason"]))?,
            duration: registered(registry, duration)?,
            last_success: registered(registry, last_success)?,
        };
        for reason in Deletion::VARIANTS {
            this.deleted.with_label_values(&[reason.as_ref()]);
        }
        Ok(this)
    }

    /// Counts a run, and measures it until the timer is dropped.
    pub fn start(&self) -> HistogramTimer {
        self.runs.inc();
        self.duration.start_timer()
    }

    /// Counts the records that a sweep deleted.
    pub fn swept(&self, report: &SweepReport) {
        for (reason, deleted) in [(Deletion::Expired, report.expired), (Deletion::Revoked, report.revoked)] {
            self.deleted.with_label_values(&[reason.as_ref()]).inc_by(deleted);
        }
    }

    /// Records that a run succeeded at this time.
    pub fn succeeded(&self, now: Timestamp) {
        self.last_success.set(now.seconds() as f64);
    }
}
