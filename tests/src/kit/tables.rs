//! Creates the bundle's two tables.

use std::collections::HashMap;

use anyhow::Result;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;

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
    Template::read()?.table("StatsTable")?.create(client, name).await?;
    warm_up(client, name).await
}

/// Calls every operation once, on an item that is deleted again. DynamoDB Local loads an operation's code at its first call:
/// beside a build, the first UpdateItem took 312 ms and the second 24 ms. A function gives an attempt 500 ms.
async fn warm_up(client: &Client, stats_table: &str) -> Result<()> {
    let value = || AttributeValue::S("warm-up".to_owned());
    let key = || HashMap::from([("pk".to_owned(), value()), ("sk".to_owned(), value())]);
    client.put_item().table_name(stats_table).set_item(Some(key())).send().await?;
    client
        .update_item()
        .table_name(stats_table)
        .set_key(Some(key()))
        .update_expression("SET warm = :warm")
        .condition_expression("attribute_exists(pk)")
        .expression_attribute_values(":warm", value())
        .send()
        .await?;
    client.get_item().table_name(stats_table).set_key(Some(key())).consistent_read(true).send().await?;
    client
        .query()
        .table_name(stats_table)
        .key_condition_expression("pk = :pk")
        .expression_attribute_values(":pk", value())
        .consistent_read(true)
        .send()
        .await?;
    client.delete_item().table_name(stats_table).set_key(Some(key())).send().await?;
    Ok(())
}
