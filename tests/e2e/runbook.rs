//! Shows that what the runbook says to paste can be pasted: its queries are asked, its commands for a local bundle are run, and
//! its AWS commands are compared with the models that the AWS CLI is made from.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use harness::kit::bundle::{Bundle, Options};
use harness::kit::prometheus::Prometheus;
use harness::kit::variables::DEFAULT_METRICS_TOKEN;
use harness::kit::workspace;
use harness::template::cloudformation::{self, Expanded};
use serde_json::Value;
use tempfile::TempDir;

/// Numbers of a section's queries and commands, by the way in which they are tested.
#[derive(Debug, Default)]
struct Tested {
    queries: usize,
    desk: usize,
    aws: usize,
    unchecked: usize,
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_says_to_paste_can_be_pasted() -> Result<()> {
    let runbook = std::fs::read_to_string(workspace::root().join("dashboards/runbook.md"))?;
    let bundle = Bundle::start(&Options::for_test("runbook")).await?;
    let client = bundle.client();
    client.gc().await?;
    let target = client.url().strip_prefix("http://").context("it has a scheme")?;
    let prometheus = Prometheus::start(target, DEFAULT_METRICS_TOKEN).await?;
    prometheus.query_until("up", |result| result.len() == 1 && result[0].value == 1.0).await?;
    let desk = Desk::new(client.url())?;

    let mut aws = Vec::new();
    let mut tested: BTreeMap<&str, Tested> = BTreeMap::new();
    for Block { section, language, text } in blocks(&runbook) {
        let tested = tested.entry(section).or_default();
        if language == "promql" {
            prometheus.query(text).await.with_context(|| section.to_owned())?;
            tested.queries += 1;
            continue;
        }
        for line in text.lines() {
            match kind(line) {
                Kind::Aws(command) => {
                    aws.push(command);
                    tested.aws += 1;
                }
                Kind::Desk => {
                    desk.run(line).with_context(|| section.to_owned())?;
                    tested.desk += 1;
                }
                Kind::Unchecked => tested.unchecked += 1,
                Kind::Variable => {}
            }
        }
    }
    check_aws(&aws)?;

    let mut table = String::new();
    for alert in alerts()? {
        let Tested { queries, desk, aws, unchecked } =
            tested.get(alert.as_str()).with_context(|| format!("there is nothing to paste for {alert}"))?;
        writeln!(table, "| {alert} | {queries} | {desk} | {aws} | {unchecked} |")?;
    }
    ensure!(runbook.ends_with(&format!("--:|\n{table}")), "the runbook's last table must be:\n{table}");
    Ok(())
}

/// Commands with mistakes that a shell does not see, each with a text of the complaint.
const MISTAKES: [(&str, &str); 9] = [
    ("aws lambda invok --function-name f /dev/stdout", "lambda has no invok"),
    ("aws lambda invoke --function f /dev/stdout", "Invoke has no --function"),
    ("aws lambda invoke --function-name f", "belongs to no option"),
    ("aws lambda invoke --payload '{}' /dev/stdout", "FunctionName"),
    ("aws logs tail group --filter-pattern '\"no such words\"'", "nothing logs"),
    ("aws logs tail group --last 1h --filter-pattern '\"disagree\"'", "takes a log group and"),
    ("aws sqs purge-queue --queue-url \"$(output NoSuchOutput)\"", "the stack has no output NoSuchOutput"),
    ("aws sqs receive-message --queue-url u --max-number-of-messages ten", "ten"),
    ("aws dynamodb wait table-there --table-name t", "dynamodb has no wait table-there"),
];

#[test]
fn mistakes_are_noticed() -> Result<()> {
    for (command, said) in MISTAKES {
        let complaint = check_aws(&[command]).err().with_context(|| format!("{command} is accepted"))?;
        ensure!(format!("{complaint:#}").contains(said), "{command}: {complaint:#}");
    }
    Ok(())
}

/// A fenced block of the runbook.
struct Block<'a> {
    /// Heading above the block; empty before the first heading.
    section: &'a str,
    language: &'a str,
    text: &'a str,
}

