//! The settings of publishing and reading, from the environment or from builders. Both check every value, and report all
//! faults at once.

pub(crate) mod faults;

use std::ops::RangeInclusive;
use std::time::Duration;

use faults::Faults;
pub use faults::{SettingFault, SettingsError};

use crate::publish::schedule::Pace;
use crate::table::wire;

const DAY: Duration = Duration::from_hours(24);

/// Maximum number of partition keys that writers can be spread over. A scrape reads each of them.
pub(crate) const MAX_SHARDS: u32 = 256;

/// Shortest grace that outlasts every put that AWS still takes. AWS takes a request whose signature's time is at most 15
/// minutes before or after AWS's own time. So once a put was taken, copies of it can be taken for 30 minutes: it was signed
/// 15 minutes ahead at most, and is refused 15 minutes after that. Five more minutes are for the whole seconds of the
/// table's times, and for the differences between AWS's own clocks.
pub(crate) const SAFE_GRACE: Duration = Duration::from_mins(35);

const SHARDS: RangeInclusive<u32> = 1..=MAX_SHARDS;
const BURST: RangeInclusive<u32> = 1..=1000;
const BUDGET_PERCENT: RangeInclusive<u8> = 1..=100;
const MAX_SERIES: RangeInclusive<u32> = 1..=20_000;
const FORMATS: RangeInclusive<u64> = wire::FORMAT..=wire::FORMAT_STRUCTURED;
const ANY_TIME: RangeInclusive<Duration> = Duration::ZERO..=DAY;

/// Settings of a function that publishes.
///
/// ```
/// use prometheus_dynamodb::WriterSettings;
///
/// let settings = WriterSettings::builder("stats", "checkout", "$LATEST").shards(4).build()?;
/// let error = WriterSettings::builder("stats", "checkout", "$LATEST").shards(0).build().unwrap_err();
/// assert_eq!(error.to_string(), "a setting is wrong: STATS_SHARDS is 0: a whole number from 1 to 256 is needed");
/// # Ok::<(), prometheus_dynamodb::SettingsError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriterSettings {
    pub(crate) table: String,
    pub(crate) function: String,
    pub(crate) version: String,
    pub(crate) shards: u32,
    pub(crate) pace: Pace,
    pub(crate) max_series: u32,
    pub(crate) format: u64,
}

impl WriterSettings {
    /// Reads the settings from the process's environment.
    ///
    /// | variable | default | |
    /// |---|---|---|
    /// | `STATS_TABLE` | required | the stats table's name |
    /// | `AWS_LAMBDA_FUNCTION_NAME`, `AWS_LAMBDA_FUNCTION_VERSION` | required | Lambda sets them |
    /// | `STATS_SHARDS` | 1 | see [`shards`](WriterSettingsBuilder::shards) |
    /// | `STATS_PUBLISH_INTERVAL`, `STATS_PUBLISH_BURST` | 1s, 10 | see [`pace`](WriterSettingsBuilder::pace) |
    /// | `STATS_PUBLISH_BUDGET_PERCENT` | 2 | see [`budget_percent`](WriterSettingsBuilder::budget_percent) |
    /// | `STATS_MAX_SERIES` | 2000 | see [`max_series`](WriterSettingsBuilder::max_series) |
    /// | `STATS_FORMAT` | 2 | see [`format`](WriterSettingsBuilder::format) |
    ///
    /// # Errors
    ///
    /// Returns every variable that is missing or out of range, by name and with what is allowed.
    pub fn from_env() -> Result<Self, SettingsError> {
        Self::from_variables(process_variable)
    }

    /// Reads the settings from the variables of [`from_env`](Self::from_env), as `variable` returns them.
    ///
    /// # Errors
    ///
    /// Fails as [`from_env`](Self::from_env) does.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let mut faults = Faults::default();
        let mut builder = Self::builder(
            faults.required(&variable, "STATS_TABLE"),
            faults.required(&variable, "AWS_LAMBDA_FUNCTION_NAME"),
            faults.required(&variable, "AWS_LAMBDA_FUNCTION_VERSION"),
        );
        faults.number(&variable, "STATS_SHARDS", &SHARDS, &mut builder.settings.shards);
        faults.duration(&variable, "STATS_PUBLISH_INTERVAL", &ANY_TIME, &mut builder.settings.pace.interval);
        faults.number(&variable, "STATS_PUBLISH_BURST", &BURST, &mut builder.settings.pace.burst);
        let budget_percent = &mut builder.settings.pace.budget_percent;
        faults.number(&variable, "STATS_PUBLISH_BUDGET_PERCENT", &BUDGET_PERCENT, budget_percent);
        faults.number(&variable, "STATS_MAX_SERIES", &MAX_SERIES, &mut builder.settings.max_series);
        faults.number(&variable, "STATS_FORMAT", &FORMATS, &mut builder.settings.format);
        faults.finish(builder.settings)
    }

    /// Starts from the defaults, with the stats table's name and the function's name and version.
    pub fn builder(
        table: impl Into<String>,
        function: impl Into<String>,
        version: impl Into<String>,
    ) -> WriterSettingsBuilder {
        WriterSettingsBuilder {
            settings: Self {
                table: table.into(),
                function: function.into(),
                version: version.into(),
                shards: 1,
                pace: Pace { interval: Duration::from_secs(1), burst: 10, budget_percent: 2 },
                max_series: 2000,
                format: wire::FORMAT_STRUCTURED,
            },
        }
    }

    /// Returns the stats table's name.
    pub fn table(&self) -> &str {
        &self.table
    }
}

