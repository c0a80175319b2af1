//! Shows that `template.yaml` is sound and agrees with the code.

use std::process::Output;

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_dynamodb::types::{AttributeValue, TimeToLiveStatus};
use harness::kit::dynamodb_local::DynamoDbLocal;
use harness::kit::{tables, workspace};
use harness::template::cloudformation::{self, Expanded};
use harness::template::complaints::complaints;
use serde_json::json;
use tempfile::TempDir;

#[test]
fn sam_accepts_it() -> Result<()> {
    let sam = workspace::tool("checks/bin/sam")?;
    accepted(&cloudformation::python()?.current_dir(workspace::root()).arg(sam).args(["validate", "--lint"]).output()?)
}

#[test]
fn cfn_lint_has_no_complaint_before_and_after_it_is_expanded() -> Result<()> {
    let cfn_lint = workspace::tool("checks/bin/cfn-lint")?;
    let folder = TempDir::new()?;
    let expanded_file = folder.path().join("expanded.json");
    std::fs::write(&expanded_file, Expanded::of(&cloudformation::source()?)?.json().to_string())?;
    for file in [workspace::root().join("template.yaml"), expanded_file] {
        accepted(&cloudformation::python()?.arg(&cfn_lint).arg("--template").arg(file).output()?)?;
    }
    Ok(())
}

#[test]
fn it_agrees_with_the_code() -> Result<()> {
    let complaints = complaints(&cloudformation::source()?)?;
    ensure!(complaints.is_empty(), "{complaints:#?}");
    Ok(())
}

#[test]
fn throttling_of_the_index_is_watched_as_that_of_the_table_is() -> Result<()> {
    let template = Expanded::of(&cloudformation::source()?)?;
    let metrics = &template.resource("SigilsTableThrottledAlarm")?["Properties"]["Metrics"];
    let [total, watched @ ..] = metrics.as_array().context("it has metrics")?.as_slice() else { bail!("{metrics}") };
    let index = json!({ "Name": "GlobalSecondaryIndexName", "Value": "due-index" });
    for (id, name, of_index) in [
        ("reads", "ReadThrottleEvents", false),
        ("writes", "WriteThrottleEvents", false),
        ("indexReads", "ReadThrottleEvents", true),
        ("indexWrites", "WriteThrottleEvents", true),
    ] {
        let query = watched.iter().find(|query| query["Id"] == id).with_context(|| format!("no {id}"))?;
        let metric = &query["MetricStat"]["Metric"];
        let dimensions = metric["Dimensions"].as_array().context("it has dimensions")?;
        ensure!(metric["MetricName"] == name && dimensions.contains(&index) == of_index, "{id} is {metric}");
        let counted = total["Expression"].as_str().is_some_and(|sum| sum.contains(&format!("FILL({id}, 0)")));
        ensure!(counted, "{id} is not in {total}");
    }
    Ok(())
}

