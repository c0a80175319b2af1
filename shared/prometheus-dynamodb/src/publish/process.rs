//! The process's own metrics, as in any Prometheus client.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use prometheus::core::{Collector, Desc};
#[cfg(target_os = "linux")]
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::{Counter, Metric, MetricFamily, MetricType};
#[cfg(target_os = "linux")]
use rustix::param::clock_ticks_per_second;
use rustix::time::{ClockId, clock_gettime};

/// Metrics of the process in all of Prometheus's client libraries:
/// <https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>.
const NAMES: [&str; 8] = [
    CPU_NAME,
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_threads",
    "process_virtual_memory_bytes",
    "process_virtual_memory_max_bytes",
];

const CPU_NAME: &str = "process_cpu_seconds_total";
const CPU_HELP: &str = "Total user and system CPU time spent in seconds.";

/// Returns whether the metric of this name is one of the process in Prometheus's client libraries.
pub(super) fn is_process_metric(name: &str) -> bool {
    NAMES.contains(&name)
}

/// The metrics `process_*`. On systems other than Linux there is only the CPU time.
#[derive(Debug)]
pub(crate) struct ProcessMetrics {
    #[cfg(target_os = "linux")]
    others: ProcessCollector,
    cpu: Desc,
}

impl ProcessMetrics {
    /// Creates the metrics of this process.
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        Ok(Self {
            #[cfg(target_os = "linux")]
            others: ProcessCollector::for_self(),
            cpu: Desc::new(CPU_NAME.to_owned(), CPU_HELP.to_owned(), Vec::new(), Default::default())?,
        })
    }
}

impl Collector for ProcessMetrics {
    fn desc(&self) -> Vec<&Desc> {
        #[cfg(target_os = "linux")]
        let others = self.others.desc();
        #[cfg(not(target_os = "linux"))]
        let others = Vec::new();
        others.into_iter().filter(|desc| desc.fq_name != CPU_NAME).chain([&self.cpu]).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        #[cfg(target_os = "linux")]
        let others = self.others.collect();
        #[cfg(not(target_os = "linux"))]
        let others = Vec::new();
        // The CPU time of `prometheus` has whole seconds, of which an environment may never use one.
        others.into_iter().filter(|family: &MetricFamily| family.name() != CPU_NAME).chain([cpu_family()]).collect()
    }
}

fn cpu_family() -> MetricFamily {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    let mut counter = Counter::default();
    counter.set_value(used.tv_sec as f64 + used.tv_nsec as f64 / 1e9);
    let mut metric = Metric::from_label(Vec::new());
    metric.set_counter(counter);
    let mut family = MetricFamily::default();
    family.set_name(CPU_NAME.to_owned());
    family.set_help(CPU_HELP.to_owned());
    family.set_field_type(MetricType::COUNTER);
    family.set_metric(vec![metric]);
    family
}

/// Returns how long this process has run, to a hundredth of a second, or `None` if the system does not tell.
pub(crate) fn age() -> Option<Duration> {
    #[cfg(target_os = "linux")]
    {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        // The program's name, in parentheses, can contain anything. The start is the 20th field after it (proc_pid_stat(5)).
        let started_ticks: u64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
        let started = Duration::from_millis(started_ticks * 1000 / clock_ticks_per_second());
        let since_boot = clock_gettime(ClockId::Boottime);
        let since_boot = Duration::new(since_boot.tv_sec.try_into().ok()?, since_boot.tv_nsec.try_into().ok()?);
        since_boot.checked_sub(started)
    }
    #[cfg(not(target_os = "linux"))]
    None
}

/// The tables to which this process publishes its own metrics.
static CLAIMED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Claims the right to publish the environment's and the process's metrics to this table. Returns `false` if a publisher of
/// this process has claimed it before, even one that has ended: what that one published stays counted.
pub(crate) fn claim_process(table: &str) -> bool {
    CLAIMED.lock().expect("no one panics while holding the lock").insert(table.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    #[allow(unused_imports, reason = "used if `prometheus` has its feature `protobuf`")]
    use crate::publish::value::Value as _;

    #[test]
    fn cpu_time_has_fractions_and_the_other_metrics_are_there() {
        let registry = prometheus::Registry::new();
        registry.register(Box::new(ProcessMetrics::new().unwrap())).unwrap();
        let cpu = || {
            let families = registry.gather();
            let family = families.iter().find(|family| family.name() == CPU_NAME).unwrap();
            family.get_metric()[0].get_counter().get_value()
        };
        let before = cpu();
        let mut spent = before;
        while spent - before < 0.01 {
            spent = cpu();
        }
        assert!(spent - before < 1.0, "whole seconds: {before} and {spent}");
        #[cfg(target_os = "linux")]
        assert_eq!(registry.gather().len(), 7);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_knows_its_age() {
        let age = age().unwrap();
        std::thread::sleep(Duration::from_millis(30));
        let later = super::age().unwrap();
        assert!(later > age && later < age + Duration::from_secs(60), "{age:?} and {later:?}");
        assert!(age < Duration::from_secs(3600), "{age:?}");
    }

    #[test]
    fn a_process_is_claimed_once_for_each_table() {
        assert!(claim_process("claims"));
        assert!(!claim_process("claims"));
        assert!(claim_process("other claims"));
    }
}
