//! Keeps records in DynamoDB. [`item`] maps a record to an item.

mod item;

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{
    AttributeValue, ReturnConsumedCapacity, ReturnValue, ReturnValuesOnConditionCheckFailure,
};

use super::failure::{is_refusal, is_throttling, is_timeout};
use super::{
    DeleteDue, Deletion, DuePage, InsertRecord, Insertion, ListDue, LoadRecord, Loaded, MAX_RECORD_BYTES, RevokeRecord,
    Revoking, StorageError,
};
use crate::record::{SigilId, SigilRecord};
use crate::timestamp::Timestamp;

/// A store in a DynamoDB table.
#[derive(Debug, Clone)]
pub struct DynamoDbStore {
    client: Client,
    table: String,
}

impl DynamoDbStore {
    /// Creates a store in the table of this name. The client's time-outs limit how long a call takes.
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self { client, table: table.into() }
    }
}

impl InsertRecord for DynamoDbStore {
    async fn insert(&self, record: &SigilRecord) -> Result<Insertion, StorageError> {
        let item = item::from_record(record);
        let bytes = item::size_once_revoked(&item);
        if bytes > MAX_RECORD_BYTES {
            return Err(StorageError::TooLarge { bytes, limit: MAX_RECORD_BYTES });
        }
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression(format!("attribute_not_exists({})", item::ID))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match put.send().await {
            Ok(_) => Ok(Insertion::Inserted),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(refused)) => {
                    let existing = refused.item().map_or(Loaded::Damaged, item::to_record);
                    // The token is this very one: the SDK has sent the put before, and its response was lost. The rest of
                    // the record may have been revoked since.
                    let own = matches!(&existing, Loaded::Record(existing) if existing.token == record.token);
                    Ok(if own { Insertion::Inserted } else { Insertion::Existing(existing) })
                }
                _ => Err(storage_error(error)),
            },
        }
    }
}

impl LoadRecord for DynamoDbStore {
    async fn load(&self, id: SigilId) -> Result<Option<Loaded>, StorageError> {
        let get = self.client.get_item().table_name(&self.table).key(item::ID, item::id(id)).consistent_read(true);
        let output = get.send().await.map_err(storage_error)?;
        Ok(output.item().map(item::to_record))
    }
}

impl RevokeRecord for DynamoDbStore {
    async fn revoke(&self, revoked: &SigilRecord, read: &str) -> Result<Revoking, StorageError> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key(item::ID, item::id(revoked.id))
            .update_expression("SET revoked_at = :at, due = :due, #ttl = :ttl, #signature = :signature")
            // An item with another signature is not the one that was signed again, and an item that is missing has
            // none.
            .condition_expression("#signature = :read")
            .expression_attribute_names("#ttl", item::TTL)
            .expression_attribute_names("#signature", item::SIGNATURE)
            .set_expression_attribute_values(Some(item::revocation(revoked, read)))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match update.send().await {
            Ok(_) => Ok(Revoking::Revoked),
            Err(error) => match error.as_service_error() {
                // If an earlier attempt of this call succeeded and its response was lost, that looks like a revocation
                // by another caller in the same second, and is treated as one. At worst one revocation is not counted.
                Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                    Ok(Revoking::Changed(refused.item().map(item::to_record)))
                }
                _ => Err(storage_error(error)),
            },
        }
    }
}

impl ListDue for DynamoDbStore {
    /// The key with which the query's answer ended, as it came: the last entry may be one that cannot be parsed.
    type PageStart = HashMap<String, AttributeValue>;

    async fn list_due(
        &self,
        shard: u8,
        now: Timestamp,
        from: Option<Self::PageStart>,
    ) -> Result<DuePage<Self::PageStart>, StorageError> {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(item::DUE_INDEX)
            .key_condition_expression("gc_shard = :shard AND due <= :now")
            .expression_attribute_values(":shard", AttributeValue::S(shard.to_string()))
            .expression_attribute_values(":now", item::time(now))
            .set_exclusive_start_key(from)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let output = query.send().await.map_err(storage_error)?;
        let read_capacity_units =
            output.consumed_capacity().and_then(|consumed| consumed.capacity_units()).unwrap_or_default();
        // An entry whose id cannot be parsed was not written by this project. It is left to DynamoDB's TTL.
        let ids = output.items().iter().filter_map(item::id_of).collect();
        Ok(DuePage { ids, next: output.last_evaluated_key, read_capacity_units })
    }
}

impl DeleteDue for DynamoDbStore {
    async fn delete_due(&self, id: SigilId, now: Timestamp) -> Result<Option<Deletion>, StorageError> {
        let delete = self
            .client
            .delete_item()
            .table_name(&self.table)
            .key(item::ID, item::id(id))
            // The index lags behind the table, and another run may have been faster.
            .condition_expression("due <= :now")
            .expression_attribute_values(":now", item::time(now))
            .return_values(ReturnValue::AllOld);
        match delete.send().await {
            Ok(output) => Ok(output.attributes().map(|deleted| match item::revoked_at(deleted) {
                Some(_) => Deletion::Revoked,
                None => Deletion::Expired,
            })),
            Err(error) => match error.as_service_error() {
                Some(DeleteItemError::ConditionalCheckFailedException(_)) => Ok(None),
                _ => Err(storage_error(error)),
            },
        }
    }
}

fn storage_error<E, R>(error: SdkError<E, R>) -> StorageError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    if matches!(error, SdkError::ConstructionFailure(_)) {
        return StorageError::NotSent(error.into());
    }
    match &error {
        _ if is_timeout(&error) => StorageError::TimedOut(error.into()),
        SdkError::ServiceError(answer) if is_throttling(answer.err()) => StorageError::Throttled(error.into()),
        SdkError::ServiceError(answer) if is_refusal(answer.err()) => StorageError::Refused(error.into()),
        _ => StorageError::Unavailable(error.into()),
    }
}
