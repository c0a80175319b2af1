//! Reads a call to DynamoDB: its caller, operation, table and item.

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use serde_json::Value;

/// One call.
#[derive(Debug, Clone)]
pub struct Call {
    /// The caller's access key id.
    pub caller: String,
    /// The operation, such as `PutItem`.
    pub operation: String,
    /// The table's name.
    pub table: String,
    /// The item of a `PutItem`, with types as in DynamoDB's JSON; null for any other operation.
    pub item: Value,
}

impl Call {
    /// Reads a request. A part that is missing is left empty.
    pub(super) fn read(headers: &HeaderMap, body: &Bytes) -> Self {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let credential = header(AUTHORIZATION.as_str()).split_once("Credential=").map(|(_, rest)| rest);
        let caller = credential.and_then(|rest| rest.split('/').next()).unwrap_or_default().to_owned();
        let operation = header("x-amz-target").rsplit('.').next().unwrap_or_default().to_owned();
        let mut body: Value = serde_json::from_slice(body).unwrap_or_default();
        let table = body["TableName"].as_str().unwrap_or_default().to_owned();
        let item = if operation == "PutItem" { body["Item"].take() } else { Value::Null };
        Self { caller, operation, table, item }
    }

    /// Returns the key of the snapshot that the call puts, if it puts one.
    pub fn snapshot_key(&self) -> Option<&str> {
        self.item["sk"]["S"].as_str().filter(|key| key.starts_with("writer#"))
    }

    /// Returns the id of the structure that the call puts, if it puts one.
    pub fn structure_id(&self) -> Option<&str> {
        self.item["sk"]["S"].as_str()?.strip_prefix("structure#")
    }

    /// Returns the request's body, without the condition if the call puts a snapshot.
    pub(super) fn without_condition(&self, body: &Bytes) -> Bytes {
        if self.snapshot_key().is_none() {
            return body.clone();
        }
        let mut request: Value = serde_json::from_slice(body).unwrap_or_default();
        if let Some(request) = request.as_object_mut() {
            // The values go too: DynamoDB refuses values that no expression uses.
            for name in ["ConditionExpression", "ExpressionAttributeValues", "ReturnValuesOnConditionCheckFailure"] {
                request.remove(name);
            }
        }
        request.to_string().into()
    }
}
