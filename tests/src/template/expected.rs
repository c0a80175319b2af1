//! Holds what `template.yaml` must say where neither a linter nor the code knows: who may invoke what, when an alarm fires, and
//! what a stack has by default.

use serde_json::{Value, json};

/// Returns the properties of the resources by which the parts of a stack call each other, by logical name.
pub(super) fn wiring() -> Vec<(String, Value)> {
    let mut all = vec![
        (
            "GcSchedulePermission".to_owned(),
            json!({
                "Action": "lambda:InvokeFunction",
                "FunctionName": { "Ref": "GcFunction" },
                "Principal": "events.amazonaws.com",
                "SourceArn": { "Fn::GetAtt": ["GcSchedule", "Arn"] },
            }),
        ),
        (
            "GcDeadLettersPolicy".to_owned(),
            json!({
                "Queues": [{ "Ref": "GcDeadLetters" }],
                "PolicyDocument": { "Version": "2012-10-17", "Statement": [{
                    "Effect": "Allow",
                    "Principal": { "Service": "events.amazonaws.com" },
                    "Action": "sqs:SendMessage",
                    "Resource": { "Fn::GetAtt": ["GcDeadLetters", "Arn"] },
                    "Condition": { "ArnEquals": { "aws:SourceArn": { "Fn::GetAtt": ["GcSchedule", "Arn"] } } },
                }] },
            }),
        ),
    ];
    for function in ["Encode", "Verify"] {
        all.push((
            format!("{function}Integration"),
            json!({
                "ApiId": { "Ref": "Api" },
                "IntegrationType": "AWS_PROXY",
                "IntegrationUri": { "Fn::GetAtt": [format!("{function}Function"), "Arn"] },
                // The functions refuse the other format.
                "PayloadFormatVersion": "2.0",
            }),
        ));
        let this_api = "arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}:${Api}/*";
        all.push((
            format!("{function}ApiPermission"),
            json!({
                "Action": "lambda:InvokeFunction",
                "FunctionName": { "Ref": format!("{function}Function") },
                "Principal": "apigateway.amazonaws.com",
                "SourceArn": { "Fn::Sub": this_api },
            }),
        ));
    }
    all
}

