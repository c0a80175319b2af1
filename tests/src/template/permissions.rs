//! Lists the permissions of a function, from its role and from its code.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::kit::functions;
use crate::template::cloudformation::{Expanded, capitalised};

/// One action on one resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Permission {
    /// Action, such as `dynamodb:GetItem`.
    pub action: String,
    /// Logical name of a resource; for an index of a table `<table>/index/<index>`, and for the items of a table under
    /// one kind of partition key `<table>/<kind>`, such as `StatsTable/shard#*`.
    pub resource: String,
}

impl Permission {
    /// Returns the permission for this action on this resource.
    pub fn new(action: &str, resource: &str) -> Self {
        Self { action: action.to_owned(), resource: resource.to_owned() }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.action, self.resource)
    }
}

/// Tables whose items are granted by partition key.
pub const BY_KEY: [&str; 1] = ["StatsTable"];

const PUBLISH: [(&str, &str); 4] = [
    ("dynamodb:GetItem", "StatsTable/grave#*"),
    ("dynamodb:GetItem", "StatsTable/shard#*"),
    ("dynamodb:PutItem", "StatsTable/shard#*"),
    ("dynamodb:PutItem", "StatsTable/shards"),
];
const READ_KEYS: (&str, &str) = ("secretsmanager:GetSecretValue", "SigningSecret");

/// Returns the permissions that a function's code needs. The end-to-end test of permissions shows that the code makes
/// exactly these calls.
pub fn called(function: &str) -> BTreeSet<Permission> {
    let own: &[(&str, &str)] = match function {
        "encode" => &[
            ("dynamodb:GetItem", "SigilsTable"),
            ("dynamodb:PutItem", "SigilsTable"),
            ("dynamodb:UpdateItem", "SigilsTable"),
            READ_KEYS,
        ],
        "verify" => &[("dynamodb:GetItem", "SigilsTable"), READ_KEYS],
        "gc" => &[
            ("dynamodb:Query", "SigilsTable/index/due-index"),
            ("dynamodb:DeleteItem", "SigilsTable"),
            ("dynamodb:GetItem", "StatsTable/shards"),
            ("dynamodb:Query", "StatsTable/shard#*"),
            ("dynamodb:UpdateItem", "StatsTable/shard#*"),
            ("dynamodb:DeleteItem", "StatsTable/shard#*"),
            ("dynamodb:PutItem", "StatsTable/grave#*"),
        ],
        "metrics" => &[
            ("dynamodb:GetItem", "StatsTable/shard#*"),
            ("dynamodb:GetItem", "StatsTable/shards"),
            ("dynamodb:Query", "StatsTable/shard#*"),
            ("secretsmanager:GetSecretValue", "MetricsTokenSecret"),
        ],
        _ => &[],
    };
    let publish: &[(&str, &str)] = if function == "metrics" { &[] } else { &PUBLISH };
    own.iter().chain(publish).map(|(action, resource)| Permission::new(action, resource)).collect()
}

/// Returns the permissions that Lambda itself uses through a function's role: for writing the log and, for gc, for
/// reporting failed runs.
pub fn by_lambda(function: &str) -> BTreeSet<Permission> {
    let logs = format!("{}Logs", capitalised(function));
    let mut all =
        BTreeSet::from([Permission::new("logs:CreateLogStream", &logs), Permission::new("logs:PutLogEvents", &logs)]);
    if function == "gc" {
        all.insert(Permission::new("sqs:SendMessage", "GcDeadLetters"));
    }
    all
}

/// Returns the logical names of everything of IAM that is not a function's role. It can grant what [`granted`] does not
/// look at.
pub fn strangers(template: &Expanded) -> Vec<String> {
    let roles = functions::ALL.map(|function| format!("{}Role", capitalised(function)));
    let is_role = |name: &String, kind: &str| kind == "AWS::IAM::Role" && roles.contains(name);
    let all = template.json()["Resources"].as_object().into_iter().flatten();
    let kinds = all.map(|(name, resource)| (name, resource["Type"].as_str().unwrap_or_default()));
    let strangers = kinds.filter(|(name, kind)| kind.starts_with("AWS::IAM::") && !is_role(name, kind));
    strangers.map(|(name, _)| name.clone()).collect()
}

