//! The stats table in DynamoDB: the items and conditions that [`super`] describes.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use aws_sdk_dynamodb::{Client, Config};
use dynamodb_failure::{Cause, Failure};

use super::{CompactStats, PublishStats, ReadStats, TableError, UnreadableItem};
use crate::protocol::condition::{PutCondition, StoredHead};
use crate::protocol::writer::PutOutcome;
use crate::settings::MAX_SHARDS;
use crate::table::item::{Base, Encoded, Snapshot, WriterId};
use crate::table::wire;

type Item = HashMap<String, AttributeValue>;

/// The table's partition key.
pub const PARTITION_KEY: &str = "pk";
/// The table's sort key.
pub const SORT_KEY: &str = "sk";

const SHARD_PREFIX: &str = "shard#";
const WRITER_PREFIX: &str = "writer#";
const BASE: &str = "base";
const GRAVE_PREFIX: &str = "grave#";
const GRAVE: &str = "grave";

/// The attribute by which DynamoDB expires items, in seconds since the epoch. Only graves have it.
const EXPIRY: &str = "ttl";
/// How long a grave is kept: far longer than Lambda keeps an environment, so that one that thaws finds its own.
const GRAVE_LIFE: Duration = Duration::from_secs(30 * 24 * 60 * 60);
const SHARDS: &str = "shards";

/// A stats table in DynamoDB.
///
/// The client's time-outs decide how long a publish may hold an environment after its response: see that they are set,
/// for by default the SDK waits without end.
#[derive(Debug, Clone)]
pub struct DynamoDbStatsTable {
    client: Client,
    name: String,
}

impl DynamoDbStatsTable {
    /// The table of this name.
    pub fn new(client: Client, name: impl Into<String>) -> Self {
        Self { client, name: name.into() }
    }

    async fn get(&self, partition_key: String, sort_key: &str) -> Result<Option<Item>, TableError> {
        let output = self
            .client
            .get_item()
            .table_name(&self.name)
            .key(PARTITION_KEY, AttributeValue::S(partition_key))
            .key(SORT_KEY, AttributeValue::S(sort_key.to_owned()))
            .consistent_read(true)
            .send()
            .await
            .map_err(table_error)?;
        Ok(output.item)
    }
}

impl PublishStats for DynamoDbStatsTable {
    async fn put_snapshot(
        &self,
        snapshot: &Snapshot,
        condition: PutCondition,
    ) -> Result<PutOutcome<Encoded>, TableError> {
        let put = self.client.put_item().table_name(&self.name).set_item(Some(item_from(snapshot)));
        let put = put.return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let result = match condition {
            PutCondition::Absent => {
                // The SDK must not repeat it: an environment can be frozen between two attempts for so long that the
                // first one was buried in the meantime.
                let once = Config::builder().retry_config(RetryConfig::disabled());
                let put = put.condition_expression(format!("attribute_not_exists({PARTITION_KEY})"));
                put.customize().config_override(once).send().await
            }
            PutCondition::Older => {
                let put = put.condition_expression("attribute_not_exists(sealed_at) AND seq < :seq");
                put.expression_attribute_values(":seq", number(snapshot.seq)).send().await
            }
        };
        match result {
            Ok(_) => Ok(PutOutcome::Stored),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(refused)) => {
                    Ok(PutOutcome::Refused(refused.item().map(stored_from).transpose()?))
                }
                _ => Err(table_error(error)),
            },
        }
    }

    async fn grave(&self, writer: WriterId) -> Result<Option<Encoded>, TableError> {
        let item = self.get(format!("{GRAVE_PREFIX}{writer}"), GRAVE).await?;
        Ok(item.as_ref().map(|item| Attributes::new(item).families()).transpose()?)
    }

    async fn announce_shards(&self, shards: u32) -> Result<(), TableError> {
        let put = self
            .client
            .put_item()
            .table_name(&self.name)
            .item(PARTITION_KEY, AttributeValue::S(SHARDS.to_owned()))
            .item(SORT_KEY, AttributeValue::S(SHARDS.to_owned()))
            .item("highest", number(shards.into()))
            .condition_expression(format!("attribute_not_exists({PARTITION_KEY}) OR highest < :shards"))
            .expression_attribute_values(":shards", number(shards.into()));
        // A refusal means that as many or more were announced before.
        held(put.send().await)?;
        Ok(())
    }
}

