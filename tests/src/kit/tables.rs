//! The bundle's two tables.

use anyhow::Result;
use aws_sdk_dynamodb::Client;

use crate::kit::declared_tables::Template;

/// The name of the table of sigils.
pub const SIGILS: &str = "sigils";
/// The name of the table of published metrics.
pub const STATS: &str = "stats";

/// Creates both, where they are missing.
pub async fn create(client: &Client) -> Result<()> {
    Template::read()?.table("SigilsTable")?.create(client, SIGILS).await?;
    create_stats(client, STATS).await
}

/// Creates a table of published metrics with this name, where it is missing.
pub async fn create_stats(client: &Client, name: &str) -> Result<()> {
    Template::read()?.table("StatsTable")?.create(client, name).await
}
