//! The part `growth`: measures the cost of a scrape as environments, series and dead environments grow, for a picture.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use prometheus_dynamodb::MemoryStatsTable;
use prometheus_dynamodb::internals::compact;

use super::measurement::{milliseconds, quantile, thread_time};
use super::peer::{PROM_CLIENT, PYTHON, Peer};
use super::population::{self, Environment, SERIES, Shape};
use super::report::{Line, Panel, Report};

/// Numbers of live environments. Peers are measured only up to [`PEERS_UP_TO`].
const ENVIRONMENTS: [usize; 5] = [10, 100, 1000, 5000, 20_000];
/// Numbers of series that each of ten environments has.
const SERIES_EACH: [usize; 5] = [10, 100, 1000, 5000, 20_000];
/// Numbers of environments that have ended, beside a hundred live ones.
const DEAD: [usize; 5] = [10, 100, 1000, 5000, 20_000];

/// Number of live environments while something else grows.
const LIVE_BESIDE_DEAD: usize = 100;
const LIVE_BESIDE_SERIES: usize = 10;

/// Largest number of environments of a peer: preparing more and waiting for them takes minutes.
const PEERS_UP_TO: usize = 5000;

/// Number of measured scrapes of each subject, after one that is not measured.
const SCRAPES: usize = 3;

/// Measures the part.
pub(super) async fn run() -> Result<Report> {
    let standard = Shape::of(SERIES);
    let (mut environments, mut series, mut dead) = (Curves::default(), Curves::default(), Curves::default());
    for number in ENVIRONMENTS {
        let stats = MemoryStatsTable::default();
        population::populate(&stats, 0..number, standard, 1).await?;
        environments.measure(number, &stats, number, standard).await?;
    }
    for number in SERIES_EACH {
        let (stats, shape) = (MemoryStatsTable::default(), Shape::of(number));
        population::populate(&stats, 0..LIVE_BESIDE_SERIES, shape, 1).await?;
        series.measure(number, &stats, LIVE_BESIDE_SERIES, shape).await?;
    }
    for number in DEAD {
        let stats = MemoryStatsTable::default();
        population::populate(&stats, 0..LIVE_BESIDE_DEAD, standard, 1).await?;
        die(&stats, LIVE_BESIDE_DEAD..LIVE_BESIDE_DEAD + number, standard).await?;
        dead.measure(number, &stats, LIVE_BESIDE_DEAD + number, standard).await?;
    }
    let panels = vec![
        environments.into_panel(format!("Live environments of {SERIES} series"), "live environments"),
        series.into_panel(format!("Series of each of {LIVE_BESIDE_SERIES} environments"), "series in an environment"),
        dead.into_panel(format!("Dead environments beside {LIVE_BESIDE_DEAD} live ones"), "dead environments"),
    ];
    Ok(Report { panels, ..Default::default() })
}

/// The curves of one panel, one for each subject: ours, Python's, Node's.
#[derive(Default)]
struct Curves {
    ours: Vec<(f64, f64)>,
    python: Vec<(f64, f64)>,
    node: Vec<(f64, f64)>,
}

impl Curves {
    /// Adds a point to each curve. `processes` is the number of processes that have left something for the peers to
    /// read.
    async fn measure(&mut self, x: usize, stats: &MemoryStatsTable, processes: usize, shape: Shape) -> Result<()> {
        let at = x as f64;
        let stats = stats.clone();
        self.ours.push((at, tokio::task::spawn_blocking(move || ours(&stats)).await??));
        if x <= PEERS_UP_TO {
            self.python.push((at, theirs(Peer::python(processes, shape).await?).await?));
            self.node.push((at, theirs(Peer::prom_client(processes, shape).await?).await?));
        }
        Ok(())
    }

    fn into_panel(self, title: String, x: &str) -> Panel {
        let lines = [("this project", self.ours), (PYTHON, self.python), (PROM_CLIENT, self.node)];
        let lines = lines.map(|(name, points)| Line { name: name.to_owned(), points });
        Panel { title, x: x.to_owned(), y: "a scrape's CPU time, ms".to_owned(), lines: lines.into() }
    }
}

fn ours(stats: &MemoryStatsTable) -> Result<f64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let mut samples = Vec::new();
    for _ in 0..=SCRAPES {
        let started = thread_time();
        runtime.block_on(population::page(stats))?;
        samples.push(milliseconds(thread_time() - started));
    }
    Ok(quantile(&samples[1..], 0.5))
}

async fn theirs(mut peer: Peer) -> Result<f64> {
    let mut samples = Vec::new();
    for _ in 0..=SCRAPES {
        samples.push(peer.scrape().await?);
    }
    Ok(quantile(&samples[1..], 0.5))
}

/// Starts environments that publish, end and are folded, a thousand at a time, as if between two runs of gc.
async fn die(stats: &MemoryStatsTable, environments: std::ops::Range<usize>, shape: Shape) -> Result<()> {
    let grace = Duration::from_millis(1);
    let settings = population::settings(grace)?;
    let all: Vec<usize> = environments.collect();
    for dying in all.chunks(1000) {
        for &number in dying {
            let mut environment = Environment::new(stats.clone(), shape.registry(number)?, 1)?;
            environment.request().await;
            environment.publisher.close().await;
        }
        // Sealing and folding come first, burying a grace later, and forgetting another grace later.
        for _ in 0..3 {
            let (report, done) = compact(stats, &settings, Instant::now() + Duration::from_secs(60)).await;
            done?;
            ensure!(report.finished && report.unreadable == 0, "compaction leaves something: {report:?}");
            tokio::time::sleep(2 * grace).await;
        }
    }
    Ok(())
}