/// Breaks of the template that a linter passes and that a deployment would show too late: a text, its replacement, and a text
/// of the complaint.
const BREAKS: &[(&str, &str, &str)] = &[
    // A missing permission.
    (
        "dynamodb:DeleteItem, dynamodb:Query, dynamodb:UpdateItem]",
        "dynamodb:DeleteItem, dynamodb:Query]",
        "gc calls dynamodb:UpdateItem on StatsTable/shard#*, which its role does not allow",
    ),
    // A superfluous permission.
    (
        "Action: [dynamodb:Query]\n                Resource: !GetAtt StatsTable.Arn",
        "Action: [dynamodb:Query, dynamodb:Scan]\n                Resource: !GetAtt StatsTable.Arn",
        "the role of metrics allows dynamodb:Scan on StatsTable/shard#*, which the function never uses",
    ),
    // Every item of the stats table instead of those of some keys, and other keys.
    (
        "                Condition: { \"ForAllValues:StringLike\": { dynamodb:LeadingKeys: [\"shard#*\", shards] } }\n",
        "",
        "the role of encode allows dynamodb:PutItem on StatsTable, which",
    ),
    (
        "dynamodb:LeadingKeys: [\"shard#*\", shards] } }",
        "dynamodb:LeadingKeys: [\"*\"] } }",
        "the role of encode allows dynamodb:PutItem on StatsTable/*, which",
    ),
    // A condition that no key ever fails.
    ("ForAllValues:StringLike", "ForAllValues:StringLikeIfExists", "is not known here"),
    // A wildcard, as an action and as a resource.
    (
        "Action: [dynamodb:GetItem, dynamodb:PutItem, dynamodb:UpdateItem]",
        "Action: [\"dynamodb:*\"]",
        "dynamodb:* is a wildcard",
    ),
    (
        "Resource: !Sub \"${SigilsTable.Arn}/index/due-index\"",
        "Resource: !Sub \"${SigilsTable.Arn}/index/*\"",
        "does not name exactly one resource",
    ),
    // A statement of tracing that grants more, denies, or grants something else while nothing is traced.
    (
        "[xray:PutTelemetryRecords, xray:PutTraceSegments]",
        "[xray:PutTelemetryRecords, xray:PutTraceSegments, \"xray:*\"]",
        "in EncodeRole: ",
    ),
    (
        "- Sid: Trace\n                  Effect: Allow",
        "- Sid: Trace\n                  Effect: Deny",
        "in EncodeRole: ",
    ),
    ("                  Resource: \"*\"\n", "                  NotResource: \"*\"\n", "in EncodeRole: "),
    (
        "                  Resource: \"*\"\n                - !Ref AWS::NoValue\n",
        "                  Resource: \"*\"\n                - { Effect: Allow, Action: [\"dynamodb:*\"], Resource: \"*\" }\n",
        "only the statement for tracing may depend on a condition",
    ),
    // A policy beside the role, a role of nobody, and a role that another service can take on.
    (
        "  EncodeLogs:\n",
        "  EncodePolicy:\n    Type: AWS::IAM::RolePolicy\n    Properties:\n      PolicyName: more\n      \
         RoleName: !Ref EncodeRole\n\n  EncodeLogs:\n",
        "EncodePolicy is of IAM, but no function's role",
    ),
    (
        "  EncodeLogs:\n",
        "  OtherRole:\n    Type: AWS::IAM::Role\n    Properties: { AssumeRolePolicyDocument: {} }\n\n  EncodeLogs:\n",
        "OtherRole is of IAM, but no function's role",
    ),
    (
        "Principal: { Service: lambda.amazonaws.com }",
        "Principal: { Service: [lambda.amazonaws.com, ec2.amazonaws.com] }",
        "EncodeRole is not for Lambda alone",
    ),
    // Another function's secret.
    (
        "Resource: !Ref MetricsTokenSecret",
        "Resource: !Ref SigningSecret",
        "the role of metrics allows secretsmanager:GetSecretValue on SigningSecret",
    ),
    // A misspelt action.
    ("logs:CreateLogStream", "logs:CreateLogStreem", "encode calls logs:CreateLogStream on EncodeLogs"),
    // A wrong key.
    ("AttributeName: sk, KeyType: RANGE", "AttributeName: pk, KeyType: RANGE", "StatsTable/Properties/KeySchema"),
    // An index with another projection.
    ("ProjectionType: KEYS_ONLY", "ProjectionType: ALL", "SigilsTable/Properties/GlobalSecondaryIndexes"),
    // Expiry dropped.
    ("      TimeToLiveSpecification: { AttributeName: ttl, Enabled: true }\n", "", "TimeToLiveSpecification is absent"),
    // A renamed variable.
    (
        "SIGNING_KEYS_SECRET_ARN:",
        "SIGNING_KEY_SECRET_ARN:",
        "encode is given SIGNING_KEY_SECRET_ARN, which no code reads",
    ),
    // A secret in plain text.
    (
        "METRICS_TOKEN_SECRET_ARN: !Ref MetricsTokenSecret",
        "METRICS_TOKEN: !Ref MetricsTokenSecret",
        "metrics is given the secret METRICS_TOKEN",
    ),
    // A change on which the secret would be generated anew.
    ("PasswordLength: 64", "PasswordLength: 65", "SigningSecret/Properties/GenerateSecretString"),
    // A schedule that EventBridge refuses.
    ("rate(1 hour)", "rate(1 hours)", "which EventBridge does not take"),
    // A route without authorization.
    ("AuthorizationType: !Ref ApiAuthorization", "AuthorizationType: NONE", "is authorized by \"NONE\""),
    // A route with another path.
    ("GET /.well-known/jwks.json", "GET /jwks.json", "the API has"),
    // Time-outs below the code's own deadlines.
    ("Timeout: 15", "Timeout: 10", "a scrape may take"),
    ("Timeout: 60", "Timeout: 56", "gc may take"),
    ("Timeout: 10", "Timeout: 4", "a request may take"),
    // A function that may take all concurrency of the account.
    (
        "ReservedConcurrentExecutions: !If [ReservesConcurrency, !Ref VerifyConcurrency, !Ref AWS::NoValue]\n",
        "Layers: []\n",
        "the reserved concurrency of verify",
    ),
    // A variable that is set to nothing, with which the function would not start.
    (
        "!If [RestrictsNetworks, !Ref MetricsAllowedCidrs, !Ref AWS::NoValue]",
        "!Ref MetricsAllowedCidrs",
        "metrics is given METRICS_ALLOWED_CIDRS empty",
    ),
    // The scope of another route, a scope that AWS_IAM would refuse, and no scope.
    ("[AsksRevokeScope, [!Ref RevokeScope]", "[AsksRevokeScope, [!Ref EncodeScope]", "RevokeRoute/Properties/Auth"),
    (
        "AsksShowScope: !And [!Condition UsesJwt, ",
        "AsksShowScope: !And [!Condition HasAlarmTopic, ",
        "AsksShowScope is",
    ),
    (
        "      - Assert: !Equals [!Ref ShowScope, \"\"]\n        AssertDescription: ShowScope needs ApiAuthorization JWT\n",
        "",
        "3 of four scopes",
    ),
    (
        "AuthorizationType: !If [AsksVerifyScope, JWT, NONE]",
        "AuthorizationType: NONE",
        "verify is authorized by \"NONE\"",
    ),
    // A token in the access log, an access log without the status, and a log that is kept for ever.
    ("\"$context.routeKey\"", "\"$context.path\"", "the access log has"),
    ("\"$context.status\"", "\"$context.stage\"", "the access log has no $context.status"),
    (
        "/aws/vendedlogs/apigateway/${AWS::StackName}\n      RetentionInDays: !Ref LogRetentionDays\n",
        "/aws/vendedlogs/apigateway/${AWS::StackName}\n",
        "ApiLogs/Properties/RetentionInDays is absent",
    ),
    // Alarms on other metrics.
    ("MetricName: Throttles", "MetricName: Errors", "alarms watch"),
    ("MetricName: \"5xx\"", "MetricName: \"4xx\"", "alarms watch"),
    // An alarm that cannot fire, one that always does, and one that has no data until both metrics have some.
    ("Namespace: AWS/Lambda", "Namespace: AWS/Lamda", "EncodeErrorsAlarm is"),
    ("Threshold: 5", "Threshold: 50", "ApiServerErrorsAlarm is"),
    ("Statistic: Maximum", "Statistic: Minimum", "GcDeadLettersAlarm is"),
    ("Expression: FILL(reads, 0) + FILL(writes, 0)\n", "Expression: reads + writes\n", "StatsTableThrottledAlarm is"),
    // Events in the format that the functions refuse, and functions that nobody or anybody may invoke.
    ("PayloadFormatVersion: \"2.0\"", "PayloadFormatVersion: \"1.0\"", "EncodeIntegration/Properties is"),
    ("Principal: events.amazonaws.com", "Principal: sns.amazonaws.com", "GcSchedulePermission/Properties is"),
    (
        "      SourceArn: !Sub arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}:${Api}/*\n",
        "",
        "EncodeApiPermission/Properties is",
    ),
    ("aws:SourceArn: !GetAtt GcSchedule.Arn", "aws:SourceArn: \"*\"", "GcDeadLettersPolicy/Properties is"),
    // A condition the other way round, and a default that is not safe.
    (
        "ProtectsData: !Equals [!Ref ProtectData, \"true\"]",
        "ProtectsData: !Equals [!Ref ProtectData, \"false\"]",
        "the condition ProtectsData is",
    ),
    (
        "  ProtectData:\n    Type: String\n    Default: \"true\"",
        "  ProtectData:\n    Type: String\n    Default: \"false\"",
        "the defaults are",
    ),
    // Data that are deleted with the stack.
    (
        "DeletionPolicy: !If [ProtectsData, Retain, Delete]",
        "DeletionPolicy: Delete",
        "SigilsTable/DeletionPolicy is \"Delete\"",
    ),
];

