//! The stats table in DynamoDB: the items and conditions that [`super`] describes.

mod attributes;
mod failure;
mod signed_soon;

use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use aws_sdk_dynamodb::{Client, Config};

use super::server_time::ServerTime;
use super::{
    CompactStats, Cursor, Listed, PublishStats, ReadStats, ReadStructures, SnapshotPage, TableError, TableTime,
    WRITER_PREFIX,
};
use crate::protocol::condition::PutCondition;
use crate::protocol::writer::{GRAVE_LIFE, PutOutcome};
use crate::settings::MAX_SHARDS;
use crate::table::item::{
    Base, Encoded, Part, PartId, Snapshot, StoredPart, StoredStructure, StructureId, StructureItem, WriterId,
};
use attributes::{
    Attributes, Item, base_attributes, base_from, item_from, key_of, number, part_attributes, part_from, snapshot_from,
    stored_from, stored_part_from, stored_structure_from, structure_attributes, structure_from,
};
use failure::{Cause, Failure};
use signed_soon::SignedSoon;

/// The table's partition key.
pub(super) const PARTITION_KEY: &str = "pk";
/// The table's sort key.
pub(super) const SORT_KEY: &str = "sk";

const SHARD_PREFIX: &str = "shard#";
const PART_PREFIX: &str = "part#";
const STRUCTURE_PREFIX: &str = "structure#";
const BASE: &str = "base";
const GRAVE_PREFIX: &str = "grave#";
const GRAVE: &str = "grave";

/// Attribute by which DynamoDB expires items, in seconds since the epoch. Only graves have it.
const EXPIRY: &str = "ttl";
const SHARDS: &str = "shards";

/// Difference between the `format` of a base that has parts and the format of its families. A version that knows
/// nothing of parts must refuse such a base, because most of it is stored elsewhere.
pub const PARTS_FORMAT: u64 = 100;

/// A stats table in DynamoDB.
///
/// The client's time-outs decide how long a publish may hold an environment after its response. Make sure that they are
/// set: by default the SDK waits without end.
#[derive(Debug, Clone)]
pub struct DynamoDbStatsTable {
    client: Client,
    name: String,
    time: ServerTime,
}

impl DynamoDbStatsTable {
    /// Creates a handle to the table with this name.
    pub fn new(client: Client, name: impl Into<String>) -> Self {
        let time = ServerTime::default();
        let config = client.config().to_builder().interceptor(time.clone()).build();
        Self { client: Client::from_conf(config), name: name.into(), time }
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

    /// Returns a query for the items of a shard whose sort keys begin with `prefix`.
    fn query(&self, shard: u32, prefix: &str) -> QueryFluentBuilder {
        self.client
            .query()
            .table_name(&self.name)
            .key_condition_expression(format!("{PARTITION_KEY} = :shard AND begins_with({SORT_KEY}, :prefix)"))
            .expression_attribute_values(":shard", AttributeValue::S(format!("{SHARD_PREFIX}{shard}")))
            .expression_attribute_values(":prefix", AttributeValue::S(prefix.to_owned()))
            .consistent_read(true)
    }
}

impl TableTime for DynamoDbStatsTable {
    fn answered_at_ms(&self) -> u64 {
        self.time.answered_at_ms()
    }

    fn now_ms(&self) -> u64 {
        self.time.now_ms()
    }
}

impl ReadStructures for DynamoDbStatsTable {
    async fn structure(&self, shard: u32, id: StructureId) -> Result<Option<StructureItem>, TableError> {
        let item = self.get(format!("{SHARD_PREFIX}{shard}"), &format!("{STRUCTURE_PREFIX}{id}")).await?;
        Ok(item.as_ref().map(structure_from).transpose()?)
    }
}

impl PublishStats for DynamoDbStatsTable {
    async fn put_structure(&self, shard: u32, id: StructureId, structure: &StructureItem) -> Result<(), TableError> {
        let mut item = structure_key(shard, id);
        item.extend(structure_attributes(structure));
        let put = self.client.put_item().table_name(&self.name).set_item(Some(item));
        put.customize().interceptor(SignedSoon::new()).send().await.map_err(table_error)?;
        Ok(())
    }

