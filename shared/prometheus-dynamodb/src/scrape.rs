//! Scrapes the stats table: reads all of it, in an order that makes the result exact, and merges it into one page.

pub(crate) mod exposition;
pub(crate) mod page;
pub(crate) mod response;
pub(crate) mod total;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt, TryStreamExt};
use strum::VariantArray;

use crate::base::{self, BaseError, StoredBase};
use crate::protocol::reading::WriterLife;
use crate::scrape::page::{ConflictKind, Page, PageFamily, PageKind, PageSeries, PageValue};
use crate::scrape::total::Total;
use crate::settings::TableSettings;
use crate::structures::{Named, StructureError, Structures, UnusableSnapshot};
use crate::table::item::{Snapshot, StructureId};
use crate::table::{ReadStats, TableError, UnreadableItem};

/// Number of shards that are read at once.
const SHARDS_AT_ONCE: usize = 16;

/// Error of a scrape that yields no page.
#[derive(Debug, thiserror::Error)]
pub enum ScrapeError {
    /// The table could not be read.
    #[error("the stats table could not be read")]
    Table(#[from] TableError),
    /// A base cannot be decoded. Without it, counters would fall.
    #[error("the base of shard {shard} cannot be decoded")]
    Base {
        /// The base's shard.
        shard: u32,
        /// Fault of the base.
        source: BaseError,
    },
    /// A structure that snapshots name is missing or damaged. Without those snapshots, counters would fall.
    #[error("the structure {id}, which snapshots of shard {shard} name, cannot be used")]
    Structure {
        /// The structure's shard.
        shard: u32,
        /// The structure's id.
        id: StructureId,
        /// Fault of the structure.
        source: StructureError,
    },
    /// Reading took longer than the caller allows, or than half of `STATS_GRACE`. During so long a scrape, a writer that was
    /// read early could have been folded and forgotten.
    #[error("reading the stats table took longer than {} s", limit.as_secs_f64())]
    TooSlow {
        /// Time that was allowed.
        limit: Duration,
    },
}

impl ScrapeError {
    /// Returns the HTTP status with which a scraper is answered.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Table(TableError::Throttled(_)) => 429,
            Self::Table(TableError::TimedOut(_) | TableError::Failed(_)) | Self::TooSlow { .. } => 503,
            Self::Table(TableError::Unreadable(_)) | Self::Base { .. } | Self::Structure { .. } => 500,
        }
    }
}

/// Reads the table and merges it into a page, unless the deadline comes first. `structures` keeps structures for the
/// next scrape.
pub async fn scrape<T: ReadStats>(
    table: &T,
    structures: &Structures,
    settings: &TableSettings,
    deadline: Instant,
) -> Result<Page, ScrapeError> {
    let started = Instant::now();
    let limit = (settings.grace / 2).min(deadline.saturating_duration_since(started));
    let (since_ms, scraped) =
        tokio::time::timeout(limit, read(table, structures)).await.map_err(|_| ScrapeError::TooSlow { limit })??;
    // A process that was stopped in between does not notice it by its own clock. The table's clock has whole seconds.
    let took_ms = table.answered_at_ms().saturating_sub(since_ms);
    if u128::from(took_ms) > (settings.grace / 2).as_millis() + 1000 {
        return Err(ScrapeError::TooSlow { limit });
    }
    let mut scrape = Scrape::default();
    for (shard, contents) in scraped {
        scrape.add(shard, contents, table.now_ms(), settings.writer_idle)?;
    }
    Ok(scrape.into_page(started))
}

/// Content of one shard, as it was read.
pub(crate) struct ShardContents {
    pub(crate) snapshots: Vec<Result<Snapshot, UnreadableItem>>,
    pub(crate) structures: Named,
    pub(crate) base: Option<StoredBase>,
}

/// Reads all shards. Returns the table's time before the reading, and the contents.
pub(crate) async fn read<T: ReadStats>(
    table: &T,
    structures: &Structures,
) -> Result<(u64, Vec<(u32, ShardContents)>), TableError> {
    let shards = table.shards().await?;
    let since_ms = table.answered_at_ms();
    let contents = stream::iter(0..shards)
        .map(|shard| async move {
            let contents = read_shard(table, structures, shard).await?;
            // A missing structure may have been deleted after the last snapshot that named it went on to another
            // structure, or was folded. A second look then finds that the structure is not needed.
            let complete = contents.structures.values().all(Result::is_ok);
            let contents = if complete { contents } else { read_shard(table, structures, shard).await? };
            Ok::<_, TableError>((shard, contents))
        })
        .buffer_unordered(SHARDS_AT_ONCE)
        .try_collect()
        .await?;
    Ok((since_ms, contents))
}

pub(crate) async fn read_shard<T: ReadStats>(
    table: &T,
    structures: &Structures,
    shard: u32,
) -> Result<ShardContents, TableError> {
    // First the snapshots, then the base. A writer that is folded in between is then counted once: its snapshot was
    // read, but the base that is read afterwards names the writer, so the snapshot does not count. In the other order
    // the writer could be missing from both.
    let snapshots = table.snapshots(shard).await?;
    let structures = structures.of(table, shard, snapshots.iter().flatten()).await?;
    let base = base::read(table, shard).await?;
    Ok(ShardContents { snapshots, structures, base })
}

/// Sum of all shards.
#[derive(Default)]
pub(crate) struct Scrape {
    pub(crate) total: Total,
    writers: BTreeMap<WriterLife, u64>,
    unreadable: u64,
    oldest_ms: Option<u64>,
}

