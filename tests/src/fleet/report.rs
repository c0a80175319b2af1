//! Reports the results of a run.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::settings::Settings;
use super::violation::{Rule, Violation};
use crate::kit::fault_proxy::Traffic;

/// Largest number of violations that are printed.
const SHOWN: usize = 20;

/// A report of what happened to a fleet, and of what was wrong.
#[derive(Debug, Clone)]
pub struct Report {
    /// The run's size and seed.
    pub settings: Settings,
    /// Duration of the run.
    pub duration: Duration,
    /// Environments that answered clients.
    pub environments: usize,
    /// Environments that collected garbage.
    pub gc_environments: usize,
    /// Responses that were received, those of gc included.
    pub requests: u64,
    /// Environments that were killed.
    pub killed: usize,
    /// Killed environments one of whose requests had run into its time-out.
    pub timed_out: usize,
    /// Invocations that these environments had begun and not published.
    pub lost_by_time_outs: u64,
    /// Environments that handled several requests at once.
    pub several_at_once: usize,
    /// Environments that were frozen until gc took them for dead, and thawed again.
    pub frozen_past_folding: u32,
    /// Environments that have published under more than one id.
    pub fresh_ids: usize,
    /// Number of snapshots that were stored in each format.
    pub formats: BTreeMap<String, u64>,
    /// Invocations that were responded to and not published.
    pub lost: u64,
    /// Largest number of such invocations in one environment.
    pub most_lost: u64,
    /// Pages that were checked.
    pub scrapes: u32,
    /// Scrapes that were answered 429 or 503.
    pub failed_scrapes: u32,
    /// Traffic that passed the proxy while there were faults.
    pub traffic: Traffic,
    /// Violations of rules.
    pub violations: Vec<Violation>,
}

impl Report {
    /// Returns whether this rule was violated.
    pub fn breaks(&self, rule: Rule) -> bool {
        self.violations.iter().any(|violation| violation.rule == rule)
    }

    /// Returns the share of calls that met a fault.
    pub fn faulty_share(&self) -> f64 {
        self.traffic.faulty() as f64 / self.traffic.total().max(1) as f64
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { settings, traffic, .. } = self;
        let (interval, shards) = (settings.publish_interval(), settings.shards());
        writeln!(f, "seed {}: publishes {interval:?} apart at least, shards: {shards}", settings.seed)?;
        writeln!(
            f,
            "{} environments and {} of gc; {} killed, {} frozen past folding, {} went on under a fresh id",
            self.environments, self.gc_environments, self.killed, self.frozen_past_folding, self.fresh_ids
        )?;
        writeln!(
            f,
            "{} handle several requests at once; {} ran into their time-out, which lost {} invocations",
            self.several_at_once, self.timed_out, self.lost_by_time_outs
        )?;
        let per_second = self.requests as f64 / self.duration.as_secs_f64();
        let seconds = self.duration.as_secs_f64();
        writeln!(f, "{} requests in {seconds:.0} s, {per_second:.0} a second", self.requests)?;
        writeln!(f, "snapshots stored by format: {:?}", self.formats)?;
        writeln!(f, "{} never published, at most {} by one environment", self.lost, self.most_lost)?;
        let (calls, share) = (traffic.total(), 100.0 * self.faulty_share());
        writeln!(
            f,
            "{calls} calls to DynamoDB, {share:.1} % faulty: {:?}; {} expired",
            traffic.faults, traffic.expired
        )?;
        writeln!(f, "{} pages, {} scrapes failed", self.scrapes, self.failed_scrapes)?;
        write!(f, "{} violations", self.violations.len())?;
        for violation in self.violations.iter().take(SHOWN) {
            write!(f, "\n  {violation}")?;
        }
        Ok(())
    }
}