#[test]
fn each_break_is_caught() -> Result<()> {
    let source = cloudformation::source()?;
    for (from, to, expected) in BREAKS {
        ensure!(source.contains(from), "the template has no {from}");
        let complaints = complaints(&source.replacen(from, to, 1))?;
        let caught = complaints.iter().any(|complaint| complaint.contains(expected));
        ensure!(caught, "{from} became {to}, and the only complaints are {complaints:#?}");
    }
    Ok(())
}

fn accepted(output: &Output) -> Result<()> {
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn its_tables_can_be_created_twice_and_hold_items() -> Result<()> {
    let folder = TempDir::new()?;
    let dynamodb = DynamoDbLocal::start_in_memory(&folder.path().join("dynamodb.log")).await?;
    let client = dynamodb.client();
    tables::create(&client).await?;
    tables::create(&client).await?;

    for table in [tables::SIGILS, tables::STATS] {
        let expiry = client.describe_time_to_live().table_name(table).send().await?;
        let expiry = expiry.time_to_live_description().context("there is one")?;
        assert_eq!(expiry.attribute_name(), Some("ttl"));
        assert_eq!(expiry.time_to_live_status(), Some(&TimeToLiveStatus::Enabled));
    }
    let text = |value: &str| AttributeValue::S(value.into());
    client
        .put_item()
        .table_name(tables::SIGILS)
        .item("id", text("a"))
        .item("gc_shard", text("0"))
        .item("due", AttributeValue::N("1".into()))
        .send()
        .await?;
    let due = client
        .query()
        .table_name(tables::SIGILS)
        .index_name("due-index")
        .key_condition_expression("gc_shard = :shard AND due <= :now")
        .expression_attribute_values(":shard", text("0"))
        .expression_attribute_values(":now", AttributeValue::N("2".into()))
        .send()
        .await?;
    assert_eq!(due.count(), 1);
    client.put_item().table_name(tables::STATS).item("pk", text("a")).item("sk", text("b")).send().await?;
    Ok(())
}
