//! Credentials that name nobody. DynamoDB Local takes any, if they are alphanumeric.

/// The region that everything here claims to be in.
pub const REGION: &str = "us-east-1";
/// The access key id.
pub const ACCESS_KEY_ID: &str = "local";
/// The secret access key.
pub const SECRET_ACCESS_KEY: &str = "local";