impl ReadStats for DynamoDbStatsTable {
    async fn shards(&self) -> Result<u32, TableError> {
        let Some(item) = self.get(SHARDS.to_owned(), SHARDS).await? else { return Ok(1) };
        let attributes = Attributes::new(&item);
        let highest = attributes.u64("highest")?;
        // A number that no writer can have announced would have a scrape read for ever.
        let shards = u32::try_from(highest).ok().filter(|shards| (1..=MAX_SHARDS).contains(shards));
        Ok(shards.ok_or_else(|| attributes.unreadable("highest"))?)
    }

    async fn snapshots(&self, shard: u32) -> Result<Vec<Result<Snapshot, UnreadableItem>>, TableError> {
        let mut pages = self
            .client
            .query()
            .table_name(&self.name)
            .key_condition_expression(format!("{PARTITION_KEY} = :shard AND begins_with({SORT_KEY}, :writer)"))
            .expression_attribute_values(":shard", AttributeValue::S(format!("{SHARD_PREFIX}{shard}")))
            .expression_attribute_values(":writer", AttributeValue::S(WRITER_PREFIX.to_owned()))
            .consistent_read(true)
            .into_paginator()
            .send();
        let mut snapshots = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(table_error)?;
            snapshots.extend(page.items().iter().map(|item| snapshot_from(item, shard)));
        }
        Ok(snapshots)
    }

    async fn base(&self, shard: u32) -> Result<Option<Base>, TableError> {
        let item = self.get(format!("{SHARD_PREFIX}{shard}"), BASE).await?;
        Ok(item.as_ref().map(base_from).transpose()?)
    }
}

impl CompactStats for DynamoDbStatsTable {
    async fn seal(&self, snapshot: &Snapshot, at_ms: u64) -> Result<bool, TableError> {
        let update = self
            .client
            .update_item()
            .table_name(&self.name)
            .set_key(Some(key_of(snapshot)))
            .update_expression("SET sealed_at = :now")
            .condition_expression("attribute_not_exists(sealed_at) AND seq = :seq")
            .expression_attribute_values(":now", number(at_ms))
            .expression_attribute_values(":seq", number(snapshot.seq));
        held(update.send().await)
    }

    async fn put_base(&self, shard: u32, base: &Base) -> Result<bool, TableError> {
        let put = self
            .client
            .put_item()
            .table_name(&self.name)
            .item(PARTITION_KEY, AttributeValue::S(format!("{SHARD_PREFIX}{shard}")))
            .item(SORT_KEY, AttributeValue::S(BASE.to_owned()))
            .item("version", number(base.version))
            .item("folded", AttributeValue::B(Blob::new(wire::encode_folded(&base.folded))))
            .item("format", number(base.families.format))
            .item("families", AttributeValue::B(Blob::new(base.families.bytes.clone())));
        let put = match base.version {
            1 => put.condition_expression(format!("attribute_not_exists({PARTITION_KEY})")),
            version => put
                .condition_expression("#version = :before")
                .expression_attribute_names("#version", "version")
                .expression_attribute_values(":before", number(version - 1)),
        };
        held(put.send().await)
    }

    async fn put_grave(&self, snapshot: &Snapshot, at_ms: u64) -> Result<bool, TableError> {
        let put = self
            .client
            .put_item()
            .table_name(&self.name)
            .item(PARTITION_KEY, AttributeValue::S(format!("{GRAVE_PREFIX}{}", snapshot.writer)))
            .item(SORT_KEY, AttributeValue::S(GRAVE.to_owned()))
            .item("function", AttributeValue::S(snapshot.function.clone()))
            .item("format", number(snapshot.families.format))
            .item("families", AttributeValue::B(Blob::new(snapshot.families.bytes.clone())))
            .item(EXPIRY, number(at_ms / 1000 + GRAVE_LIFE.as_secs()))
            .condition_expression(format!("attribute_not_exists({PARTITION_KEY})"));
        held(put.send().await)
    }

    async fn delete_snapshot(&self, snapshot: &Snapshot) -> Result<bool, TableError> {
        let delete = self
            .client
            .delete_item()
            .table_name(&self.name)
            .set_key(Some(key_of(snapshot)))
            .condition_expression("attribute_exists(sealed_at)");
        held(delete.send().await)
    }
}

/// Whether a conditional write's condition held.
fn held<T, E, R>(result: Result<T, SdkError<E, R>>) -> Result<bool, TableError>
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    match result {
        Ok(_) => Ok(true),
        Err(error) if Failure::of(&error) == Failure::ConditionFailed => Ok(false),
        Err(error) => Err(table_error(error)),
    }
}

