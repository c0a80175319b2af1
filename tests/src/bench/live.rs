//! The part `live`: measures scrapes of thousands of live environments by the release artifact, out of DynamoDB Local.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use prometheus_dynamodb::DynamoDbStatsTable;
use tokio::task::JoinSet;

use super::capacity::CapacityMeter;
use super::desk::Desk;
use super::measurement::{CpuTime, milliseconds, peak_memory, quantile};
use super::population::{self, SERIES, Shape};
use super::report::{Report, Table};
use super::subject::Subject;
use super::work::{Ledger, Work};
use crate::kit::declared_tables::Template;
use crate::kit::exposition::Exposition;
use crate::kit::runtime_api::Outcome;
use crate::kit::variables::FunctionVariables;

/// Numbers of live environments, and of the shards that they use.
const TABLES: [(usize, u32); 3] = [(1000, 1), (10_000, 1), (10_000, 4)];

/// Number of environments that publish at once.
const AT_ONCE: usize = 16;

/// Number of measured scrapes of each table, after one that is not measured.
const SCRAPES: usize = 5;

/// Measures the part.
pub(super) async fn run() -> Result<Report> {
    let desk = Desk::start().await?;
    let template = Template::read()?;
    let client = desk.dynamodb.client();
    let mut table = Table::new(
        format!("A scrape of live environments of {SERIES} series, out of DynamoDB Local"),
        [
            ("read units", "units"),
            ("calls", ""),
            ("CPU time", "ms"),
            ("of that for a snapshot", "µs"),
            ("wall time", "ms"),
            ("peak memory", "MB"),
        ],
    );
    for (environments, shards) in TABLES {
        let name = format!("stats-{environments}-{shards}");
        template.table("StatsTable")?.create(&client, &name).await?;
        populate(&DynamoDbStatsTable::new(client.clone(), &name), environments, shards).await?;

        let meter = CapacityMeter::start(&desk.dynamodb.url()).await?;
        let mut variables = desk.variables.clone();
        variables.set("STATS_TABLE", &name);
        variables.set("STATS_WRITER_IDLE", "1h");
        let mut metered = variables.clone();
        metered.set("AWS_ENDPOINT_URL_DYNAMODB", &meter.url());
        scrapes(&desk, &metered, 1, environments).await?;
        let (query, get) = (meter.used(&name, "Query"), meter.used(&name, "GetItem"));

        let Scraped { wall, cpu, peak_memory } = scrapes(&desk, &variables, 1 + SCRAPES, environments).await?;
        table.row(
            format!("{environments} environments, {shards} shard{}", if shards == 1 { "" } else { "s" }),
            [
                query.units + get.units,
                (query.calls + get.calls) as f64,
                milliseconds(cpu),
                cpu.as_secs_f64() * 1e6 / environments as f64,
                milliseconds(wall),
                peak_memory as f64 / 1e6,
            ],
        );
    }
    table.note(format!(
        "The release artifact of `metrics` under the emulator of the Runtime API; medians of {SCRAPES} scrapes after a first one. DynamoDB Local \
         and the function share the machine's cores, so that the wall time is that of both; the read units are those that it reports."
    ));
    Ok(table.into())
}

async fn populate(stats: &DynamoDbStatsTable, environments: usize, shards: u32) -> Result<()> {
    let mut tasks = JoinSet::new();
    for task in 0..AT_ONCE {
        let stats = stats.clone();
        let share = environments * task / AT_ONCE..environments * (task + 1) / AT_ONCE;
        tasks.spawn(async move { population::populate(&stats, share, Shape::of(SERIES), shards).await });
    }
    tasks.join_all().await.into_iter().collect()
}

/// The cost of scrapes by one environment, without the first scrape.
struct Scraped {
    wall: Duration,
    cpu: Duration,
    peak_memory: u64,
}

/// Starts an environment of `metrics` and scrapes with it `times` times. Each page must count all `live` environments.
async fn scrapes(desk: &Desk, variables: &FunctionVariables, times: usize, live: usize) -> Result<Scraped> {
    let metrics = Subject::artifact("metrics")?;
    let environment = desk.environment_with(&metrics, variables).await?;
    let (mut wall, mut cpu) = (Vec::new(), Vec::new());
    for _ in 0..times {
        let before = CpuTime::of(environment.process())?;
        let started = Instant::now();
        let outcome = environment.api().invoke(&Work::Metrics.event(&Ledger::default())?).await?;
        wall.push(started.elapsed());
        environment.api().asks_for_event().await;
        cpu.push(CpuTime::of(environment.process())?.since(&before));
        let Outcome::Response(response) = outcome else { anyhow::bail!("a scrape ended with {outcome:?}") };
        ensure!(response["statusCode"] == 200, "a scrape was answered {response}");
        let page = Exposition::parse(response["body"].as_str().context("a page has a body")?)?;
        let counted = page.value("prometheus_dynamodb_writers", &[("state", "live")]);
        ensure!(counted == Some(live as f64), "{live} environments are live, and the page counts {counted:?}");
    }
    let peak_memory = peak_memory(environment.process())?;
    environment.terminate().await?;
    let measured = usize::from(times > 1)..;
    Ok(Scraped { wall: quantile(&wall[measured.clone()], 0.5), cpu: quantile(&cpu[measured], 0.5), peak_memory })
}
