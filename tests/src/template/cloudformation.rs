//! Expands `template.yaml` from SAM to CloudFormation, with AWS's own translator.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::kit::{credentials, workspace};

/// An expanded template, as JSON. Conditions remain in it, since the values of the parameters are unknown.
#[derive(Debug, Clone)]
pub struct Expanded(Value);

/// Returns the text of the workspace's `template.yaml`.
pub fn source() -> Result<String> {
    let path = workspace::root().join("template.yaml");
    std::fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// Returns a command that runs Python with the packages that `scripts/fetch-tools` has fetched for the checks. It does
/// not contact AWS and sends no telemetry.
pub fn python() -> Result<Command> {
    let mut python = Command::new("python3");
    python
        .env("PYTHONPATH", workspace::tool("checks")?)
        .env("AWS_DEFAULT_REGION", credentials::REGION)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("SAM_CLI_TELEMETRY", "0");
    Ok(python)
}

impl Expanded {
    /// Expands a template.
    pub fn of(source: &str) -> Result<Self> {
        let mut python = python()?
            .arg(workspace::root().join("tests/expand-template.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        python.stdin.take().context("it has an input")?.write_all(source.as_bytes())?;
        let output = python.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "the template cannot be expanded:\n{said}");
        Ok(Self(serde_json::from_slice(&output.stdout)?))
    }

    /// Returns the whole template.
    pub fn json(&self) -> &Value {
        &self.0
    }

    /// Returns the resource of this logical name.
    pub fn resource(&self, name: &str) -> Result<&Value> {
        self.0["Resources"].get(name).with_context(|| format!("there is no resource {name}"))
    }

    /// Returns all resources of a type, by logical name.
    pub fn resources(&self, kind: &str) -> impl Iterator<Item = (&String, &Value)> {
        let all = self.0["Resources"].as_object().into_iter().flatten();
        all.filter(move |(_, resource)| resource["Type"] == kind)
    }

    /// Returns the properties of the function that runs this program.
    pub fn function(&self, program: &str) -> Result<&Value> {
        Ok(&self.resource(&format!("{}Function", capitalised(program)))?["Properties"])
    }

    /// Returns the names of a function's environment variables.
    pub fn variables(&self, program: &str) -> Result<BTreeSet<String>> {
        let variables = self.function(program)?.pointer("/Environment/Variables").and_then(Value::as_object);
        Ok(variables.with_context(|| format!("{program} has no variables"))?.keys().cloned().collect())
    }

    /// Returns the output `ScrapeConfig` for a stack of this name whose metrics function is at `host`.
    pub fn scrape_config(&self, stack: &str, host: &str) -> Result<String> {
        let text = self.0.pointer("/Outputs/ScrapeConfig/Value/Fn::Sub/0").and_then(Value::as_str);
        let text = text.context("the output ScrapeConfig is no text with values")?;
        let text = text.replace("${AWS::StackName}", stack).replace("${Host}", host);
        ensure!(!text.contains("${"), "ScrapeConfig has another value:\n{text}");
        Ok(text)
    }

    /// Returns a function's environment variables. A reference to a parameter becomes its default, a reference to
    /// anything else becomes the result of `name` for its logical name. A variable that is set on a condition is left
    /// out if its parameter is empty by default.
    pub fn environment(
        &self,
        program: &str,
        name: impl Fn(&str) -> Option<String>,
    ) -> Result<BTreeMap<String, String>> {
        let variables = self.function(program)?.pointer("/Environment/Variables").and_then(Value::as_object);
        let variables = variables.with_context(|| format!("{program} has no variables"))?;
        let no_value = serde_json::json!({ "Ref": "AWS::NoValue" });
        let mut all = BTreeMap::new();
        for (variable, value) in variables {
            let optional = value["Fn::If"][2] == no_value;
            let value = if optional { &value["Fn::If"][1] } else { value };
            let referred = value["Ref"].as_str().with_context(|| format!("{variable} is {value}, no Ref"))?;
            let value = match &self.0["Parameters"][referred]["Default"] {
                Value::Null => name(referred).with_context(|| format!("{variable} refers to {referred}"))?,
                Value::String(text) if text.is_empty() && optional => continue,
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            all.insert(variable.clone(), value);
        }
        Ok(all)
    }
}

/// Returns a function's name as it appears in logical names.
pub fn capitalised(function: &str) -> String {
    let (first, rest) = function.split_at(1);
    first.to_uppercase() + rest
}
