//! Reports the results of a soak.

use std::fmt;
use std::time::Duration;

use super::footprint::Footprint;
use super::seen::Seen;
use super::settings::Settings;
use crate::kit::fault_proxy::Traffic;

/// Counts of scrapes and of gc's runs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pages {
    /// Pages that were read and compared with the page before.
    pub scrapes: u64,
    /// Scrapes that were answered 429 or 503.
    pub failed_scrapes: u64,
    /// Runs of gc that returned a summary.
    pub runs: u64,
    /// Runs of gc that reported an error.
    pub failed_runs: u64,
}

/// The results of a soak.
#[derive(Debug)]
pub struct Report {
    /// Settings of the run.
    pub settings: Settings,
    /// Duration of the run.
    pub took: Duration,
    /// Rounds of all troubles.
    pub rounds: u64,
    /// Counts of what clients saw.
    pub seen: Seen,
    /// Sigils that were acknowledged, each of which was verified at the end.
    pub sigils: usize,
    /// Environments that were killed, or hung until their time-out and were then killed.
    pub lost: u64,
    /// Number of counts that clients saw and that were lost with environments before they were published.
    pub forgotten: u64,
    /// Counts of the scrapes and of gc's runs.
    pub pages: Pages,
    /// Counts of the proxy before the database.
    pub traffic: Traffic,
    /// Functions, each with the footprint of one environment after the first round and at the end.
    pub footprints: Vec<(&'static str, Footprint, Footprint)>,
    /// Violations: events that should not have happened. There should be none.
    pub violations: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { settings, seen, pages, .. } = self;
        writeln!(f, "\nSOAK_DURATION={}s SOAK_SEED={}", settings.duration.as_secs(), settings.seed)?;
        writeln!(f, "{} rounds of troubles in {:.0} s", self.rounds, self.took.as_secs_f64())?;
        writeln!(f, "{} requests, {} of them without an answer", seen.requests, seen.unheard)?;
        writeln!(f, "{} errors that clients saw: {:?}", seen.errors(), seen.errors_by_reason())?;
        writeln!(f, "{} sigils acknowledged, and each verified at the end", self.sigils)?;
        writeln!(f, "{} environments lost, and {} counts with them", self.lost, self.forgotten)?;
        writeln!(
            f,
            "{} pages, {} scrapes refused; {} runs of gc, {} with an error",
            pages.scrapes, pages.failed_scrapes, pages.runs, pages.failed_runs
        )?;
        writeln!(f, "{} calls to DynamoDB, troubles {:?}", self.traffic.total(), self.traffic.faults)?;
        for (function, before, after) in &self.footprints {
            let megabytes = |footprint: &Footprint| footprint.memory as f64 / 1e6;
            writeln!(
                f,
                "{function}: {:.1} → {:.1} MB resident, {} → {} descriptors",
                megabytes(before),
                megabytes(after),
                before.descriptors,
                after.descriptors
            )?;
        }
        writeln!(f, "{} violations", self.violations.len())?;
        self.violations.iter().take(20).try_for_each(|violation| writeln!(f, "  {violation}"))
    }
}
