//! What a call to DynamoDB is about.

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
    /// The item of a `PutItem`, with types as DynamoDB's JSON has them; null for any other operation.
    pub item: Value,
}

impl Call {
    /// Reads a request. What is missing is empty.
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

    /// The key of the snapshot that is to be put, if that is what this call does.
    pub fn snapshot_key(&self) -> Option<&str> {
        self.item["sk"]["S"].as_str().filter(|key| key.starts_with("writer#"))
    }

    /// The id of the structure that is to be put, if that is what this call does.
    pub fn structure_id(&self) -> Option<&str> {
        self.item["sk"]["S"].as_str()?.strip_prefix("structure#")
    }

    /// The request's body with nothing that would keep a put of a snapshot from being done.
    pub(super) fn without_condition(&self, body: &Bytes) -> Bytes {
        if self.snapshot_key().is_none() {
            return body.clone();
        }
        let mut request: Value = serde_json::from_slice(body).unwrap_or_default();
        if let Some(request) = request.as_object_mut() {
            // DynamoDB refuses values that no expression uses.
            for name in ["ConditionExpression", "ExpressionAttributeValues", "ReturnValuesOnConditionCheckFailure"] {
                request.remove(name);
            }
        }
        request.to_string().into()
    }
}
