//! Creates the tables as `template.yaml` declares them, so that keys, indexes and expiry are written down in one place.
//!
//! A short form of CloudFormation's functions (`!Ref`, `!Sub`, `!GetAtt`) is read as its bare argument. That is enough
//! here: no table uses one.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::create_table::builders::CreateTableFluentBuilder;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection, ProjectionType,
    ScalarAttributeType, TimeToLiveSpecification,
};
use serde::Deserialize;

use crate::kit::workspace;

/// The parts of `template.yaml` that are used here.
#[derive(Debug, Deserialize)]
pub struct Template {
    /// Resources by logical name, with every tag dropped.
    #[serde(rename = "Resources")]
    pub resources: BTreeMap<String, Resource>,
}

/// One resource.
#[derive(Debug, Deserialize)]
pub struct Resource {
    /// Type of the resource, such as `AWS::DynamoDB::Table`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// Properties, which depend on the type.
    #[serde(rename = "Properties", default)]
    pub properties: serde_json::Value,
}

impl Template {
    /// Reads the workspace's `template.yaml`.
    pub fn read() -> Result<Self> {
        let path = workspace::root().join("template.yaml");
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        serde_saphyr::from_str(&text).with_context(|| path.display().to_string())
    }

    /// Returns the table of this logical name.
    pub fn table(&self, logical_name: &str) -> Result<Table> {
        let resource = self.resources.get(logical_name).with_context(|| format!("no resource {logical_name}"))?;
        serde_json::from_value(resource.properties.clone()).with_context(|| format!("the table {logical_name}"))
    }
}

/// The properties of an `AWS::DynamoDB::Table`.
///
/// An unknown property is an error: someone must decide whether local tables need it too.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Table {
    billing_mode: String,
    attribute_definitions: Vec<Attribute>,
    key_schema: Vec<Key>,
    #[serde(default)]
    global_secondary_indexes: Vec<Index>,
    time_to_live_specification: Option<TimeToLive>,
    /// Backups, encryption at rest and deletion protection are read and ignored: DynamoDB Local has none of them.
    #[serde(rename = "PointInTimeRecoverySpecification")]
    _backups: Option<serde_json::Value>,
    #[serde(rename = "SSESpecification")]
    _encryption: Option<serde_json::Value>,
    #[serde(rename = "DeletionProtectionEnabled")]
    _protection: Option<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Attribute {
    attribute_name: String,
    attribute_type: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Key {
    attribute_name: String,
    key_type: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Index {
    index_name: String,
    key_schema: Vec<Key>,
    projection: IndexProjection,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct IndexProjection {
    projection_type: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct TimeToLive {
    attribute_name: String,
    enabled: bool,
}

impl Table {
    /// Creates the table under `name`. A table that already exists stays as it is.
    pub async fn create(&self, client: &Client, name: &str) -> Result<()> {
        let created = self.request(client, name)?.send().await;
        if let Err(error) = created {
            let already_there = error.as_service_error().is_some_and(|error| error.is_resource_in_use_exception());
            return if already_there { Ok(()) } else { Err(error).with_context(|| format!("creating {name}")) };
        }
        if let Some(expiry) = &self.time_to_live_specification {
            let specification = TimeToLiveSpecification::builder()
                .attribute_name(&expiry.attribute_name)
                .enabled(expiry.enabled)
                .build()?;
            client.update_time_to_live().table_name(name).time_to_live_specification(specification).send().await?;
        }
        Ok(())
    }

    fn request(&self, client: &Client, name: &str) -> Result<CreateTableFluentBuilder> {
        let mut request = client
            .create_table()
            .table_name(name)
            .billing_mode(BillingMode::from(self.billing_mode.as_str()))
            .set_key_schema(Some(keys(&self.key_schema)?));
        for attribute in &self.attribute_definitions {
            let definition = AttributeDefinition::builder()
                .attribute_name(&attribute.attribute_name)
                .attribute_type(ScalarAttributeType::from(attribute.attribute_type.as_str()));
            request = request.attribute_definitions(definition.build()?);
        }
        for index in &self.global_secondary_indexes {
            let projection = Projection::builder()
                .projection_type(ProjectionType::from(index.projection.projection_type.as_str()))
                .build();
            let definition = GlobalSecondaryIndex::builder()
                .index_name(&index.index_name)
                .set_key_schema(Some(keys(&index.key_schema)?))
                .projection(projection);
            request = request.global_secondary_indexes(definition.build()?);
        }
        Ok(request)
    }
}

fn keys(keys: &[Key]) -> Result<Vec<KeySchemaElement>> {
    keys.iter()
        .map(|key| {
            let element = KeySchemaElement::builder()
                .attribute_name(&key.attribute_name)
                .key_type(KeyType::from(key.key_type.as_str()));
            Ok(element.build()?)
        })
        .collect()
}