/// Returns the permissions that a function's role grants.
///
/// # Errors
///
/// Fails if anyone but Lambda can take on the role.
///
/// Fails if the role allows more than can be listed: by a managed policy, a wildcard, or a statement of another form.
/// The one exception is the statement for tracing, whose actions cannot be limited to resources. It must be exactly
/// the known one, depend on the condition `Traces`, and have no other statement in its place.
pub fn granted(template: &Expanded, function: &str) -> Result<BTreeSet<Permission>> {
    let name = format!("{}Role", capitalised(function));
    let role = &template.resource(&name)?["Properties"];
    ensure!(
        template.function(function)?["Role"] == serde_json::json!({ "Fn::GetAtt": [name, "Arn"] }),
        "{function} does not have the role {name}"
    );
    let members = ["AssumeRolePolicyDocument", "Policies"];
    for member in role.as_object().context("a role has properties")?.keys() {
        ensure!(members.contains(&member.as_str()), "{name} has {member}, which is not looked into here");
    }
    let by_lambda_alone = serde_json::json!({
        "Version": "2012-10-17",
        "Statement": [
            { "Effect": "Allow", "Principal": { "Service": "lambda.amazonaws.com" }, "Action": "sts:AssumeRole" },
        ],
    });
    let trust = &role["AssumeRolePolicyDocument"];
    ensure!(*trust == by_lambda_alone, "{name} is not for Lambda alone: {trust}");
    let mut all = BTreeSet::new();
    for policy in role["Policies"].as_array().context("a role has policies")? {
        let statements = policy.pointer("/PolicyDocument/Statement").and_then(Value::as_array);
        for statement in statements.with_context(|| format!("{name} has no statements"))? {
            if !is_tracing(statement) {
                all.extend(permissions(statement).with_context(|| format!("in {name}: {statement}"))?);
            }
        }
    }
    Ok(all)
}

fn is_tracing(statement: &Value) -> bool {
    let trace = serde_json::json!({
        "Sid": "Trace",
        "Effect": "Allow",
        "Action": ["xray:PutTelemetryRecords", "xray:PutTraceSegments"],
        "Resource": "*",
    });
    *statement == serde_json::json!({ "Fn::If": ["Traces", trace, { "Ref": "AWS::NoValue" }] })
}

fn permissions(statement: &Value) -> Result<Vec<Permission>> {
    ensure!(statement["Fn::If"].is_null(), "only the statement for tracing may depend on a condition");
    ensure!(statement["Effect"] == "Allow", "only what is allowed is listed");
    for member in statement.as_object().context("a statement has members")?.keys() {
        let known = ["Sid", "Effect", "Action", "Resource", "Condition"].contains(&member.as_str());
        ensure!(known, "{member} is not known here");
    }
    let resource = logical_name(&statement["Resource"])?;
    let resources = match &statement["Condition"] {
        Value::Null => vec![resource],
        condition => by_key(&resource, condition)?,
    };
    let actions = statement["Action"].as_array().context("Action is a list")?;
    let mut all = Vec::new();
    for action in actions {
        let action = action.as_str().context("an action is a text")?;
        ensure!(!action.contains('*'), "{action} is a wildcard");
        all.extend(resources.iter().map(|resource| Permission::new(action, resource)));
    }
    Ok(all)
}

/// Returns the kinds of partition keys to which a condition limits access to a table. Fails if the condition has any
/// other part.
fn by_key(table: &str, condition: &Value) -> Result<Vec<String>> {
    let keys = &condition["ForAllValues:StringLike"]["dynamodb:LeadingKeys"];
    let only = serde_json::json!({ "ForAllValues:StringLike": { "dynamodb:LeadingKeys": keys } });
    ensure!(*condition == only, "the condition {condition} is not known here");
    let keys = keys.as_array().context("LeadingKeys is a list")?;
    keys.iter().map(|key| Ok(format!("{table}/{}", key.as_str().context("a key is a text")?))).collect()
}

fn logical_name(resource: &Value) -> Result<String> {
    let function = resource.as_object().filter(|object| object.len() == 1);
    let Some((name, argument)) = function.and_then(|object| object.iter().next()) else {
        bail!("the resource {resource} is not one of the template's");
    };
    let text = match (name.as_str(), argument) {
        ("Ref", Value::String(name)) => Some(name.clone()),
        ("Fn::GetAtt", Value::Array(parts)) if parts.len() == 2 && parts[1] == "Arn" => {
            parts[0].as_str().map(str::to_owned)
        }
        ("Fn::Sub", Value::String(text)) => text.strip_prefix("${").and_then(|text| {
            let (table, index) = text.split_once(".Arn}")?;
            (index.starts_with("/index/") && !index.contains('*')).then(|| format!("{table}{index}"))
        }),
        _ => None,
    };
    text.with_context(|| format!("{resource} does not name exactly one resource"))
}
