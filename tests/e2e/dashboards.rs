//! Shows that dashboards, alerts and runbook agree with each other and with what the functions export, and that the checks
//! notice each mistake that one could make in them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::kit::bundle::{Bundle, Options};
use harness::kit::client::Client;
use harness::kit::variables::DEFAULT_METRICS_TOKEN;
use harness::kit::wait::{self, not_yet};
use harness::kit::{prometheus, workspace};
use serde_json::json;
use tempfile::TempDir;

/// Files of `dashboards/` that refer to each other.
const FILES: [&str; 7] = [
    "service.json",
    "pipeline.json",
    "alerts.yml",
    "alerts_test.yml",
    "alerts_hours_test.yml",
    "runbook.md",
    "README.md",
];

/// Documents that name metrics. The first one lists all metrics.
const DOCUMENTS: [&str; 5] = ["docs/metrics.md", "README.md", "ARCHITECTURE.md", "DEPLOY.md", "docs/scrapers.md"];

/// A mistake: a file, a text in it, and the wrong text that replaces the text wherever it occurs.
type Mistake = (&'static str, &'static str, &'static str);

/// Mistakes in rules, which the cases of `alerts_test.yml` and `alerts_hours_test.yml` must catch.
const IN_RULES: [Mistake; 19] = [
    // Another metric, label or label value.
    ("alerts.yml", "prometheus_dynamodb_unreadable_items[5m]", "prometheus_dynamodb_unreadable[5m]"),
    ("alerts.yml", r#"circuit_breaker_state{state="open"}"#, r#"circuit_breaker_state{status="open"}"#),
    (
        "alerts.yml",
        r#"throttled|circuit_open|unavailable|damaged"}[1h]"#,
        r#"throttled|circuit_open|unavailable"}[1h]"#,
    ),
    ("alerts.yml", r#"reason=~"throttled|circuit_open|unavailable|damaged""#, r#"reason=~".+""#),
    (
        "alerts.yml",
        "sum by (job, stack, operation) (rate(sigil_storage_throttles_total[10m]))",
        "sum by (job, stack) (rate(sigil_storage_throttles_total[10m]))",
    ),
    // A missing rate, or another window.
    (
        "alerts.yml",
        "increase(prometheus_dynamodb_refused_series_total[6h])",
        "prometheus_dynamodb_refused_series_total",
    ),
    (
        "alerts.yml",
        "rate(prometheus_dynamodb_publish_failures_total[10m])",
        "prometheus_dynamodb_publish_failures_total",
    ),
    (
        "alerts.yml",
        "min_over_time(prometheus_dynamodb_conflicts[1d])",
        "min_over_time(prometheus_dynamodb_conflicts[1h])",
    ),
    // A gauge at this moment, which every failed scrape interrupts.
    (
        "alerts.yml",
        "last_over_time(prometheus_dynamodb_scrape_duration_seconds[5m])",
        "prometheus_dynamodb_scrape_duration_seconds",
    ),
    ("alerts.yml", r#" or avg_over_time(up{job="sigils"}[15m]) < 0.5"#, ""),
    // Another threshold or another duration.
    ("alerts.yml", "> 14.4 * 0.001", "> 144 * 0.001"),
    ("alerts.yml", "> 2.5 * 3600", "> 0.5 * 3600"),
    (
        "alerts.yml",
        "(last_over_time(prometheus_dynamodb_scrape_duration_seconds[5m])) > 4",
        "(last_over_time(prometheus_dynamodb_scrape_duration_seconds[5m])) > 2",
    ),
    ("alerts.yml", "for: 2h30m", "for: 10m"),
    // A missing or inverted part of a condition, without which an alert fires when it must not, or stays silent when it must
    // fire.
    ("alerts.yml", "and stack:sigil_failures:rate1h * 3600 >= 10", ""),
    ("alerts.yml", "and stack:sigil_failures:ratio_rate30m > 6 * 0.001", ""),
    ("alerts.yml", " or 0 * sum", " and 0 * sum"),
    (
        "alerts.yml",
        r#"and on (job, stack) sum by (job, stack) (rate(sigil_error_total{reason="circuit_open"}[5m])) > 0"#,
        "",
    ),
    ("alerts.yml", r#" or absent(up{job="sigils"})"#, ""),
];

/// Mistakes that the checks of dashboards and documents against a page must catch, each with a text of the complaint.
const IN_DASHBOARDS: [(Mistake, &str); 20] = [
    (
        ("service.json", "rate(sigil_revoke_total{", "rate(sigil_revoked_total{"),
        "there is no metric sigil_revoked_total",
    ),
    (("service.json", "sum by (verdict)", "sum by (outcome)"), "no label outcome"),
    (("service.json", r#"state=\"open\""#, r#"state=\"opened\""#), r#"state="opened""#),
    (("service.json", "sum(rate(sigil_revoke_total{", "sum((sigil_revoke_total{"), "target-counter-agg-rule"),
    (("service.json", "sum(rate(sigil_gc_total{", "sum(irrate(sigil_gc_total{"), "no PromQL"),
    (
        ("service.json", "histogram_quantile(0.95, sum by (le)", "histogram_quantile(0.95, sum by (job)"),
        "the buckets' label le",
    ),
    (("service.json", r#"{job=~\"$job\", "#, "{"), "target-job-rule"),
    (("service.json", r#", instance=~\"$instance\""#, ""), "target-instance-rule"),
    (("service.json", r#", stack=~\"$stack\""#, ""), "target-stack-rule"),
    (("service.json", "[$__rate_interval]", "[1m]"), "target-rate-interval-rule"),
    (("service.json", "time() - max(", "rate("), "is a gauge, and has no rate"),
    (("service.json", r#""axisSoftMax": 0.1,"#, ""), "panel-axis-rule"),
    (("service.json", "sum(max_over_time(sigil_encode_total{", "sum((sigil_encode_total{"), "target-counter-agg-rule"),
    (("service.json", r#""unit": "reqps""#, r#""unit": "request/s""#), "panel-units-rule"),
    (("service.json", r#""editable": false"#, r#""editable": true"#), "uneditable-dashboard"),
    (("service.json", "${runbook}#traffic", "${runbook}#trafic"), "links to no section"),
    (("pipeline.json", "sum(prometheus_dynamodb_series{", "sum(sigil_gc_total{"), "is a counter"),
    (("alerts.yml", "runbook.md#sigilgcoverdue", "runbook.md#sigilgclate"), "SigilGcOverdue links to"),
    (("runbook.md", "## SigilLatencyHigh", "## SigilLatency"), "no section SigilLatencyHigh"),
    (("README.md", "- `process_threads`", "- `process_thread`"), "process_threads is on no dashboard"),
];

/// Mistakes that the checks against the types published by Grafana must catch.
const IN_TYPES: [Mistake; 4] = [
    ("service.json", r#""lineInterpolation": "linear""#, r#""lineInterpolation": "curved""#),
    ("service.json", r#""fillOpacity""#, r#""fillOpacty""#),
    ("service.json", r#""type": "stat""#, r#""type": "status""#),
    ("pipeline.json", r#""legendFormat": "up""#, r#""legendFormat": 1"#),
];

#[test]
fn the_json_is_what_the_code_says() -> Result<()> {
    succeeds(&node("src/generate.js", &["--check"])?)
}

#[test]
fn the_json_is_of_the_types_that_grafana_publishes() -> Result<()> {
    let schema = |folder: &Path| node("checks/schema.js", &[&folder.display().to_string()]);
    succeeds(&schema(&dashboards())?)?;
    for mistake in IN_TYPES {
        let output = schema(copy_with(mistake)?.path())?;
        ensure!(!output.status.success(), "{mistake:?} was not noticed");
    }
    Ok(())
}

#[test]
fn the_rules_are_sound() -> Result<()> {
    for promtool in promtools() {
        succeeds(&promtool_at(
            &promtool,
            &dashboards(),
            &["check", "rules", "--lint=all", "--lint-fatal", "alerts.yml"],
        )?)?;
    }
    Ok(())
}

#[test]
fn each_alert_fires_when_it_must_and_only_then() -> Result<()> {
    let cases = |folder: &Path, file: &str| promtool(folder, &["test", "rules", file]);
    for promtool in promtools() {
        for file in ["alerts_test.yml", "alerts_hours_test.yml"] {
            succeeds(&promtool_at(&promtool, &dashboards(), &["test", "rules", file])?)?;
        }
    }
    let noticed = |mistake: Mistake| -> Result<()> {
        let folder = copy_with(mistake)?;
        let output = cases(folder.path(), "alerts_test.yml")?;
        let output = if output.status.success() { cases(folder.path(), "alerts_hours_test.yml")? } else { output };
        ensure!(!output.status.success(), "{mistake:?} was not noticed");
        // A rule that cannot be parsed fails too, but proves nothing about the cases.
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(said.contains("exp:"), "{mistake:?} makes no case fail: {output:?}");
        Ok(())
    };
    // Runs two at once, since each takes seconds.
    thread::scope(|scope| {
        let halves = IN_RULES.chunks(IN_RULES.len() / 2);
        let running: Vec<_> =
            halves.map(|half| scope.spawn(move || half.iter().try_for_each(|mistake| noticed(*mistake)))).collect();
        running.into_iter().try_for_each(|half| half.join().expect("it does not panic"))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_label_and_link_exists() -> Result<()> {
    let bundle = Bundle::start(&Options::for_test("dashboards-names")).await?;
    use_everything(bundle.client()).await?;
    let page = wait::until("every function has published", Duration::from_secs(90), async || {
        let page = bundle.client().get_metrics(Some(DEFAULT_METRICS_TOKEN)).await?.expect(200)?.text;
        let published = |function: &str| page.contains(&format!("lambda_invocations_total{{function=\"{function}\"}}"));
        match ["encode", "verify", "gc"].into_iter().find(|function| !published(function)) {
            None => Ok(page),
            Some(missing) => not_yet(format!("{missing} is not on the page")),
        }
    })
    .await?;
    let folder = TempDir::new()?;
    let page_file = folder.path().join("page.txt");
    std::fs::write(&page_file, page)?;
    let documents = DOCUMENTS.map(|name| workspace::root().join(name).display().to_string());
    let check = |folder: &Path| {
        let (folder, page) = (folder.display().to_string(), page_file.display().to_string());
        let arguments: Vec<&str> = [&folder, &page].into_iter().chain(&documents).map(String::as_str).collect();
        node("checks/main.js", &arguments)
    };

    succeeds(&check(&dashboards())?)?;
    for (mistake, said) in IN_DASHBOARDS {
        let output = check(copy_with(mistake)?.path())?;
        ensure!(!output.status.success(), "{mistake:?} was not noticed");
        let complaints = String::from_utf8_lossy(&output.stderr);
        ensure!(complaints.contains(said), "{mistake:?} was noticed as:\n{complaints}");
    }
    Ok(())
}

/// Uses every function once, so that each publishes.
async fn use_everything(client: &Client) -> Result<()> {
    let sigil = client.encode(&json!("a sigil")).await?;
    ensure!(client.verdict(&sigil.token, None).await? == "valid");
    client.gc().await?;
    Ok(())
}

fn dashboards() -> std::path::PathBuf {
    workspace::root().join("dashboards")
}

/// Copies the files into a new folder, with the mistake made in one of them.
fn copy_with((file, right, wrong): Mistake) -> Result<TempDir> {
    let folder = TempDir::new()?;
    for name in FILES {
        std::fs::copy(dashboards().join(name), folder.path().join(name)).context(name)?;
    }
    let changed = folder.path().join(file);
    let text = std::fs::read_to_string(&changed)?;
    ensure!(text.contains(right), "{file} does not say {right}");
    std::fs::write(changed, text.replace(right, wrong))?;
    Ok(folder)
}

/// Returns the `promtool` of the Prometheus that all tests run, and of the oldest Prometheus that the rules are written for.
fn promtools() -> [PathBuf; 2] {
    [prometheus::promtool(), workspace::tool_or_path("prometheus-2/usr/bin/promtool", "promtool-2")]
}

fn promtool(folder: &Path, arguments: &[&str]) -> Result<Output> {
    promtool_at(&prometheus::promtool(), folder, arguments)
}

fn promtool_at(promtool: &Path, folder: &Path, arguments: &[&str]) -> Result<Output> {
    Ok(Command::new(promtool).current_dir(folder).args(arguments).output()?)
}

/// Runs a program of `dashboards/`, all of which are built once.
fn node(program: &str, arguments: &[&str]) -> Result<Output> {
    static BUILT: OnceLock<Result<(), String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}")));
    built.clone().map_err(anyhow::Error::msg)?;
    let program = dashboards().join("build").join(program);
    Ok(Command::new("node").arg(program).args(arguments).output()?)
}

fn build() -> Result<()> {
    let compiler = dashboards().join("node_modules/typescript/bin/tsc");
    ensure!(compiler.exists(), "{} is missing: run scripts/fetch-tools test", compiler.display());
    succeeds(&Command::new("node").current_dir(dashboards()).arg(compiler).output()?)
}

fn succeeds(output: &Output) -> Result<()> {
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ensure!(output.status.success(), "{}{}", said(&output.stdout), said(&output.stderr));
    Ok(())
}
