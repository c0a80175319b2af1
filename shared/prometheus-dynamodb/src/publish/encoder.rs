//! Encodes an environment's snapshots: with a structure that they name, or in full.
//!
//! A snapshot that names a structure has little more than its numbers. But a structure must be stored first, which is only
//! worth it for a structure that stays as it is, or that other environments have as well. So an environment begins with the
//! structure of its first snapshot if it is stored already; another environment of the same function will usually have
//! stored it. Otherwise the environment's snapshots are in full, as in format 1, until their structure has been the same for
//! a while. Series that come up later are added to the numbers in full, and become part of a new structure only where that
//! saves one of DynamoDB's write units.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{self, Instant};

use crate::elapsed::ElapsedClock;
use crate::families::split::Split;
use crate::families::structure::Structure;
use crate::families::values::Values;
use crate::protocol::structure::{is_seen, may_be_named};
use crate::publish::content::Content;
use crate::publish::failure_log::FailureLog;
use crate::table::item::{Encoded, StructureItem, WriterId};
use crate::table::wire::{self, NamedStructure, Structured, TooLarge};
use crate::table::{PublishStats, TableError};

/// Number of publishes with the same structure after which it is expected to stay.
const STABLE_AFTER: u32 = 10;

/// Number of publishes without a structure, after one could not be stored or looked for. While that goes on, the number
/// doubles, up to some hours' worth of an environment that publishes once a second.
const FIRST_PAUSE: u32 = 10;
const LONGEST_PAUSE: u32 = 10 << 10;

/// Time, including freezes, after which an answer about a structure is out of date.
const LONGEST_LOOK: Duration = Duration::from_mins(5);

/// Size of the unit by which DynamoDB charges a write, in bytes.
const WRITE_UNIT: usize = 1024;

/// Approximate size of what an item holds besides its encoded content, in bytes: names of attributes and functions.
const OTHER_ATTRIBUTES: usize = 200;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Encoder {
    format: u64,
    /// Structure that snapshots name.
    named: Option<Known>,
    /// Structure that snapshots might name if it stays as it is.
    next: Option<Known>,
    /// `true` once the first structure was looked for.
    begun: bool,
    /// Writer for which the named structure was last known to be stored, and the time of that, in milliseconds since the
    /// epoch.
    seen: Option<(WriterId, u64)>,
    /// Number of publishes that are still to do without a structure, and what it will be after the next failure.
    pause: u32,
    next_pause: u32,
    log: FailureLog,
    clock: ElapsedClock,
}

#[derive(Debug)]
struct Known {
    structure: NamedStructure,
    stored: Encoded,
    /// Number of publishes in a row that had this structure.
    publishes: u32,
    /// Structure that was published last, and how it divides into this one and the rest.
    split: Option<(Arc<Structure>, Option<Split>)>,
}

impl Known {
    fn new(structure: &Arc<Structure>) -> Option<Self> {
        let (structure, stored) = NamedStructure::new(Arc::clone(structure))?;
        Some(Self { structure, stored, publishes: 0, split: None })
    }

    /// Returns how values of `whole` divide. Returns `None` if `whole` lacks something of this structure.
    fn split(&mut self, whole: &Arc<Structure>) -> Option<&Split> {
        if !self.split.as_ref().is_some_and(|(of, _)| Arc::ptr_eq(of, whole)) {
            self.split = Some((Arc::clone(whole), Split::of(whole, self.structure.structure())));
        }
        self.split.as_ref().and_then(|(_, split)| split.as_ref())
    }

    fn encode(&mut self, (whole, values): Gathered<'_>) -> Option<Structured> {
        self.split(whole)?;
        let (_, split) = self.split.as_ref()?;
        self.structure.encode_parts(split.as_ref()?, values)
    }
}

/// Gathered content: a structure, and the values in its order.
type Gathered<'a> = (&'a Arc<Structure>, &'a Values);