/// A builder of [`WriterSettings`].
#[derive(Debug, Clone)]
#[must_use]
pub struct WriterSettingsBuilder {
    settings: WriterSettings,
}

impl WriterSettingsBuilder {
    /// Spreads environments over this many partition keys, 1 to 256. DynamoDB takes about 1,000 write units a second under
    /// one key. The number may be raised and lowered at any time, since readers know the highest one that was ever used.
    pub fn shards(mut self, shards: u32) -> Self {
        self.settings.shards = shards;
        self
    }

    /// Publishes at most `burst` times at once, 1 to 1000, and in the long run once every `interval`, which is at most
    /// a day. With an interval of zero, only the [budget](Self::budget_percent) limits publishing.
    pub fn pace(mut self, interval: Duration, burst: u32) -> Self {
        (self.settings.pace.interval, self.settings.pace.burst) = (interval, burst);
        self
    }

    /// Spends at most this share of any stretch of an environment's time, 1 to 100 %, and 1.25 s more on publishing after
    /// responses. An environment takes no event while it publishes. 100 is no bound.
    pub fn budget_percent(mut self, percent: u8) -> Self {
        self.settings.pace.budget_percent = percent;
        self
    }

    /// Publishes at most this many series, 1 to 20,000, and counts those that it leaves out. The environment's own
    /// series, some forty, are included in the number and never left out.
    pub fn max_series(mut self, max_series: u32) -> Self {
        self.settings.max_series = max_series;
        self
    }

    /// Writes snapshots in this format. Format 2, the default, stores once what environments have in common. Format 1 can
    /// also be read by versions of this crate that know no other. Both formats are always read.
    pub fn format(mut self, format: u64) -> Self {
        self.settings.format = format;
        self
    }

    /// Checks the values, and returns the settings.
    ///
    /// # Errors
    ///
    /// Returns every value that is out of range, by the name of its variable.
    pub fn build(self) -> Result<WriterSettings, SettingsError> {
        let settings = self.settings;
        let mut faults = Faults::default();
        faults.check_text("STATS_TABLE", &settings.table);
        faults.check_text("AWS_LAMBDA_FUNCTION_NAME", &settings.function);
        faults.check_text("AWS_LAMBDA_FUNCTION_VERSION", &settings.version);
        faults.check_number("STATS_SHARDS", settings.shards, &SHARDS);
        faults.check_duration("STATS_PUBLISH_INTERVAL", settings.pace.interval, &ANY_TIME);
        faults.check_number("STATS_PUBLISH_BURST", settings.pace.burst, &BURST);
        faults.check_number("STATS_PUBLISH_BUDGET_PERCENT", settings.pace.budget_percent, &BUDGET_PERCENT);
        faults.check_number("STATS_MAX_SERIES", settings.max_series, &MAX_SERIES);
        faults.check_number("STATS_FORMAT", settings.format, &FORMATS);
        faults.finish(settings)
    }
}

/// Settings of a function that reads the page or compacts the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSettings {
    pub(crate) table: String,
    pub(crate) writer_idle: Duration,
    pub(crate) grace: Duration,
    pub(crate) created_series: bool,
}

impl TableSettings {
    /// Reads the settings from the process's environment.
    ///
    /// | variable | default | |
    /// |---|---|---|
    /// | `STATS_TABLE` | required | the stats table's name |
    /// | `STATS_WRITER_IDLE` | 15m | see [`writer_idle`](TableSettingsBuilder::writer_idle) |
    /// | `STATS_GRACE` | 35m | see [`grace`](TableSettingsBuilder::grace) |
    /// | `STATS_CREATED_SERIES` | false | see [`created_series`](TableSettingsBuilder::created_series) |
    ///
    /// # Errors
    ///
    /// Returns every variable that is missing or out of range, by name and with what is allowed.
    pub fn from_env() -> Result<Self, SettingsError> {
        Self::from_variables(process_variable)
    }

