//! The part `publish`: measures the processor time of a publish beside the bare registry's gather, and that of
//! counting.

use anyhow::{Context, Result};
use prometheus::process_collector::ProcessCollector;
use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, Opts, Registry};
use prometheus_dynamodb::MemoryStatsTable;

use super::measurement::{subject, take_turns};
use super::population::{Environment, SERIES, Shape};
use super::report::{Report, Table};

/// Measures the part, on a separate thread.
pub(super) async fn run() -> Result<Report> {
    let tables = vec![tokio::task::spawn_blocking(publish).await??, tokio::task::spawn_blocking(hot_path).await??];
    Ok(Report { tables, ..Default::default() })
}

/// Compares a publish with gathering alone.
fn publish() -> Result<Table> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let registry = Shape::of(SERIES).registry(7)?;
    let with_process = Shape::of(SERIES).registry(7)?;
    with_process.register(Box::new(ProcessCollector::for_self()))?;
    let process_only = Registry::new();
    process_only.register(Box::new(ProcessCollector::for_self()))?;
    let more = IntCounter::new("bench_more_total", "Changes with each request.")?;
    registry.register(Box::new(more.clone()))?;
    let mut environment = Environment::new(MemoryStatsTable::default(), registry.clone(), 1)?;
    runtime.block_on(environment.settle());

    let mut gather = subject(|| registry.gather());
    let mut gather_with_process = subject(|| with_process.gather());
    let mut gather_process = subject(|| process_only.gather());
    let mut publish = || {
        more.inc();
        runtime.block_on(environment.request());
    };
    let nanoseconds = take_turns(&mut [&mut gather, &mut gather_with_process, &mut gather_process, &mut publish]);
    let [gather, with_process, process, publish] = nanoseconds[..] else { unreachable!("there are four") };
    let mut table = Table::new(
        format!("A publish: gather, encode, compress, store in memory; {SERIES} series"),
        [("CPU time", "µs"), ("/ gather", "×")],
    );
    for (name, nanoseconds) in [
        ("`Registry::gather` of the bare `prometheus` crate", gather),
        ("the same with its process collector", with_process),
        ("a publish of these series, which has its own metrics and the process collector's, too", publish),
        ("*a publish without what the process collector takes*", publish - process),
    ] {
        table.row(name, [nanoseconds / 1e3, nanoseconds / gather]);
    }
    table.note(
        "The process collector reads `/proc`, which most of its time goes to; gathering alone leaves protocol buffers in memory, \
         which nobody has sent yet.",
    );
    Ok(table)
}

/// The metrics that a handler touches.
struct Touched {
    counter: IntCounter,
    counters: IntCounterVec,
    histogram: Histogram,
}

impl Touched {
    fn register(registry: &Registry) -> Result<Self> {
        let this = Self {
            counter: IntCounter::new("bench_done_total", "Done.")?,
            counters: IntCounterVec::new(Opts::new("bench_done_by_total", "Done, by kind."), &["kind"])?,
            histogram: Histogram::with_opts(HistogramOpts::new("bench_seconds", "Time."))?,
        };
        registry.register(Box::new(this.counter.clone()))?;
        registry.register(Box::new(this.counters.clone()))?;
        registry.register(Box::new(this.histogram.clone()))?;
        Ok(this)
    }
}

/// Compares counting in a registry that is published with counting in one that is not.
fn hot_path() -> Result<Table> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let (bare, published) = (Registry::new(), Registry::new());
    let (bare_metrics, metrics) = (Touched::register(&bare)?, Touched::register(&published)?);
    runtime.block_on(async {
        Environment::new(MemoryStatsTable::default(), published, 1)?.request().await;
        anyhow::Ok(())
    })?;
    let mut table = Table::new(
        "Counting, in a registry that is published and in one that is not",
        [("bare `prometheus`", "ns"), ("with this crate", "ns"), ("with / bare", "×")],
    );
    let mut compare = |name: &str, call: fn(&Touched)| {
        let (mut with, mut without) = (|| call(&metrics), || call(&bare_metrics));
        let nanoseconds = take_turns(&mut [&mut without, &mut with]);
        let (without, with) = (nanoseconds.first().context("two")?, nanoseconds.last().context("two")?);
        table.row(name, [*without, *with, with / without]);
        anyhow::Ok(())
    };
    compare("`counter.inc()`", |metrics| metrics.counter.inc())?;
    compare("`counters.with_label_values(&[…]).inc()`", |metrics| metrics.counters.with_label_values(&["a"]).inc())?;
    compare("`histogram.observe(…)`", |metrics| metrics.histogram.observe(std::hint::black_box(0.02)))?;
    table.note("The metrics are the `prometheus` crate's own, and this crate is nowhere near them until it gathers: the ratio is noise around 1.");
    Ok(table)
}
