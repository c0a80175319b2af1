//! Checks that `template.yaml` agrees with the code, and that it has everything that an operator relies on.
//!
//! Every disagreement is a complaint, so that one run names all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::kit::{functions, workspace};
use crate::template::cloudformation::{Expanded, capitalised};
use crate::template::expected;
use crate::template::permissions::{by_lambda, called, granted, strangers};

/// Variables that each function requires.
const REQUIRED_VARIABLES: [(&str, &[&str]); 4] = [
    ("encode", &["SIGILS_TABLE", "STATS_TABLE", "SIGNING_KEYS_SECRET_ARN"]),
    ("verify", &["SIGILS_TABLE", "STATS_TABLE", "SIGNING_KEYS_SECRET_ARN"]),
    ("gc", &["SIGILS_TABLE", "STATS_TABLE"]),
    ("metrics", &["STATS_TABLE", "METRICS_TOKEN_SECRET_ARN"]),
];

/// Variables whose value is itself a secret. They are for local use only.
const SECRET_VARIABLES: [&str; 3] = ["SIGNING_KEYS", "METRICS_TOKEN", "METRICS_TOKEN_PREVIOUS"];

/// Returns all complaints about a template. There are none if the template is as it should be.
pub fn complaints(source: &str) -> Result<Vec<String>> {
    let template = match Expanded::of(source) {
        Ok(template) => template,
        Err(error) => return Ok(vec![format!("{error:#}")]),
    };
    let mut this = Complaints { template: &template, all: Vec::new() };
    for function in functions::ALL {
        this.about_permissions(function);
        this.about_function(function)?;
        this.about_variables(function)?;
    }
    this.about_strangers();
    this.about_deadlines()?;
    this.about_tables();
    this.about_secrets();
    this.about_routes()?;
    this.about_schedule();
    this.about_wiring();
    this.about_alarms();
    this.about_parameters();
    Ok(this.all)
}

struct Complaints<'a> {
    template: &'a Expanded,
    all: Vec<String>,
}