impl Scrape {
    pub(crate) fn add(
        &mut self,
        shard: u32,
        contents: ShardContents,
        now_ms: u64,
        idle: Duration,
    ) -> Result<(), ScrapeError> {
        let base = contents.base.map(StoredBase::content).transpose();
        let base = base.map_err(|source| ScrapeError::Base { shard, source })?.unwrap_or_default();
        let mut structures = contents.structures;
        for snapshot in contents.snapshots {
            let snapshot = match snapshot {
                Ok(snapshot) => snapshot,
                Err(error) => {
                    self.leave_out(&error);
                    continue;
                }
            };
            if base.folded.contains_key(&snapshot.writer) {
                continue;
            }
            let life = WriterLife::of(&snapshot, now_ms, idle);
            match self.total.add(&snapshot, &structures, life) {
                Ok(()) => {
                    *self.writers.entry(life).or_default() += 1;
                    let age_ms = now_ms.saturating_sub(snapshot.updated_at_ms);
                    self.oldest_ms = self.oldest_ms.max(Some(age_ms));
                }
                Err(UnusableSnapshot::NoStructure { structure: id, .. }) => {
                    let source = structures.remove(&id).and_then(Result::err).unwrap_or(StructureError::Missing);
                    return Err(ScrapeError::Structure { shard, id, source });
                }
                Err(error @ UnusableSnapshot::Damaged { .. }) => self.leave_out(&error),
            }
        }
        self.total.add_families(base.families);
        Ok(())
    }

    /// Counts and logs an item that cannot be read. The item does not fail the scrape.
    fn leave_out(&mut self, error: &(dyn std::error::Error + 'static)) {
        self.unreadable += 1;
        tracing::warn!(error, "an item of the stats table is left out of the scrape");
    }

    fn into_page(self, started: Instant) -> Page {
        let mut page = Page::new(self.total.into_families(), &RESERVED);
        for conflict in &page.conflicts {
            tracing::warn!(
                metric = conflict.name,
                conflict = conflict.kind.as_ref(),
                "environments disagree on a metric"
            );
        }
        let series = page.families.iter().map(|family| family.series.len()).sum::<usize>();
        let conflicts = ConflictKind::VARIANTS.iter().map(|kind| {
            let found = page.conflicts.iter().filter(|conflict| conflict.kind == *kind).count();
            (vec![("kind".to_owned(), kind.as_ref().to_owned())], found as f64)
        });
        let writers = WriterLife::VARIANTS.iter().map(|life| {
            let found = self.writers.get(life).copied().unwrap_or_default();
            (vec![("state".to_owned(), life.as_ref().to_owned())], found as f64)
        });
        let oldest_seconds = self.oldest_ms.unwrap_or_default() as f64 / 1000.0;
        let number = |value: f64| vec![(Vec::new(), value)];
        let values = [
            conflicts.collect(),
            number(oldest_seconds),
            number(series as f64),
            number(self.unreadable as f64),
            writers.collect(),
            number(started.elapsed().as_secs_f64()),
        ];
        page.families.extend(OWN.into_iter().zip(values).map(|((name, help), values)| gauge(name, help, values)));
        page.families.sort_by(|a, b| a.name.cmp(&b.name));
        page
    }
}

/// The names of the metrics that describe the scrape itself.
pub(crate) const RESERVED: [&str; OWN.len()] = {
    let mut names = [""; OWN.len()];
    let mut i = 0;
    while i < OWN.len() {
        names[i] = OWN[i].0;
        i += 1;
    }
    names
};

/// The metrics that describe the scrape itself, with their help texts. No metric of an environment may have one of
/// these names.
const OWN: [(&str, &str); 6] = [
    ("prometheus_dynamodb_conflicts", "Metrics on which environments disagree, by what they disagree in."),
    (
        "prometheus_dynamodb_oldest_unfolded_age_seconds",
        "Time since the publish of the snapshot that has waited longest to be folded.",
    ),
    ("prometheus_dynamodb_series", "Series on this page, without those that describe the scrape."),
    ("prometheus_dynamodb_unreadable_items", "Items that were left out of this scrape."),
    ("prometheus_dynamodb_writers", "Execution environments whose snapshots are not folded, by state."),
    (
        "prometheus_dynamodb_scrape_duration_seconds",
        "Time that this scrape took to read the stats table and to merge it.",
    ),
];

fn gauge(name: &str, help: &str, values: Vec<(Vec<(String, String)>, f64)>) -> PageFamily {
    let series = values.into_iter().map(|(labels, value)| PageSeries {
        labels,
        value: PageValue::Number(value),
        created_at_ms: None,
    });
    PageFamily { name: name.to_owned(), help: help.to_owned(), kind: PageKind::Gauge, series: series.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_tells_whether_to_come_again_and_whether_more_slowly() {
        let missing = || StructureError::Missing;
        let unreadable =
            UnreadableItem { partition_key: "shard#0".to_owned(), sort_key: "base".to_owned(), attribute: "folded" };
        for (error, status) in [
            (TableError::Throttled("slow down".into()).into(), 429),
            (TableError::TimedOut("no response".into()).into(), 503),
            (TableError::Failed("the connection was closed".into()).into(), 503),
            (TableError::Unreadable(unreadable).into(), 500),
            (ScrapeError::TooSlow { limit: Duration::from_secs(1) }, 503),
            (ScrapeError::Structure { shard: 0, id: StructureId::of(b"x"), source: missing() }, 500),
        ] {
            assert_eq!(error.status(), status, "{error}");
        }
    }
}