impl Encoder {
    /// Creates an encoder for this format that has seen nothing.
    pub(crate) fn new(format: u64) -> Self {
        Self {
            format,
            named: None,
            next: None,
            begun: false,
            seen: None,
            pause: 0,
            next_pause: FIRST_PAUSE,
            log: FailureLog::default(),
            clock: ElapsedClock::new(),
        }
    }

    /// Encodes the content for a snapshot of this writer, in this shard. If the snapshot names a structure, that structure is
    /// stored. Storing it or looking for it takes at most half of the time until `deadline`, so that snapshots can be put even
    /// where structures cannot be read.
    pub(crate) async fn encode<T: PublishStats>(
        &mut self,
        table: &T,
        (shard, writer): (u32, WriterId),
        content: &Content,
        deadline: Instant,
    ) -> Result<Encoded, TooLarge> {
        let gathered = match content {
            Content::Gathered { structure, values } if self.format != wire::FORMAT => (structure, values),
            _ => return wire::encode(&content.families(), 0),
        };
        if self.pause > 0 {
            self.pause -= 1;
            return wire::encode(&content.families(), 0);
        }
        let now = Instant::now();
        let give_up_at = now + deadline.saturating_duration_since(now) / 2;
        let mut structured = self.structured(gathered);
        if structured.as_ref().is_some_and(|structured| structured.rest_bytes == 0) {
            self.next = None;
        } else if self.choose(table, (shard, writer), gathered, structured.as_ref(), give_up_at).await {
            structured = self.structured(gathered);
        }
        match (structured, self.see_to_named(table, (shard, writer), give_up_at).await) {
            (Some(structured), Ok(())) => return Ok(structured.encoded),
            (None, _) => {}
            (Some(_), Err(error)) => self.do_without(&error),
        }
        wire::encode(&content.families(), 0)
    }

    fn structured(&mut self, gathered: Gathered<'_>) -> Option<Structured> {
        self.named.as_mut()?.encode(gathered)
    }

    /// Decides which structure snapshots name. `structured` is the encoding that names the present one. Returns whether
    /// another structure was chosen.
    async fn choose<T: PublishStats>(
        &mut self,
        table: &T,
        (shard, writer): (u32, WriterId),
        gathered: Gathered<'_>,
        structured: Option<&Structured>,
        give_up_at: Instant,
    ) -> bool {
        let is_first = !std::mem::replace(&mut self.begun, true);
        let at_present = structured.map(|structured| units(&structured.encoded));
        match at_present {
            None => (self.named, self.seen) = (None, None),
            // DynamoDB charges at least one unit.
            Some(1) => {
                self.next = None;
                return false;
            }
            Some(_) => {}
        }
        let Some(next) = self.watch(gathered.0) else { return false };
        let is_stable = next.publishes >= STABLE_AFTER;
        if !is_first && !is_stable {
            return false;
        }
        let without_rest = next.encode(gathered).map(|structured| units(&structured.encoded));
        let is_worth_it = without_rest.is_some_and(|without| at_present.is_none_or(|present| without < present));
        let found = match &self.next {
            Some(next) if is_first => in_time(&mut self.clock, give_up_at, look(table, shard, &next.structure)).await,
            _ => Ok(Found::Nothing),
        };
        let seen = match found {
            Ok(Found::Fresh) => Some((writer, table.now_ms())),
            Ok(Found::Old) => None,
            Ok(Found::Nothing) if is_stable && is_worth_it => None,
            Ok(Found::Nothing) => return false,
            Err(error) => {
                self.do_without(&error);
                return false;
            }
        };
        (self.named, self.seen) = (self.next.take(), seen);
        true
    }

    /// Counts the publishes for which the structure stays the same. Returns `None` if the structure cannot be stored.
    fn watch(&mut self, structure: &Arc<Structure>) -> Option<&mut Known> {
        let is_same = |known: &mut Known| known.split(structure).is_some_and(Split::has_no_rest);
        if !self.next.as_mut().is_some_and(is_same) {
            self.next = Known::new(structure);
        }
        let next = self.next.as_mut()?;
        next.publishes += 1;
        Some(next)
    }