impl Complaints<'_> {
    fn expect(&mut self, holds: bool, complaint: impl Into<String>) {
        if !holds {
            self.all.push(complaint.into());
        }
    }

    fn expect_at(&mut self, resource: &str, pointer: &str, expected: &Value) {
        let found = self.template.resource(resource).ok().and_then(|resource| resource.pointer(pointer)).cloned();
        let shown = found.as_ref().map_or("absent".to_owned(), Value::to_string);
        self.expect(found.as_ref() == Some(expected), format!("{resource}{pointer} is {shown}, not {expected}"));
    }

    fn about_permissions(&mut self, function: &str) {
        let needed = &called(function) | &by_lambda(function);
        match granted(self.template, function) {
            Ok(granted) => {
                for missing in &needed - &granted {
                    self.all.push(format!("{function} calls {missing}, which its role does not allow"));
                }
                for spare in &granted - &needed {
                    self.all.push(format!("the role of {function} allows {spare}, which the function never uses"));
                }
            }
            Err(error) => self.all.push(format!("{function}: {error:#}")),
        }
    }

    fn about_strangers(&mut self) {
        for name in strangers(self.template) {
            self.all.push(format!("{name} is of IAM, but no function's role: nothing here reads what it grants"));
        }
    }

    fn about_function(&mut self, function: &str) -> Result<()> {
        let name = format!("{}Function", capitalised(function));
        let logs = format!("{}Logs", capitalised(function));
        self.expect_at(&name, "/Metadata/BuildMethod", &json!("rust-cargolambda"));
        self.expect_at(&name, "/Metadata/BuildProperties/Binary", &json!(function));
        self.expect_at(&name, "/Properties/Handler", &json!("bootstrap"));
        self.expect_at(&name, "/Properties/Runtime", &json!("provided.al2023"));
        self.expect_at(&name, "/Properties/Architectures", &json!([{ "Ref": "Architecture" }]));
        self.expect_at(&name, "/Properties/TracingConfig/Mode", &json!({ "Ref": "Tracing" }));
        self.expect_at(&name, "/Properties/LoggingConfig/LogFormat", &json!("JSON"));
        self.expect_at(&name, "/Properties/LoggingConfig/LogGroup", &json!({ "Ref": logs }));
        self.expect_at(&logs, "/Properties/RetentionInDays", &json!({ "Ref": "LogRetentionDays" }));
        let memory = self.template.function(function)?["MemorySize"].as_u64().unwrap_or_default();
        let expected = if function == "metrics" { 512 } else { 256 };
        self.expect(memory == expected, format!("{function} has {memory} MB, and was measured with {expected}"));
        let reserved = &self.template.function(function)?["ReservedConcurrentExecutions"];
        let if_reserved =
            |environments: Value| json!({ "Fn::If": ["ReservesConcurrency", environments, { "Ref": "AWS::NoValue" }] });
        let expected = match function {
            "gc" => if_reserved(json!(1)),
            "metrics" => if_reserved(json!(5)),
            // Anybody may call verify, so it must not use up the environments of all other functions.
            "verify" => if_reserved(json!({ "Ref": "VerifyConcurrency" })),
            _ => Value::Null,
        };
        let complaint = format!("the reserved concurrency of {function} is {reserved}, not {expected}");
        self.expect(*reserved == expected, complaint);
        Ok(())
    }

    fn about_variables(&mut self, function: &str) -> Result<()> {
        let variables = self.template.variables(function)?;
        for (variable, value) in self.template.environment(function, |name| Some(name.to_owned()))? {
            self.expect(!value.trim().is_empty(), format!("{function} is given {variable} empty, which it refuses"));
        }
        let known = literals(&workspace::root().join("functions").join(function))?;
        let known = &known | &literals(&workspace::root().join("shared"))?;
        for variable in &variables {
            self.expect(known.contains(variable), format!("{function} is given {variable}, which no code reads"));
            let secret = SECRET_VARIABLES.contains(&variable.as_str());
            self.expect(!secret, format!("{function} is given the secret {variable} in plain sight"));
        }
        for required in REQUIRED_VARIABLES.iter().filter(|(name, _)| *name == function).flat_map(|(_, all)| *all) {
            self.expect(variables.contains(*required), format!("{function} is not given {required}"));
        }
        Ok(())
    }

    /// Checks that Lambda never ends an invocation: the code has its own deadlines, and answers before Lambda's
    /// time-out.
    fn about_deadlines(&mut self) -> Result<()> {
        let timeout = |function: &str| Ok::<_, anyhow::Error>(self.template.function(function)?["Timeout"].as_u64());
        let (request, gc, metrics) = (timeout("encode")?, timeout("gc")?, timeout("metrics")?);
        let same = timeout("verify")? == request;
        self.expect(same, "encode and verify have the same budgets, but different time-outs");
        // Once a limit has passed, the response is still posted and metrics are published.
        let after = millis("shared/function-runtime/src/deadline.rs", "RESERVE")?;
        for (function, timeout, limit) in [
            ("a request", request, millis("shared/function-runtime/src/aws.rs", "REQUEST_LIMIT")?),
            ("gc", gc, millis("functions/gc/src/main.rs", "LIMIT")?),
            ("a scrape", metrics, millis("functions/metrics/src/handler.rs", "LIMIT")?),
        ] {
            let needed = limit + after;
            self.expect(
                timeout.is_some_and(|timeout| timeout * 1000 > needed),
                format!("{function} may take {needed} ms, and is cut off after {timeout:?} s"),
            );
        }
        Ok(())
    }

    fn about_tables(&mut self) {
        let attribute = |name: &str, kind: &str| json!({ "AttributeName": name, "AttributeType": kind });
        let key = |name: &str, kind: &str| json!({ "AttributeName": name, "KeyType": kind });
        self.expect_at("SigilsTable", "/Properties/KeySchema", &json!([key("id", "HASH")]));
        self.expect_at(
            "SigilsTable",
            "/Properties/AttributeDefinitions",
            &json!([attribute("id", "S"), attribute("gc_shard", "S"), attribute("due", "N")]),
        );
        let index = json!([{
            "IndexName": "due-index",
            "KeySchema": [key("gc_shard", "HASH"), key("due", "RANGE")],
            "Projection": { "ProjectionType": "KEYS_ONLY" },
        }]);
        self.expect_at("SigilsTable", "/Properties/GlobalSecondaryIndexes", &index);
        self.expect_at("StatsTable", "/Properties/KeySchema", &json!([key("pk", "HASH"), key("sk", "RANGE")]));
        let strings = json!([attribute("pk", "S"), attribute("sk", "S")]);
        self.expect_at("StatsTable", "/Properties/AttributeDefinitions", &strings);
        let protected = json!({ "Fn::If": ["ProtectsData", true, false] });
        for table in ["SigilsTable", "StatsTable"] {
            let expiry = json!({ "AttributeName": "ttl", "Enabled": true });
            self.expect_at(table, "/Properties/TimeToLiveSpecification", &expiry);
            self.expect_at(table, "/Properties/BillingMode", &json!("PAY_PER_REQUEST"));
            self.expect_at(table, "/Properties/SSESpecification/SSEEnabled", &json!(true));
            self.expect_at(table, "/Properties/DeletionProtectionEnabled", &protected);
            let backups = "/Properties/PointInTimeRecoverySpecification/PointInTimeRecoveryEnabled";
            self.expect_at(table, backups, &protected);
            self.expect_kept(table);
        }
    }

    fn expect_kept(&mut self, resource: &str) {
        let kept = json!({ "Fn::If": ["ProtectsData", "Retain", "Delete"] });
        self.expect_at(resource, "/DeletionPolicy", &kept);
        self.expect_at(resource, "/UpdateReplacePolicy", &kept);
    }

    fn about_secrets(&mut self) {
        // CloudFormation generates a new secret if these properties change: see the template.
        let seed = json!({
            "SecretStringTemplate": "{}", "GenerateStringKey": "seed", "PasswordLength": 64, "ExcludePunctuation": true,
        });
        self.expect_at("SigningSecret", "/Properties/GenerateSecretString", &seed);
        let token = json!({ "PasswordLength": 48, "ExcludePunctuation": true });
        self.expect_at("MetricsTokenSecret", "/Properties/GenerateSecretString", &token);
        for secret in ["SigningSecret", "MetricsTokenSecret"] {
            self.expect_kept(secret);
            let plain =
                self.template.resource(secret).ok().and_then(|secret| secret.pointer("/Properties/SecretString"));
            self.expect(plain.is_none(), format!("{secret} has its value in the template"));
        }
        let everything = self.template.json().to_string();
        self.expect(!everything.contains("{{resolve:"), "a secret is resolved into the stack, where it can be read");
        for (name, parameter) in self.template.json()["Parameters"].as_object().into_iter().flatten() {
            let secret = !parameter["NoEcho"].is_null();
            self.expect(!secret, format!("the parameter {name} is a secret, which whoever deploys then knows"));
        }
    }

    fn about_routes(&mut self) -> Result<()> {
        let mut found = BTreeMap::new();
        for (name, route) in self.template.resources("AWS::ApiGatewayV2::Route") {
            let (key, target) = (&route["Properties"]["RouteKey"], &route["Properties"]["Target"]["Fn::Sub"]);
            let key = key.as_str().with_context(|| format!("{name} has no key"))?.to_owned();
            let integration = target.as_str().and_then(|text| text.strip_prefix("integrations/${")?.strip_suffix('}'));
            let integration = self.template.resource(integration.with_context(|| format!("{name} leads nowhere"))?)?;
            let function = integration.pointer("/Properties/IntegrationUri/Fn::GetAtt/0").and_then(Value::as_str);
            let function = function.and_then(|name| name.strip_suffix("Function")).unwrap_or_default().to_lowercase();
            found.insert(key, (function, route["Properties"]["AuthorizationType"].clone()));
        }
        let served: BTreeMap<_, _> = found.iter().map(|(key, (function, _))| (key.clone(), function.clone())).collect();
        let expected = routes_on_a_desk()?;
        self.expect(served == expected, format!("the API has {served:?}, and the desk {expected:?}"));
        for (key, (_, authorization)) in found {
            let expected = match key.as_str() {
                "GET /.well-known/jwks.json" => json!("NONE"),
                "POST /api/consciousness/sigils/verify" => json!({ "Fn::If": ["AsksVerifyScope", "JWT", "NONE"] }),
                _ => json!({ "Ref": "ApiAuthorization" }),
            };
            self.expect(authorization == expected, format!("{key} is authorized by {authorization}, not {expected}"));
        }
        let default = &self.template.json()["Parameters"]["ApiAuthorization"]["Default"];
        let closed = default == "AWS_IAM";
        self.expect(closed, format!("by default the API is authorized by {default}, not AWS_IAM"));
        for limit in ["Rate", "Burst"] {
            let pointer = format!("/Properties/DefaultRouteSettings/Throttling{limit}Limit");
            self.expect_at("ApiStage", &pointer, &json!({ "Ref": format!("Api{limit}Limit") }));
        }
        self.about_scopes();
        self.about_access_log();
        // A URL needs both permissions; with only one of them, every scrape is refused.
        self.expect_at("MetricsUrl", "/Properties/AuthType", &json!("NONE"));
        self.expect_at("MetricsUrlPermission", "/Properties/Action", &json!("lambda:InvokeFunctionUrl"));
        self.expect_at("MetricsUrlPermission", "/Properties/FunctionUrlAuthType", &json!("NONE"));
        self.expect_at("MetricsUrlInvokePermission", "/Properties/Action", &json!("lambda:InvokeFunction"));
        self.expect_at("MetricsUrlInvokePermission", "/Properties/InvokedViaFunctionUrl", &json!(true));
        let public = |permission: &Value| permission["Properties"]["Principal"] == "*";
        let permissions = self.template.resources("AWS::Lambda::Permission");
        let names: Vec<_> = permissions
            .filter(|(_, permission)| public(permission))
            .map(|(name, permission)| (name.clone(), permission["Properties"]["FunctionName"]["Ref"].clone()))
            .collect();
        for (name, function) in names {
            self.expect(function == "MetricsFunction", format!("{name} lets anyone call {function}"));
        }
        Ok(())
    }

    /// Checks that each route asks for its own scope, and only if tokens authorize it: API Gateway refuses scopes
    /// together with any other authorization.
    fn about_scopes(&mut self) {
        let no_value = json!({ "Ref": "AWS::NoValue" });
        for route in ["Encode", "Revoke", "Show", "Verify"] {
            let (condition, scope) = (format!("Asks{route}Scope"), format!("{route}Scope"));
            let asked = json!({ "Fn::If": [condition, [{ "Ref": scope }], no_value] });
            self.expect_at(&format!("{route}Route"), "/Properties/AuthorizationScopes", &asked);
            let is_asked = json!({ "Fn::And": [
                { "Condition": "UsesJwt" },
                { "Fn::Not": [{ "Fn::Equals": [{ "Ref": scope }, ""] }] },
            ] });
            let found = &self.template.json()["Conditions"][&condition];
            self.expect(*found == is_asked, format!("{condition} is {found}, not {is_asked}"));
            let by_default = &self.template.json()["Parameters"][&scope]["Default"];
            self.expect(by_default == "", format!("{scope} is {by_default} by default"));
        }
        let found = self.template.json()["Rules"]["ScopesAreOfTokens"]["Assertions"].as_array().map_or(0, Vec::len);
        self.expect(found == 4, format!("{found} of four scopes are refused without tokens"));
    }

    fn about_access_log(&mut self) {
        let logs = json!({ "Fn::GetAtt": ["ApiLogs", "Arn"] });
        self.expect_at("ApiStage", "/Properties/AccessLogSettings/DestinationArn", &logs);
        self.expect_at("ApiLogs", "/Properties/RetentionInDays", &json!({ "Ref": "LogRetentionDays" }));
        let format = self
            .template
            .resource("ApiStage")
            .ok()
            .and_then(|stage| stage.pointer("/Properties/AccessLogSettings/Format")?.as_str().map(str::to_owned));
        let format = format.unwrap_or_default();
        let line = serde_json::from_str::<BTreeMap<String, String>>(&format);
        self.expect(line.is_ok(), format!("the access log's format is no JSON of texts: {format}"));
        let secret = ["header", "querystring", "body", "path"].iter().find(|part| format.contains(*part));
        self.expect(secret.is_none(), format!("the access log has {secret:?} in it, and with it tokens or data"));
        for part in ["$context.routeKey", "$context.status", "$context.identity.sourceIp"] {
            self.expect(format.contains(part), format!("the access log has no {part}"));
        }
    }

    fn about_schedule(&mut self) {
        let target = json!({ "Fn::GetAtt": ["GcFunction", "Arn"] });
        let queue = json!({ "Fn::GetAtt": ["GcDeadLetters", "Arn"] });
        self.expect_at("GcSchedule", "/Properties/Targets/0/Arn", &target);
        self.expect_at("GcSchedule", "/Properties/Targets/0/DeadLetterConfig/Arn", &queue);
        let failed = "/Properties/DestinationConfig/OnFailure/Destination";
        self.expect_at("GcFunctionEventInvokeConfig", failed, &queue);
        for (name, rule) in self.template.resources("AWS::Events::Rule") {
            // No linter refuses `rate(1 hours)`, but the deployment does.
            let expression = rule["Properties"]["ScheduleExpression"].as_str().unwrap_or_default();
            let rate = expression.strip_prefix("rate(").and_then(|text| text.strip_suffix(')')?.split_once(' '));
            let spelled = rate.is_some_and(|(count, unit)| {
                let number = count.parse::<u32>().is_ok_and(|count| count > 0);
                let units = if count == "1" { ["minute", "hour", "day"] } else { ["minutes", "hours", "days"] };
                number && units.contains(&unit)
            });
            let complaint = format!("{name} is scheduled by {expression}, which EventBridge does not take");
            if !spelled {
                self.all.push(complaint);
            }
        }
    }

    fn about_wiring(&mut self) {
        for (name, properties) in expected::wiring() {
            self.expect_at(&name, "/Properties", &properties);
        }
        for (name, condition) in expected::conditions() {
            let found = &self.template.json()["Conditions"][name];
            self.expect(*found == condition, format!("the condition {name} is {found}, not {condition}"));
        }
    }

    fn about_alarms(&mut self) {
        for (name, expected) in expected::alarms() {
            let mut found = self.template.resource(&name).map_or(Value::Null, |alarm| alarm["Properties"].clone());
            if let Some(properties) = found.as_object_mut() {
                properties.remove("AlarmDescription");
            }
            self.expect(found == expected, format!("{name} is {found}, not {expected}"));
        }
        let mut metrics = BTreeSet::new();
        for (name, alarm) in self.template.resources("AWS::CloudWatch::Alarm") {
            let properties = &alarm["Properties"];
            let single = json!([{ "MetricStat": { "Metric": properties } }]);
            let queries = if properties["Metrics"].is_array() { &properties["Metrics"] } else { &single };
            for metric in
                queries.as_array().into_iter().flatten().filter_map(|query| query.pointer("/MetricStat/Metric"))
            {
                let of = &metric["Dimensions"][0]["Value"];
                let of = of["Ref"].as_str().or(of["Fn::GetAtt"][0].as_str()).unwrap_or_default();
                metrics.insert(format!("{} of {of}", metric["MetricName"].as_str().unwrap_or_default()));
            }
            let told = json!({ "Fn::If": ["HasAlarmTopic", [{ "Ref": "AlarmTopicArn" }], { "Ref": "AWS::NoValue" }] });
            if properties["AlarmActions"] != told {
                self.all.push(format!("the alarm {name} notifies nobody"));
            }
        }
        let mut expected: BTreeSet<String> =
            functions::ALL.iter().map(|function| format!("Errors of {}Function", capitalised(function))).collect();
        for table in ["SigilsTable", "StatsTable"] {
            expected.extend(["Read", "Write"].map(|kind| format!("{kind}ThrottleEvents of {table}")));
        }
        expected
            .extend(["Throttles of MetricsFunction", "Throttles of VerifyFunction", "5xx of Api"].map(str::to_owned));
        expected.insert("Invocations of GcFunction".to_owned());
        expected.insert("ApproximateNumberOfMessagesVisible of GcDeadLetters".to_owned());
        self.expect(metrics == expected, format!("alarms watch {metrics:?}, not {expected:?}"));
        self.expect_at("GcDidNotRunAlarm", "/Properties/TreatMissingData", &json!("breaching"));
        self.expect_at("GcDidNotRunAlarm", "/Properties/ComparisonOperator", &json!("LessThanThreshold"));
    }

    fn about_parameters(&mut self) {
        let found: BTreeMap<_, _> = self.template.json()["Parameters"].as_object().into_iter().flatten().collect();
        let found = found.into_iter().map(|(name, parameter)| (name.clone(), parameter["Default"].clone()));
        let (found, expected) = (Value::from_iter(found), expected::defaults());
        self.expect(found == expected, format!("the defaults are {found}, not {expected}"));
        for (name, parameter) in self.template.json()["Parameters"].as_object().into_iter().flatten() {
            let has = |member: &str| !parameter[member].is_null();
            self.expect(has("Description"), format!("the parameter {name} has no description"));
            self.expect(has("Default"), format!("the parameter {name} has no default"));
            let bounded = has("AllowedValues") || has("AllowedPattern") || has("MinValue");
            self.expect(bounded, format!("the parameter {name} takes anything"));
        }
    }
}

