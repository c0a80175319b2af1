//! The bundle's two tables.

use anyhow::Result;
use aws_sdk_dynamodb::Client;

use crate::template::Template;

/// The name of the table of sigils.
pub const SIGILS: &str = "sigils";
/// The name of the table of published metrics.
pub const STATS: &str = "stats";

/// Creates both, where they are missing.
pub async fn create(client: &Client) -> Result<()> {
    let template = Template::read()?;
    template.table("SigilsTable")?.create(client, SIGILS).await?;
    template.table("StatsTable")?.create(client, STATS).await
}
