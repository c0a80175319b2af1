//! Holds credentials that belong to nobody. DynamoDB Local takes any that are alphanumeric.

/// Region in which everything here claims to be.
pub const REGION: &str = "us-east-1";
/// Access key id.
pub const ACCESS_KEY_ID: &str = "local";
/// Secret access key.
pub const SECRET_ACCESS_KEY: &str = "local";
