//! A sigil as clients see it.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::digest::Digest;
use crate::record::{SigilId, SigilRecord, State};
use crate::timestamp::Timestamp;

/// A sigil as clients see it.
#[derive(Debug, Serialize)]
pub struct SigilView<'a> {
    id: SigilId,
    state: State,
    digest: Digest,
    dna: String,
    created_at: Timestamp,
    expires_at: Timestamp,
    revoked_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
}

impl<'a> SigilView<'a> {
    /// Returns what the holder of a token may see: the state, and otherwise only what the token itself says.
    pub fn for_holder(record: &'a SigilRecord, now: Timestamp) -> Self {
        let digest = record.digest();
        Self {
            id: record.id,
            state: record.state(now),
            digest,
            dna: digest.dna(),
            created_at: record.created_at,
            expires_at: record.expires_at,
            revoked_at: record.revoked_at,
            token: None,
            metadata: None,
            data: None,
        }
    }

    /// Returns what the client that encoded the data sees: also the token and the metadata.
    pub fn for_creator(record: &'a SigilRecord, now: Timestamp) -> Self {
        let metadata = record.metadata.as_ref().map(|metadata| metadata.to_raw());
        Self { token: Some(&record.token), metadata, ..Self::for_holder(record, now) }
    }

    /// Returns the whole record.
    pub fn of_record(record: &'a SigilRecord, now: Timestamp) -> Self {
        Self { data: Some(record.data.to_raw()), ..Self::for_creator(record, now) }
    }
}
