//! How an environment's snapshots are encoded: with a structure that they name, or as they are.
//!
//! A snapshot that names a structure has little more than its numbers. But a structure must be stored first, and that is only
//! worth it for one that stays as it is, or that other environments have as well. So an environment begins with the structure of
//! its first snapshot if that is stored already, as another environment of the same function will have seen to. Otherwise its
//! snapshots have all in them, as those of format 1, until their structure has been the same for a while. Series that come up later
//! are added to the numbers as they are, and become part of a new structure only where that saves a unit of what DynamoDB charges.

use std::sync::Arc;

use crate::families::split::Split;
use crate::families::structure::Structure;
use crate::families::values::Values;
use crate::protocol::structure::{is_seen, may_be_named};
use crate::publish::content::Content;
use crate::table::item::{Encoded, StructureItem, WriterId};
use crate::table::wire::{self, NamedStructure, Structured, TooLarge};
use crate::table::{PublishStats, TableError};

/// After so many publishes with the same structure it is taken for one that stays.
const STABLE_AFTER: u32 = 10;

/// After a structure could not be stored or looked for, so many publishes do without.
const PAUSE: u32 = 10;

/// What DynamoDB charges a write by, in bytes.
const WRITE_UNIT: usize = 1024;

/// What an item has besides its encoded content, in bytes, more or less: names of attributes and functions.
const OTHER_ATTRIBUTES: usize = 200;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Encoder {
    format: u64,
    /// What snapshots name.
    named: Option<Known>,
    /// What they might name if it stays as it is.
    next: Option<Known>,
    /// Whether the first structure was looked for.
    begun: bool,
    /// For which writer, and when, the named structure was last known to be stored.
    seen: Option<(WriterId, u64)>,
    /// So many publishes do without a structure.
    pause: u32,
}

#[derive(Debug)]
struct Known {
    structure: NamedStructure,
    stored: Encoded,
    /// How many publishes in a row it was the structure of.
    publishes: u32,
    /// How what was published last divides into this structure and the rest.
    split: Option<(Arc<Structure>, Option<Split>)>,
}

impl Known {
    fn new(structure: &Arc<Structure>) -> Option<Self> {
        let (structure, stored) = NamedStructure::new(Arc::clone(structure))?;
        Some(Self { structure, stored, publishes: 0, split: None })
    }

    /// How values of this structure divide. Returns `None` if they have not all that is known.
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

/// What was gathered: a structure, and the values in its order.
type Gathered<'a> = (&'a Arc<Structure>, &'a Values);

impl Encoder {
    /// An encoder for this format that has seen nothing.
    pub(crate) fn new(format: u64) -> Self {
        Self { format, named: None, next: None, begun: false, seen: None, pause: 0 }
    }

    /// Encodes this for a snapshot of this writer, in this shard. If it names a structure, then that is stored.
    pub(crate) async fn encode<T: PublishStats>(
        &mut self,
        table: &T,
        (shard, writer): (u32, WriterId),
        content: &Content,
    ) -> Result<Encoded, TooLarge> {
        let gathered = match content {
            Content::Gathered { structure, values } if self.format != wire::FORMAT => (structure, values),
            _ => return wire::encode(&content.families(), 0),
        };
        if self.pause > 0 {
            self.pause -= 1;
            return wire::encode(&content.families(), 0);
        }
        let mut structured = self.structured(gathered);
        if structured.as_ref().is_some_and(|structured| structured.rest_bytes == 0) {
            self.next = None;
        } else if self.choose(table, (shard, writer), gathered, structured.as_ref()).await {
            structured = self.structured(gathered);
        }
        match (structured, self.see_to_named(table, (shard, writer)).await) {
            (Some(structured), Ok(())) => return Ok(structured.encoded),
            (None, _) => {}
            (Some(_), Err(error)) => self.do_without(&error),
        }
        wire::encode(&content.families(), 0)
    }

    fn structured(&mut self, gathered: Gathered<'_>) -> Option<Structured> {
        self.named.as_mut()?.encode(gathered)
    }

    /// Decides which structure is named, given what naming the present one gives. Returns whether it is another one from now on.
    async fn choose<T: PublishStats>(
        &mut self,
        table: &T,
        (shard, writer): (u32, WriterId),
        gathered: Gathered<'_>,
        structured: Option<&Structured>,
    ) -> bool {
        let is_first = !std::mem::replace(&mut self.begun, true);
        let at_present = structured.map(|structured| units(&structured.encoded));
        match at_present {
            None => (self.named, self.seen) = (None, None),
            // Less than one is not charged.
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
        let found = if is_first { look(table, shard, &next.structure).await } else { Ok(Found::Nothing) };
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

    /// Watches how long the structure of what is published stays the same.
    fn watch(&mut self, structure: &Arc<Structure>) -> Option<&mut Known> {
        let is_same = |known: &mut Known| known.split(structure).is_some_and(Split::has_no_rest);
        if !self.next.as_mut().is_some_and(is_same) {
            self.next = Known::new(structure);
        }
        let next = self.next.as_mut()?;
        next.publishes += 1;
        Some(next)
    }

    /// Sees to it that the named structure is stored in the shard.
    async fn see_to_named<T: PublishStats>(
        &mut self,
        table: &T,
        (shard, writer): (u32, WriterId),
    ) -> Result<(), TableError> {
        let Some(known) = &self.named else { return Ok(()) };
        let now_ms = table.now_ms();
        if self.seen.is_some_and(|(by, at_ms)| by == writer && is_seen(at_ms, now_ms)) {
            return Ok(());
        }
        see_to(table, shard, &known.structure, &known.stored).await?;
        self.seen = Some((writer, now_ms));
        Ok(())
    }

    fn do_without(&mut self, error: &TableError) {
        tracing::warn!(
            error = error as &dyn std::error::Error,
            "snapshots are written without a structure for a while"
        );
        self.pause = PAUSE;
    }
}

/// Sees to it that this structure is stored in the shard, and was renewed lately: a snapshot may name it then.
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

/// What a writer finds that looks for its structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// It is stored, and was renewed lately.
    Fresh,
    /// It is stored, and has to be renewed.
    Old,
    /// It is missing or damaged.
    Nothing,
}

/// Looks for this structure in the shard.
async fn look<T: PublishStats>(table: &T, shard: u32, structure: &NamedStructure) -> Result<Found, TableError> {
    let item = table.structure(shard, structure.id()).await?;
    let good = item.filter(|item| NamedStructure::decode(structure.id(), &item.families).is_ok());
    Ok(match good {
        Some(item) if may_be_named(item.renewed_at_ms, table.now_ms()) => Found::Fresh,
        Some(_) => Found::Old,
        None => Found::Nothing,
    })
}

/// How many units DynamoDB charges for writing a snapshot with this content.
fn units(encoded: &Encoded) -> usize {
    (encoded.bytes.len() + OTHER_ATTRIBUTES).div_ceil(WRITE_UNIT)
}