/// Returns all string literals in the source code under a folder that could be the name of a variable. Everything after
/// the first `#[cfg(test)]` of a file is left out.
fn literals(folder: &Path) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path)?;
                let code = text.split("#[cfg(test)]").next().unwrap_or_default();
                let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
                let quoted = lines.flat_map(|line| line.split('"').skip(1).step_by(2));
                let is_name =
                    |text: &&str| text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
                found.extend(quoted.filter(is_name).map(str::to_owned));
            }
        }
    }
    Ok(found)
}

/// Returns the value of a `Duration` constant in a file of the workspace, in milliseconds.
fn millis(path: &str, constant: &str) -> Result<u64> {
    let text = std::fs::read_to_string(workspace::root().join(path)).with_context(|| path.to_owned())?;
    let value = text.split_once(&format!("const {constant}: Duration = Duration::from_"));
    let value = value.and_then(|(_, rest)| rest.split_once(')')?.0.split_once('('));
    let (unit, count) = value.with_context(|| format!("no {constant} in {path}"))?;
    Ok(count.parse::<u64>()? * if unit == "secs" { 1000 } else { 1 })
}

/// Returns the routes and their functions under `cargo lambda watch`. The scrape is left out: in production it has a
/// separate URL, so that clients and scrapers do not share limits.
fn routes_on_a_desk() -> Result<BTreeMap<String, String>> {
    let output = Command::new("cargo")
        .current_dir(workspace::root())
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .output()?;
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let router = metadata.pointer("/metadata/lambda/watch/router").and_then(Value::as_object).context("no router")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(router
        .iter()
        .filter(|(path, _)| *path != "/metrics")
        .flat_map(|(path, routes)| {
            let routes = routes.as_array().into_iter().flatten();
            routes.map(move |route| (format!("{} {path}", text(&route["method"])), text(&route["function"])))
        })
        .collect())
}
