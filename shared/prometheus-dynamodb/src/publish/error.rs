//! The errors of publishing.

use std::time::Duration;

use crate::publish::gather::CollectorPanicked;
use crate::structures::StructureError;
use crate::table::TableError;
use crate::table::item::StructureId;
use crate::table::wire::{DecodeError, TooLarge};

/// Error returned when a publish failed: the table could not be used in time, what was published before cannot be read, the
/// snapshot does not fit into an item, a collector panicked, or the environment ended meanwhile. The next publish carries what
/// this one would have.
#[derive(Debug, thiserror::Error)]
#[error("the metrics could not be published")]
pub struct PublishError(#[source] pub(super) Fault);

/// Cause of a failed publish.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The publish took longer than this.
    #[error("the publish was not done within {0:?}")]
    TimedOut(Duration),
    /// The environment ends, and its last publish goes first.
    #[error("the environment ends, and from now on only close() publishes")]
    GaveWay,
    #[error(transparent)]
    Table(#[from] TableError),
    /// The content that was sealed or buried under this writer's id cannot be decoded, so it is not known what was counted
    /// already.
    #[error("what was published before cannot be decoded: {0}")]
    Sealed(#[from] DecodeError),
    /// The sealed content names this structure, which cannot be used.
    #[error("the structure {id} of what was published before cannot be used")]
    Structure { id: StructureId, source: StructureError },
    #[error(transparent)]
    Collector(#[from] CollectorPanicked),
    /// The snapshot does not fit into an item.
    #[error("the snapshot is too large ({0}); lower STATS_MAX_SERIES")]
    TooLarge(#[from] TooLarge),
}