    /// Reads the settings from the variables of [`from_env`](Self::from_env), as `variable` returns them.
    ///
    /// # Errors
    ///
    /// Fails as [`from_env`](Self::from_env) does.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let mut faults = Faults::default();
        let mut settings = Self::builder(faults.required(&variable, "STATS_TABLE")).settings;
        faults.duration(&variable, "STATS_WRITER_IDLE", &ANY_TIME, &mut settings.writer_idle);
        faults.duration(&variable, "STATS_GRACE", &ANY_TIME, &mut settings.grace);
        faults.flag(&variable, "STATS_CREATED_SERIES", &mut settings.created_series);
        settings.warn();
        faults.finish(settings)
    }

    /// Starts from the defaults, with the stats table's name.
    pub fn builder(table: impl Into<String>) -> TableSettingsBuilder {
        let writer_idle = Duration::from_mins(15);
        TableSettingsBuilder {
            settings: Self { table: table.into(), writer_idle, grace: SAFE_GRACE, created_series: false },
        }
    }

    /// Returns the stats table's name.
    pub fn table(&self) -> &str {
        &self.table
    }

    fn warn(&self) {
        if self.grace < SAFE_GRACE {
            let grace = self.grace;
            tracing::warn!(
                ?grace,
                "STATS_GRACE is below 35m: counts are exact only if no request is delayed longer than that"
            );
        }
    }
}

/// A builder of [`TableSettings`].
#[derive(Debug, Clone)]
#[must_use]
pub struct TableSettingsBuilder {
    settings: TableSettings,
}

impl TableSettingsBuilder {
    /// Takes an environment for gone once it has been silent for longer than this, at most a day: it no longer counts
    /// as live and may be compacted. If it was only frozen, its counts stay exact when it continues.
    pub fn writer_idle(mut self, writer_idle: Duration) -> Self {
        self.settings.writer_idle = writer_idle;
        self
    }

    /// Waits this long, at most a day, before a folded snapshot is buried, and again before its writer is forgotten.
    /// The grace must outlast every put that is still under way. Less than 35 minutes is for tests, and is logged.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.settings.grace = grace;
        self
    }

    /// Shows in OpenMetrics since when each counter and histogram counts, as a sample `…_created` beside it. A scraper that
    /// does not know such samples stores them as series of their own. The protobuf format always has these times.
    pub fn created_series(mut self, created_series: bool) -> Self {
        self.settings.created_series = created_series;
        self
    }

    /// Checks the values, and returns the settings.
    ///
    /// # Errors
    ///
    /// Returns every value that is out of range, by the name of its variable.
    pub fn build(self) -> Result<TableSettings, SettingsError> {
        let settings = self.settings;
        let mut faults = Faults::default();
        faults.check_text("STATS_TABLE", &settings.table);
        faults.check_duration("STATS_WRITER_IDLE", settings.writer_idle, &ANY_TIME);
        faults.check_duration("STATS_GRACE", settings.grace, &ANY_TIME);
        settings.warn();
        faults.finish(settings)
    }
}

/// Returns a variable of the process. Whatever is not Unicode becomes replacement characters, which no parser accepts where
/// it matters.
pub(crate) fn process_variable(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer(variables: &[(&str, &str)]) -> Result<WriterSettings, String> {
        let lambda = [("AWS_LAMBDA_FUNCTION_NAME", "encode"), ("AWS_LAMBDA_FUNCTION_VERSION", "1")];
        let find = |wanted: &str| {
            let found = variables.iter().chain(&lambda).find(|(name, _)| *name == wanted);
            found.map(|(_, value)| (*value).to_owned())
        };
        WriterSettings::from_variables(find).map_err(|error| error.to_string())
    }

    #[test]
    fn variables_and_builder_agree() {
        let built = WriterSettings::builder("stats", "encode", "1");
        assert_eq!(writer(&[("STATS_TABLE", "stats")]).unwrap(), built.clone().build().unwrap());
        let variables = [
            ("STATS_TABLE", "stats"),
            ("STATS_SHARDS", "256"),
            ("STATS_PUBLISH_INTERVAL", "500ms"),
            ("STATS_PUBLISH_BURST", "1"),
            ("STATS_MAX_SERIES", "20000"),
            ("STATS_FORMAT", "1"),
        ];
        let built = built.shards(256).pace(Duration::from_millis(500), 1).max_series(20_000).format(1);
        assert_eq!(writer(&variables).unwrap(), built.build().unwrap());
    }

    #[test]
    fn every_fault_is_told_at_once_by_the_name_of_its_variable() {
        let told = writer(&[("STATS_SHARDS", "0"), ("STATS_PUBLISH_INTERVAL", "5"), ("STATS_MAX_SERIES", "")]);
        assert_eq!(
            told.unwrap_err(),
            "4 settings are wrong:\n  \
             STATS_TABLE is missing\n  \
             STATS_SHARDS is \"0\": a whole number from 1 to 256 is needed\n  \
             STATS_PUBLISH_INTERVAL is \"5\": a duration with its unit from 0s to 1day is needed, such as 500ms, 1s or 15m\n  \
             STATS_MAX_SERIES is set but empty: give it a value, or do not set it"
        );
        let day = Duration::from_secs(86_401);
        let refused = WriterSettings::builder(" ", "encode", "1").pace(day, 0).build().unwrap_err();
        let named: Vec<_> = refused.faults().iter().map(SettingFault::variable).collect();
        assert_eq!(named, ["STATS_TABLE", "STATS_PUBLISH_INTERVAL", "STATS_PUBLISH_BURST"]);
        let refused = TableSettings::builder("stats").writer_idle(day).grace(day).build().unwrap_err();
        assert_eq!(refused.faults().len(), 2);
    }
}
