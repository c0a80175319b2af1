//! Counts the attempts that make up a call to DynamoDB. It is an interceptor of the SDK, because nothing else sees
//! single attempts.

use aws_sdk_dynamodb::config::interceptors::{BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef};
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::get_item::GetItemError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::query::QueryError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_runtime_api::client::retries::RequestAttempts;
use prometheus::IntCounterVec;

use crate::store::StorageOperation;
use crate::store::failure::is_throttling;

/// Counts retries (attempts after the first) and throttled attempts.
#[derive(Debug, Clone)]
pub struct AttemptCounter {
    retries: IntCounterVec,
    throttles: IntCounterVec,
}

impl AttemptCounter {
    pub(super) fn new(retries: IntCounterVec, throttles: IntCounterVec) -> Self {
        Self { retries, throttles }
    }
}

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for AttemptCounter {
    fn name(&self) -> &'static str {
        "AttemptCounter"
    }

    fn read_before_attempt(
        &self,
        _context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let attempt = config.load::<RequestAttempts>().map_or(1, RequestAttempts::attempts);
        if let (2.., Some(operation)) = (attempt, operation(config)) {
            self.retries.with_label_values(&[operation.as_ref()]).inc();
        }
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let error = context.output_or_error().and_then(Result::err).and_then(|error| error.as_operation_error());
        let throttled = error.and_then(|error| {
            None.or_else(|| error.downcast_ref::<PutItemError>().map(is_throttling))
                .or_else(|| error.downcast_ref::<GetItemError>().map(is_throttling))
                .or_else(|| error.downcast_ref::<UpdateItemError>().map(is_throttling))
                .or_else(|| error.downcast_ref::<QueryError>().map(is_throttling))
                .or_else(|| error.downcast_ref::<DeleteItemError>().map(is_throttling))
        });
        if let (Some(true), Some(operation)) = (throttled, operation(config)) {
            self.throttles.with_label_values(&[operation.as_ref()]).inc();
        }
        Ok(())
    }
}

/// Returns the kind of the store's call, by the SDK's name of the operation.
fn operation(config: &ConfigBag) -> Option<StorageOperation> {
    match config.load::<Metadata>()?.name() {
        "PutItem" => Some(StorageOperation::Put),
        "GetItem" => Some(StorageOperation::Get),
        "UpdateItem" => Some(StorageOperation::Update),
        "Query" => Some(StorageOperation::Query),
        "DeleteItem" => Some(StorageOperation::Delete),
        _ => None,
    }
}