    async fn put_snapshot(
        &self,
        snapshot: &Snapshot,
        condition: PutCondition,
    ) -> Result<PutOutcome<Encoded>, TableError> {
        let put = self.client.put_item().table_name(&self.name).set_item(Some(item_from(snapshot)));
        let put = put.return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let result = match condition {
            PutCondition::Absent => {
                // The SDK must not repeat this put: an environment can be frozen between two attempts for so long that
                // the snapshot of the first one was buried in the meantime.
                let once = Config::builder().retry_config(RetryConfig::disabled());
                let put = put.condition_expression(format!("attribute_not_exists({PARTITION_KEY})"));
                put.customize().config_override(once).interceptor(SignedSoon::new()).send().await
            }
            PutCondition::Older => {
                let put = put.condition_expression("attribute_not_exists(sealed_at) AND seq < :seq");
                let put = put.expression_attribute_values(":seq", number(snapshot.seq));
                put.customize().interceptor(SignedSoon::new()).send().await
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
        // With a number that no writer can have announced, a scrape would read for ever.
        let shards = u32::try_from(highest).ok().filter(|shards| (1..=MAX_SHARDS).contains(shards));
        Ok(shards.ok_or_else(|| attributes.unreadable("highest"))?)
    }

    async fn snapshot_page(&self, shard: u32, after: Option<&Cursor>) -> Result<SnapshotPage, TableError> {
        let start = after.map(|Cursor(sort_key)| shard_key(shard, sort_key.clone()));
        let query = self.query(shard, WRITER_PREFIX).set_exclusive_start_key(start);
        let page = query.send().await.map_err(table_error)?;
        let snapshots = page.items().iter().map(|item| snapshot_from(item, shard)).collect();
        let next = page.last_evaluated_key.and_then(|key| Some(Cursor(key.get(SORT_KEY)?.as_s().ok()?.clone())));
        Ok(SnapshotPage { snapshots, next })
    }

    async fn base(&self, shard: u32) -> Result<Option<Base>, TableError> {
        let item = self.get(format!("{SHARD_PREFIX}{shard}"), BASE).await?;
        Ok(item.as_ref().map(base_from).transpose()?)
    }

    async fn part(&self, shard: u32, id: PartId) -> Result<Option<Part>, TableError> {
        let item = self.get(format!("{SHARD_PREFIX}{shard}"), &format!("{PART_PREFIX}{id}")).await?;
        Ok(item.as_ref().map(part_from).transpose()?)
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

    async fn parts(&self, shard: u32) -> Result<Listed<StoredPart>, TableError> {
        let query = self.query(shard, PART_PREFIX);
        let query = query.projection_expression(format!("{PARTITION_KEY}, {SORT_KEY}, #version, unnamed_at"));
        let mut pages = query.expression_attribute_names("#version", "version").into_paginator().send();
        let mut parts = Vec::new();
        while let Some(page) = pages.next().await {
            parts.extend(page.map_err(table_error)?.items().iter().map(stored_part_from));
        }
        Ok(parts)
    }

    async fn put_part(&self, shard: u32, part: &Part) -> Result<bool, TableError> {
        let mut item = part_key(shard, part.id());
        item.extend(part_attributes(part));
        let put = self.client.put_item().table_name(&self.name).set_item(Some(item));
        held(put.condition_expression(format!("attribute_not_exists({PARTITION_KEY})")).send().await)
    }

    async fn note_unnamed(&self, shard: u32, id: PartId, at_ms: u64) -> Result<bool, TableError> {
        let update = self
            .client
            .update_item()
            .table_name(&self.name)
            .set_key(Some(part_key(shard, id)))
            .update_expression("SET unnamed_at = :now")
            .condition_expression(format!("attribute_exists({PARTITION_KEY}) AND attribute_not_exists(unnamed_at)"))
            .expression_attribute_values(":now", number(at_ms));
        held(update.send().await)
    }

    async fn delete_part(&self, shard: u32, id: PartId) -> Result<bool, TableError> {
        let delete = self
            .client
            .delete_item()
            .table_name(&self.name)
            .set_key(Some(part_key(shard, id)))
            .condition_expression("attribute_exists(unnamed_at)");
        held(delete.send().await)
    }

    async fn structures(&self, shard: u32) -> Result<Listed<StoredStructure>, TableError> {
        let query = self.query(shard, STRUCTURE_PREFIX);
        let query = query.projection_expression(format!("{PARTITION_KEY}, {SORT_KEY}, renewed_at"));
        let mut pages = query.into_paginator().send();
        let mut structures = Vec::new();
        while let Some(page) = pages.next().await {
            structures.extend(page.map_err(table_error)?.items().iter().map(stored_structure_from));
        }
        Ok(structures)
    }

    async fn delete_structure(&self, shard: u32, id: StructureId, renewed_at_ms: u64) -> Result<bool, TableError> {
        let delete = self
            .client
            .delete_item()
            .table_name(&self.name)
            .set_key(Some(structure_key(shard, id)))
            .condition_expression("renewed_at = :renewed_at")
            .expression_attribute_values(":renewed_at", number(renewed_at_ms));
        held(delete.send().await)
    }

    async fn put_base(&self, shard: u32, base: &Base) -> Result<bool, TableError> {
        let mut item = shard_key(shard, BASE.to_owned());
        item.extend(base_attributes(base));
        let put = self.client.put_item().table_name(&self.name).set_item(Some(item));
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

fn shard_key(shard: u32, sort_key: String) -> Item {
    [
        (PARTITION_KEY.to_owned(), AttributeValue::S(format!("{SHARD_PREFIX}{shard}"))),
        (SORT_KEY.to_owned(), AttributeValue::S(sort_key)),
    ]
    .into()
}

fn structure_key(shard: u32, id: StructureId) -> Item {
    shard_key(shard, format!("{STRUCTURE_PREFIX}{id}"))
}

fn part_key(shard: u32, id: PartId) -> Item {
    shard_key(shard, format!("{PART_PREFIX}{id}"))
}

/// Returns whether the condition of a conditional write held.
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