    /// Ensures that the named structure is stored in the shard.
    async fn see_to_named<T: PublishStats>(
        &mut self,
        table: &T,
        (shard, writer): (u32, WriterId),
        give_up_at: Instant,
    ) -> Result<(), TableError> {
        let Some(known) = &self.named else { return Ok(()) };
        let now_ms = table.now_ms();
        if self.seen.is_some_and(|(by, at_ms)| by == writer && is_seen(at_ms, now_ms)) {
            return Ok(());
        }
        let seeing = see_to(table, shard, &known.structure, &known.stored);
        in_time(&mut self.clock, give_up_at, seeing).await?;
        self.seen = Some((writer, now_ms));
        self.next_pause = FIRST_PAUSE;
        if self.log.succeeded() {
            tracing::info!("snapshots are written with a structure again");
        }
        Ok(())
    }

    fn do_without(&mut self, error: &TableError) {
        self.pause = self.next_pause;
        self.next_pause = (self.pause * 2).min(LONGEST_PAUSE);
        if let Some(failures) = self.log.failed(&error.to_string(), self.clock.now()) {
            let error: &dyn std::error::Error = error;
            tracing::warn!(error, failures, "snapshots are written without a structure for a while");
        }
    }
}

/// Waits for an answer of the table until `give_up_at`. An answer that an environment gets only after a freeze, during which the
/// monotonic clock stood still, is too late as well: the structure that it tells of may be gone.
async fn in_time<R>(
    clock: &mut ElapsedClock,
    give_up_at: Instant,
    answer: impl Future<Output = Result<R, TableError>>,
) -> Result<R, TableError> {
    let begun = clock.now();
    let answer = time::timeout_at(give_up_at, answer).await;
    if clock.now().saturating_duration_since(begun) > LONGEST_LOOK {
        return Err(TableError::TimedOut("the environment was frozen for too long".into()));
    }
    answer.unwrap_or_else(|late| Err(TableError::TimedOut(late.into())))
}

/// Ensures that this structure is stored in the shard and was renewed lately, so that a snapshot may name it.
pub(crate) async fn see_to<T: PublishStats>(
    table: &T,
    shard: u32,
    structure: &NamedStructure,
    stored: &Encoded,
) -> Result<(), TableError> {
    if look(table, shard, structure).await? == Found::Fresh {
        return Ok(());
    }
    let item = StructureItem { families: stored.clone(), renewed_at_ms: table.answered_at_ms() };
    table.put_structure(shard, structure.id(), &item).await
}

/// Result of looking for a structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// The structure is stored, and was renewed lately.
    Fresh,
    /// The structure is stored, and has to be renewed.
    Old,
    /// The structure is missing or damaged.
    Nothing,
}

/// Looks for this structure in the shard.
async fn look<T: PublishStats>(table: &T, shard: u32, structure: &NamedStructure) -> Result<Found, TableError> {
    let item = match table.structure(shard, structure.id()).await {
        Err(TableError::Unreadable(_)) => None,
        found => found?,
    };
    let good = item.filter(|item| NamedStructure::decode(structure.id(), &item.families).is_ok());
    Ok(match good {
        Some(item) if may_be_named(item.renewed_at_ms, table.now_ms()) => Found::Fresh,
        Some(_) => Found::Old,
        None => Found::Nothing,
    })
}

/// Returns the number of units that DynamoDB charges for writing a snapshot with this content.
fn units(encoded: &Encoded) -> usize {
    (encoded.bytes.len() + OTHER_ATTRIBUTES).div_ceil(WRITE_UNIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_a_freeze_has_outdated_is_too_late() {
        let answered_after = async |passed| {
            let answer = async {
                time::advance(passed).await;
                Ok(())
            };
            in_time(&mut ElapsedClock::new(), Instant::now() + 10 * LONGEST_LOOK, answer).await
        };
        assert!(answered_after(LONGEST_LOOK - Duration::from_secs(1)).await.is_ok());
        let late = answered_after(LONGEST_LOOK + Duration::from_secs(1)).await;
        assert!(matches!(late, Err(TableError::TimedOut(_))), "{late:?}");
    }
}
