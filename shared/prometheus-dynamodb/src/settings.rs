//! What the environment says about publishing and reading.

use std::time::Duration;

use env_settings::{EnvReader, SettingsError, parse};

use crate::publish::schedule::Pace;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The most partition keys that writers can be spread over. A scrape reads each of them.
pub(crate) const MAX_SHARDS: u32 = 256;

/// What a publishing function needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriterSettings {
    /// `STATS_TABLE`: the stats table's name.
    pub table: String,
    /// `STATS_SHARDS`, default 1: over how many partition keys writers are spread. DynamoDB takes about 1,000 writes of
    /// 1 KB a second under one.
    pub shards: u32,
    /// `STATS_PUBLISH_INTERVAL`, default 1s, and `STATS_PUBLISH_BURST`, default 10.
    pub pace: Pace,
    /// `STATS_MAX_SERIES`, default 2000: how many series an environment publishes; those beyond are left out and counted.
    pub max_series: usize,
    /// `AWS_LAMBDA_FUNCTION_NAME`, which Lambda sets.
    pub function: String,
    /// `AWS_LAMBDA_FUNCTION_VERSION`, which Lambda sets.
    pub version: String,
}

impl WriterSettings {
    /// Reads the process's environment.
    pub fn from_env() -> Result<Self, SettingsError> {
        let mut env = EnvReader::from_process();
        let settings = Self::read(&mut env);
        env.finish(|| settings)
    }

    /// Reads these settings among others.
    pub fn read(env: &mut EnvReader) -> Option<Self> {
        let table = env.required("STATS_TABLE", parse::non_empty);
        let shards = env.with_default("STATS_SHARDS", 1, parse::in_range(1..=MAX_SHARDS));
        let second = Duration::from_secs(1);
        let interval = env.with_default("STATS_PUBLISH_INTERVAL", second, parse::duration(Duration::ZERO..=DAY));
        let burst = env.with_default("STATS_PUBLISH_BURST", 10, parse::in_range(1..=1000));
        let max_series = env.with_default("STATS_MAX_SERIES", 2000, parse::in_range(1..=20_000));
        let function = env.required("AWS_LAMBDA_FUNCTION_NAME", parse::non_empty);
        let version = env.required("AWS_LAMBDA_FUNCTION_VERSION", parse::non_empty);
        Some(Self {
            table: table?,
            shards: shards?,
            pace: Pace { interval: interval?, burst: burst? },
            max_series: max_series?,
            function: function?,
            version: version?,
        })
    }
}

/// What the functions need to know that read the page and that compact the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSettings {
    /// `STATS_TABLE`: the stats table's name.
    pub table: String,
    /// `STATS_WRITER_IDLE`, default 15m: after this silence a writer is not live, and may be compacted.
    pub writer_idle: Duration,
    /// `STATS_GRACE`, default 35m: burial and forgetting wait this long, and a scrape that takes longer than half of it
    /// gives up. Less than [`SAFE_GRACE`] is for tests, where nothing is delayed for so long.
    pub grace: Duration,
}

/// The shortest grace that outlasts every put that AWS still takes. It takes a request whose signature's time is at most 15
/// minutes before or after its own. So once a put was taken, copies of it can be taken for 30 minutes: it was signed 15
/// minutes ahead at most, and is refused 15 minutes after that. Five more are for the whole seconds of the table's times,
/// and for the differences between AWS's own clocks.
pub const SAFE_GRACE: Duration = Duration::from_secs(35 * 60);

impl TableSettings {
    /// Reads the process's environment.
    pub fn from_env() -> Result<Self, SettingsError> {
        let mut env = EnvReader::from_process();
        let settings = Self::read(&mut env);
        env.finish(|| settings)
    }

    /// Reads these settings among others.
    pub fn read(env: &mut EnvReader) -> Option<Self> {
        let second = Duration::from_secs(1);
        let table = env.required("STATS_TABLE", parse::non_empty);
        let idle = Duration::from_secs(15 * 60);
        let writer_idle = env.with_default("STATS_WRITER_IDLE", idle, parse::duration(second..=DAY));
        let grace = env.with_default("STATS_GRACE", SAFE_GRACE, parse::duration(second..=DAY))?;
        if grace < SAFE_GRACE {
            tracing::warn!(?grace, "STATS_GRACE is below 35m: exact only where no request is delayed for so long");
        }
        Some(Self { table: table?, writer_idle: writer_idle?, grace })
    }
}
