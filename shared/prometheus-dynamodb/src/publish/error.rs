//! What a caller is told of a publish that failed.

use std::time::Duration;

use crate::structures::StructureError;
use crate::table::TableError;
use crate::table::item::StructureId;
use crate::table::wire::{DecodeError, TooLarge};

/// Why a publish failed: the table could not be used in time, or the snapshot does not fit into an item. What it would have
/// published goes with the next one.
#[derive(Debug, thiserror::Error)]
#[error("the metrics could not be published")]
pub struct PublishError(#[source] pub(super) Fault);

/// What made a publish fail.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// It took longer than an environment may be held.
    #[error("the publish was not done within {0:?}")]
    TimedOut(Duration),
    #[error(transparent)]
    Table(#[from] TableError),
    /// What was sealed under this writer's id cannot be decoded, so it is not known what was counted already.
    #[error("what was published before cannot be decoded: {0}")]
    Sealed(#[from] DecodeError),
    /// What was sealed names this structure.
    #[error("the structure {id} of what was published before cannot be used")]
    Structure { id: StructureId, source: StructureError },
    /// It does not fit into an item.
    #[error("the snapshot is too large: set STATS_MAX_SERIES lower: {0}")]
    TooLarge(#[from] TooLarge),
}