fn key_of(snapshot: &Snapshot) -> Item {
    [
        (PARTITION_KEY, AttributeValue::S(format!("{SHARD_PREFIX}{}", snapshot.shard))),
        (SORT_KEY, AttributeValue::S(format!("{WRITER_PREFIX}{}", snapshot.writer))),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

fn item_from(snapshot: &Snapshot) -> Item {
    let sealed_at = snapshot.sealed_at_ms.map(|at_ms| ("sealed_at", number(at_ms)));
    let attributes = [
        ("seq", number(snapshot.seq)),
        ("function", AttributeValue::S(snapshot.function.clone())),
        ("version", AttributeValue::S(snapshot.version.clone())),
        ("updated_at", number(snapshot.updated_at_ms)),
        ("closed", AttributeValue::Bool(snapshot.closed)),
        ("format", number(snapshot.families.format)),
        ("families", AttributeValue::B(Blob::new(snapshot.families.bytes.clone()))),
    ];
    let mut item = key_of(snapshot);
    item.extend(attributes.into_iter().chain(sealed_at).map(|(name, value)| (name.to_owned(), value)));
    item
}

fn snapshot_from(item: &Item, shard: u32) -> Result<Snapshot, UnreadableItem> {
    let attributes = Attributes::new(item);
    let writer = attributes.text(SORT_KEY)?.strip_prefix(WRITER_PREFIX).and_then(WriterId::parse);
    Ok(Snapshot {
        writer: writer.ok_or_else(|| attributes.unreadable(SORT_KEY))?,
        shard,
        seq: attributes.u64("seq")?,
        function: attributes.text("function")?.to_owned(),
        version: attributes.text("version")?.to_owned(),
        updated_at_ms: attributes.u64("updated_at")?,
        sealed_at_ms: attributes.sealed_at_ms()?,
        closed: attributes.bool("closed")?,
        families: attributes.families()?,
    })
}

/// What a writer needs to know of the snapshot that its put met.
fn stored_from(item: &Item) -> Result<(StoredHead, Encoded), UnreadableItem> {
    let attributes = Attributes::new(item);
    let head = StoredHead { seq: attributes.u64("seq")?, sealed: attributes.sealed_at_ms()?.is_some() };
    Ok((head, attributes.families()?))
}

fn base_from(item: &Item) -> Result<Base, UnreadableItem> {
    let attributes = Attributes::new(item);
    let folded = wire::decode_folded(attributes.bytes("folded")?).ok_or_else(|| attributes.unreadable("folded"))?;
    Ok(Base { version: attributes.u64("version")?, folded, families: attributes.families()? })
}

fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// Reads an item's attributes and names the one that is wrong.
struct Attributes<'a> {
    item: &'a Item,
}

impl<'a> Attributes<'a> {
    fn new(item: &'a Item) -> Self {
        Self { item }
    }

    fn text(&self, name: &'static str) -> Result<&'a str, UnreadableItem> {
        self.get(name, |value| value.as_s().ok().map(String::as_str))
    }

    fn u64(&self, name: &'static str) -> Result<u64, UnreadableItem> {
        self.get(name, |value| value.as_n().ok()?.parse().ok())
    }

    fn bool(&self, name: &'static str) -> Result<bool, UnreadableItem> {
        self.get(name, |value| value.as_bool().ok().copied())
    }

    fn bytes(&self, name: &'static str) -> Result<&'a [u8], UnreadableItem> {
        self.get(name, |value| value.as_b().ok().map(AsRef::as_ref))
    }

    fn sealed_at_ms(&self) -> Result<Option<u64>, UnreadableItem> {
        self.item.contains_key("sealed_at").then(|| self.u64("sealed_at")).transpose()
    }

    fn families(&self) -> Result<Encoded, UnreadableItem> {
        Ok(Encoded { format: self.u64("format")?, bytes: self.bytes("families")?.to_vec() })
    }

    fn get<T>(
        &self,
        name: &'static str,
        read: impl FnOnce(&'a AttributeValue) -> Option<T>,
    ) -> Result<T, UnreadableItem> {
        self.item.get(name).and_then(read).ok_or_else(|| self.unreadable(name))
    }

    fn unreadable(&self, attribute: &'static str) -> UnreadableItem {
        let key = |name| self.item.get(name).and_then(|key| key.as_s().ok()).cloned().unwrap_or_default();
        UnreadableItem { partition_key: key(PARTITION_KEY), sort_key: key(SORT_KEY), attribute }
    }
}

fn table_error<E, R>(error: SdkError<E, R>) -> TableError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    let cause = Cause::of(&error).into();
    match Failure::of(&error) {
        Failure::Throttled => TableError::Throttled(cause),
        Failure::TimedOut => TableError::TimedOut(cause),
        Failure::ConditionFailed | Failure::Failed => TableError::Failed(cause),
    }
}