fn blocks(markdown: &str) -> Vec<Block<'_>> {
    let (mut blocks, mut section, mut rest) = (Vec::new(), "", markdown);
    while let Some((before, after)) = rest.split_once("```") {
        if let Some(heading) = before.lines().rev().find_map(|line| line.strip_prefix("## ")) {
            section = heading;
        }
        let (language, after) = after.split_once('\n').unwrap_or_default();
        let (text, after) = after.split_once("```").unwrap_or_default();
        blocks.push(Block { section, language, text: text.trim() });
        rest = after;
    }
    blocks
}

enum Kind<'a> {
    /// A command of the AWS CLI.
    Aws(&'a str),
    /// A command that needs a running bundle and nothing else.
    Desk,
    /// A command that nothing here can check.
    Unchecked,
    /// An assignment to a variable that later commands use.
    Variable,
}

fn kind(line: &str) -> Kind<'_> {
    if let Some((_, inner)) = line.split_once("=$(aws ") {
        return Kind::Aws(line[line.len() - inner.len() - "aws ".len()..].trim_end_matches(')'));
    }
    match line.split(' ').next().unwrap_or_default() {
        "aws" => Kind::Aws(line),
        "curl" => Kind::Desk,
        "git" | "sam" => Kind::Unchecked,
        // The definition of `output` contains an AWS command.
        "output()" => Kind::Aws(line.split_once("{ ").map_or(line, |(_, body)| body.trim_end_matches("; }"))),
        _ => Kind::Variable,
    }
}

/// A shell in which `output` prints the URL of a running bundle.
struct Desk {
    folder: TempDir,
    url: String,
}

impl Desk {
    fn new(url: &str) -> Result<Self> {
        let folder = TempDir::new()?;
        std::fs::create_dir(folder.path().join(".local"))?;
        std::fs::write(folder.path().join(".local/metrics-token"), DEFAULT_METRICS_TOKEN)?;
        Ok(Self { folder, url: url.to_owned() })
    }

    fn run(&self, line: &str) -> Result<()> {
        let line = line.replace("http://127.0.0.1:9000", &self.url);
        let script = format!("output() {{ echo {}/; }}\nTOKEN={DEFAULT_METRICS_TOKEN}\n{line} --fail", self.url);
        let output = Command::new("bash").current_dir(self.folder.path()).args(["-c", &script]).output()?;
        ensure!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }
}

/// Returns an error with every complaint about these commands, if there is one.
fn check_aws(commands: &[&str]) -> Result<()> {
    let outputs = Expanded::of(&cloudformation::source()?)?;
    let outputs = outputs.json()["Outputs"].as_object().context("the template has outputs")?;
    let mut python = cloudformation::python()?
        .arg(workspace::root().join("tests/check-aws-commands.py"))
        .args(outputs.keys())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    python.stdin.take().context("it has an input")?.write_all(commands.join("\n").as_bytes())?;
    let output = python.wait_with_output()?;
    ensure!(output.status.success(), "the commands could not be checked");
    let said = String::from_utf8(output.stdout)?;
    let complaints: Vec<_> = commands.iter().zip(said.lines()).filter(|(_, complaint)| !complaint.is_empty()).collect();
    ensure!(said.lines().count() == commands.len() && complaints.is_empty(), "{complaints:#?}");
    Ok(())
}

/// Returns the names of the shipped alerts, in their order.
fn alerts() -> Result<Vec<String>> {
    let text = std::fs::read_to_string(workspace::root().join("dashboards/alerts.yml"))?;
    let rules: Value = serde_saphyr::from_str(&text)?;
    let groups = rules["groups"].as_array().context("there are groups")?;
    let rules = groups.iter().flat_map(|group| group["rules"].as_array().into_iter().flatten());
    Ok(rules.filter_map(|rule| rule["alert"].as_str().map(str::to_owned)).collect())
}
