//! What a caller is told of a publish that failed.

use crate::publish::publisher::PublishError as Cause;

/// Why a publish failed: the table could not be used in time, or the snapshot does not fit into an item. What it would have
/// published goes with the next one.
#[derive(Debug, thiserror::Error)]
#[error("the metrics could not be published")]
pub struct PublishError(#[source] pub(super) Cause);