/// Returns the conditions that do not concern scopes, by name.
pub(super) fn conditions() -> [(&'static str, Value); 6] {
    let is = |parameter: &str, value: &str| json!({ "Fn::Equals": [{ "Ref": parameter }, value] });
    let is_set = |parameter: &str| json!({ "Fn::Not": [is(parameter, "")] });
    [
        ("UsesJwt", is("ApiAuthorization", "JWT")),
        ("RestrictsNetworks", is_set("MetricsAllowedCidrs")),
        ("ReservesConcurrency", is("ReserveConcurrency", "true")),
        ("ProtectsData", is("ProtectData", "true")),
        ("Traces", is("Tracing", "Active")),
        ("HasAlarmTopic", is_set("AlarmTopicArn")),
    ]
}

/// Returns the default of every parameter, as DEPLOY.md promises it.
pub(super) fn defaults() -> Value {
    json!({
        "ApiAuthorization": "AWS_IAM",
        "JwtIssuer": "",
        "JwtAudience": "",
        "EncodeScope": "",
        "RevokeScope": "",
        "ShowScope": "",
        "VerifyScope": "",
        "MetricsAllowedCidrs": "",
        "ApiRateLimit": 500,
        "ApiBurstLimit": 1000,
        "SigilMaxTtlSeconds": 365 * 24 * 60 * 60,
        "SigilRetentionSeconds": 7 * 24 * 60 * 60,
        "StatsShards": 1,
        "StatsPublishInterval": "1s",
        "StatsFormat": 2,
        "Architecture": "arm64",
        "ReserveConcurrency": "true",
        "VerifyConcurrency": 100,
        "ProtectData": "true",
        "LogRetentionDays": 30,
        "Tracing": "PassThrough",
        "AlarmTopicArn": "",
    })
}

/// Returns the properties of every alarm but its description, by logical name.
pub(super) fn alarms() -> Vec<(String, Value)> {
    let reference = |name: &str| json!({ "Ref": name });
    let mut all = Vec::new();
    for function in ["Encode", "Verify", "Gc", "Metrics"] {
        let of = ("FunctionName", reference(&format!("{function}Function")));
        all.push((format!("{function}ErrorsAlarm"), at_least(1, &sum("AWS/Lambda", "Errors", of))));
    }
    for function in ["Metrics", "Verify"] {
        let of = ("FunctionName", reference(&format!("{function}Function")));
        all.push((format!("{function}ThrottledAlarm"), at_least(1, &sum("AWS/Lambda", "Throttles", of))));
    }
    let answers = sum("AWS/ApiGateway", "5xx", ("ApiId", reference("Api")));
    all.push(("ApiServerErrorsAlarm".to_owned(), at_least(5, &answers)));

    // Gc runs hourly, and a run may fail once.
    let mut runs = at_least(1, &sum("AWS/Lambda", "Invocations", ("FunctionName", reference("GcFunction"))));
    runs["ComparisonOperator"] = json!("LessThanThreshold");
    runs["Period"] = json!(3600);
    runs["EvaluationPeriods"] = json!(3);
    runs["TreatMissingData"] = json!("breaching");
    all.push(("GcDidNotRunAlarm".to_owned(), runs));

    let queue = ("QueueName", json!({ "Fn::GetAtt": ["GcDeadLetters", "QueueName"] }));
    let mut letters = at_least(1, &sum("AWS/SQS", "ApproximateNumberOfMessagesVisible", queue));
    letters["Statistic"] = json!("Maximum");
    all.push(("GcDeadLettersAlarm".to_owned(), letters));

    for (table, queries) in [
        (
            "SigilsTable",
            &[
                ("reads", "ReadThrottleEvents", false),
                ("writes", "WriteThrottleEvents", false),
                ("indexReads", "ReadThrottleEvents", true),
                ("indexWrites", "WriteThrottleEvents", true),
            ][..],
        ),
        ("StatsTable", &[("reads", "ReadThrottleEvents", false), ("writes", "WriteThrottleEvents", false)]),
    ] {
        // A metric without events has no data, and a sum with one that has none has none either.
        let filled: Vec<_> = queries.iter().map(|(id, ..)| format!("FILL({id}, 0)")).collect();
        let mut metrics = vec![json!({
            "Id": "throttled", "Expression": filled.join(" + "), "Label": "Throttled reads and writes",
        })];
        for (id, name, of_index) in queries {
            let mut dimensions = vec![json!({ "Name": "TableName", "Value": reference(table) })];
            if *of_index {
                dimensions.push(json!({ "Name": "GlobalSecondaryIndexName", "Value": "due-index" }));
            }
            let metric = json!({ "Namespace": "AWS/DynamoDB", "MetricName": name, "Dimensions": dimensions });
            let stat = json!({ "Metric": metric, "Stat": "Sum", "Period": 300 });
            metrics.push(json!({ "Id": id, "ReturnData": false, "MetricStat": stat }));
        }
        all.push((format!("{table}ThrottledAlarm"), at_least(1, &json!({ "Metrics": metrics }))));
    }
    all
}

/// Returns what an alarm says of a metric that it watches in steps of five minutes.
fn sum(namespace: &str, name: &str, (dimension, value): (&str, Value)) -> Value {
    json!({
        "Namespace": namespace,
        "MetricName": name,
        "Dimensions": [{ "Name": dimension, "Value": value }],
        "Statistic": "Sum",
        "Period": 300,
    })
}

/// Returns an alarm on what is watched that fires after one step with at least as many, and tells the topic of its start and its
/// end.
fn at_least(threshold: u64, watched: &Value) -> Value {
    let told = json!({ "Fn::If": ["HasAlarmTopic", [{ "Ref": "AlarmTopicArn" }], { "Ref": "AWS::NoValue" }] });
    let mut alarm = json!({
        "EvaluationPeriods": 1,
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        "Threshold": threshold,
        "TreatMissingData": "notBreaching",
        "AlarmActions": told,
        "OKActions": told,
    });
    for (name, value) in watched.as_object().into_iter().flatten() {
        alarm[name] = value.clone();
    }
    alarm
}
