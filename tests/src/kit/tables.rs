//! Creates the bundle's two tables.

use anyhow::Result;
use aws_sdk_dynamodb::Client;

use crate::kit::declared_tables::Template;

/// Name of the table of sigils.
pub const SIGILS: &str = "sigils";
/// Name of the stats table.
pub const STATS: &str = "stats";

/// Creates both tables if they are missing.
pub async fn create(client: &Client) -> Result<()> {
    Template::read()?.table("SigilsTable")?.create(client, SIGILS).await?;
    create_stats(client, STATS).await
}

/// Creates a stats table of this name if it is missing.
pub async fn create_stats(client: &Client, name: &str) -> Result<()> {
    Template::read()?.table("StatsTable")?.create(client, name).await
}
