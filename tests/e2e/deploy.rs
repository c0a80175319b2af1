//! Shows that a deploy may change a metric's buckets, type or labels while environments of both versions live: the page stays
//! valid, what can be exact stays exact, and the conflicts are logged and counted.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use harness::fleet::Settings;
use harness::fleet::pages::Pages;
use harness::fleet::published::Published;
use harness::fleet::violation::{Rule, Violation};
use harness::kit::dynamodb_local::DynamoDbLocal;
use harness::kit::execution_environment::{ExecutionEnvironment, Function};
use harness::kit::exposition::Exposition;
use harness::kit::fault_proxy::{FaultProxy, Faults, Options};
use harness::kit::runtime_api::Outcome;
use harness::kit::variables::{DEFAULT_METRICS_TOKEN, FunctionVariables};
use harness::kit::wait::{self, Setback, not_yet};
use harness::kit::{functions, lambda_event, prometheus, tables, workspace};
use serde_json::{Value, json};

/// Durations of jobs, in seconds: one for each bucket that either version has. Their sums are exact.
const SECONDS: [f64; 5] = [0.0625, 0.25, 0.75, 2.0, 8.0];
/// Number of rounds in which each environment is sent one job of each duration.
const ROUNDS: usize = 6;

/// Longest time that a step may take: longer than any takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_in_the_middle_of_a_run_keeps_the_page_valid_and_exact() -> Result<()> {
    let mut stage = Stage::start().await?;
    let mut old = [stage.version("before", 0).await?, stage.version("before", 1).await?];
    let mut ended = stage.version("before", 2).await?;
    for round in 0..ROUNDS {
        stage.jobs(old.iter_mut().chain([&mut ended]), round).await?;
    }
    // One old environment is in the base before the new version publishes anything.
    stage.end(ended).await?;
    stage.collect_closed().await?;

    let mut new = [stage.version("after", 3).await?, stage.version("after", 4).await?];
    for round in 0..ROUNDS {
        stage.jobs(old.iter_mut().chain(&mut new), round).await?;
        let page = stage.scrape().await?;
        prometheus::check_metrics(&page)?;
        stage.collect().await?;
    }
    // The old version's environments end, and one of the new version's.
    let [new_ended, new_live] = new;
    for environment in old.into_iter().chain([new_ended]) {
        stage.end(environment).await?;
    }
    stage.proxy.set_faults(Faults::NONE);
    stage.proxy.quiet().await;
    stage.collect_closed().await?;

    let text = stage.scrape().await?;
    prometheus::check_metrics(&text)?;
    let page = Exposition::parse(&text)?;
    // The first rounds had three old environments, the later ones two old and two new.
    let of_each = ((3 + 4) * ROUNDS) as f64;
    let jobs = of_each * SECONDS.len() as f64;
    assert_eq!(page.value("jobs_total", &[]), Some(jobs));
    assert_eq!(page.value("job_duration_seconds_count", &[]), Some(jobs));
    assert_eq!(page.value("job_duration_seconds_sum", &[]), Some(of_each * SECONDS.iter().sum::<f64>()));
    let buckets = [("0.1", 1.0), ("1", 3.0), ("+Inf", 5.0)];
    for (bound, of_five) in buckets {
        assert_eq!(page.value("job_duration_seconds_bucket", &[("le", bound)]), Some(of_each * of_five), "{bound}");
    }
    let shown = page.samples().iter().filter(|sample| sample.name == "job_duration_seconds_bucket").count();
    assert_eq!(shown, buckets.len(), "no bucket that not all have");

    let by_new = (2 * ROUNDS * SECONDS.len()) as f64;
    assert_eq!(page.value("job_results_total", &[("result", "ok")]), Some(by_new));
    assert_eq!(page.value("job_results_total", &[]), Some(jobs - by_new));
    assert!(text.contains("# TYPE jobs_waiting gauge\n"), "the youngest's type:\n{text}");
    assert_eq!(page.value("jobs_waiting", &[]), Some(2.0), "of the one that lives");

    let log = stage.metrics.process().output()?;
    for (kind, metric) in
        [("bounds", "job_duration_seconds"), ("labels", "job_results_total"), ("type", "jobs_waiting")]
    {
        assert_eq!(page.value("prometheus_dynamodb_conflicts", &[("kind", kind)]), Some(1.0), "{kind}");
        let names_it = |line: &str| line.contains("disagree") && line.contains(metric) && line.contains(kind);
        assert!(log.lines().any(names_it), "{kind}:\n{log}");
    }
    stage.end(new_live).await
}

/// An environment of one of the two versions, and its name.
struct Version {
    name: String,
    environment: ExecutionEnvironment,
}

/// Everything that runs except the environments of the two versions.
struct Stage {
    variables: FunctionVariables,
    published: Arc<Published>,
    pages: Pages,
    proxy: FaultProxy,
    gc: ExecutionEnvironment,
    metrics: ExecutionEnvironment,
    logs: PathBuf,
    /// The last field, since everything else needs the database until it is dropped.
    _dynamodb: DynamoDbLocal,
}

impl Stage {
    async fn start() -> Result<Self> {
        let logs = workspace::local("logs/tests/deploy");
        if logs.exists() {
            std::fs::remove_dir_all(&logs)?;
        }
        std::fs::create_dir_all(&logs)?;
        let programs = functions::build().await?;
        let dynamodb = DynamoDbLocal::start_in_memory(&logs.join("dynamodb.log")).await?;
        tables::create(&dynamodb.client()).await?;
        let published = Arc::new(Published::default());
        let options = Options {
            target: dynamodb.url(),
            seed: 0,
            signature_validity: Settings::SIGNATURE_VALIDITY,
            blind_puts: false,
        };
        let proxy = FaultProxy::start(options, Arc::clone(&published)).await?;
        let url = proxy.url();
        let mut variables = FunctionVariables::new(&url, &sigil::keys::generate("deploy"), DEFAULT_METRICS_TOKEN);
        variables.set("STATS_GRACE", &format!("{}ms", Settings::GRACE.as_millis()));
        variables.set("STATS_PUBLISH_INTERVAL", "0s");
        variables.set("STATS_PUBLISH_BUDGET_PERCENT", "100");
        let start = async |name: &'static str| {
            let function = Function { name, program: programs[name].clone() };
            ExecutionEnvironment::start(&function, &variables, &logs.join(format!("{name}.log"))).await
        };
        let (gc, metrics) = (start("gc").await?, start("metrics").await?);
        proxy.set_faults(Faults { per_mille: Settings::FAULTS_PER_MILLE });
        Ok(Self { variables, published, pages: Pages::default(), proxy, gc, metrics, logs, _dynamodb: dynamodb })
    }

    async fn version(&self, metrics: &str, number: u32) -> Result<Version> {
        let name = format!("{metrics}{number}");
        let mut variables = self.variables.clone();
        variables.set("JOB_METRICS", metrics);
        variables.set("AWS_ACCESS_KEY_ID", &name);
        let function = Function { name: "jobs", program: env!("CARGO_BIN_EXE_jobs").into() };
        let log = self.logs.join(format!("{name}.log"));
        let environment = ExecutionEnvironment::start(&function, &variables, &log).await?;
        self.published.add_environment(&name, function.name, environment.api());
        Ok(Version { name, environment })
    }

    /// Ends an environment once it has published everything. Publishes that faults have held back follow within a second or
    /// two.
    async fn end(&self, version: Version) -> Result<()> {
        wait::until("everything is published", PATIENCE, async || match self.published.lost(&version.name) {
            0 => Ok(()),
            left => not_yet(format!("{} has {left} left", version.name)),
        })
        .await?;
        version.environment.terminate().await
    }

    /// Sends each environment one job of each duration, and scrapes after each environment.
    async fn jobs(&mut self, versions: impl Iterator<Item = &mut Version>, round: usize) -> Result<()> {
        for version in versions {
            for number in 0..SECONDS.len() {
                let seconds = SECONDS[(number + round) % SECONDS.len()];
                match invoke(&mut version.environment, &json!({ "seconds": seconds })).await? {
                    Outcome::Response(_) => {}
                    Outcome::Error(error) => bail!("a job ended with {error}"),
                }
            }
            self.scrape().await?;
        }
        Ok(())
    }

    async fn collect(&mut self) -> Result<()> {
        // A run that meets faults may fail. The next run goes on.
        invoke(&mut self.gc, &lambda_event::scheduled()).await.map(drop)
    }

    /// Runs gc until no writer is left that is closed or sealed: all of them are in the base.
    async fn collect_closed(&mut self) -> Result<()> {
        wait::until("the closed are folded", PATIENCE, async || {
            self.collect().await.map_err(Setback::Final)?;
            let page = Exposition::parse(&self.scrape().await.map_err(Setback::Final)?)?;
            let left = ["closed", "sealed"].map(|state| page.sum("prometheus_dynamodb_writers", &[("state", state)]));
            if left == [0.0, 0.0] { Ok(()) } else { not_yet(format!("{left:?} are closed and sealed")) }
        })
        .await
    }

    /// Scrapes until a page comes, and checks that it may follow the page before.
    async fn scrape(&mut self) -> Result<String> {
        let authorization = format!("Bearer {DEFAULT_METRICS_TOKEN}");
        let event = lambda_event::http_request("GET", "/metrics", &[("authorization", &authorization)], None);
        let stored = self.published.stored();
        let text = wait::until("a scrape is answered with a page", PATIENCE, async || {
            match invoke(&mut self.metrics, &event).await.map_err(Setback::Final)? {
                Outcome::Response(response) if response["statusCode"] == 200 => {
                    let body = response["body"].as_str().context("a page has a body").map_err(Setback::Final)?;
                    Ok(body.to_owned())
                }
                // Faults in several attempts can add up to a failure.
                Outcome::Response(response) if response["statusCode"] == 503 => not_yet(response),
                outcome => Err(Setback::Final(anyhow!("a scrape ended with {outcome:?}"))),
            }
        })
        .await?;
        let violations = self.pages.check(&text, &stored, &self.published.sent())?;
        let violations: Vec<_> = violations.into_iter().filter(|violation| !is_expected(violation)).collect();
        ensure!(violations.is_empty(), "{violations:?}");
        Ok(text)
    }
}

/// Returns whether the violation is one that the deploy causes by design: buckets that the new version lacks end, and so does a
/// counter that has become a gauge.
fn is_expected(violation: &Violation) -> bool {
    let ends = ["job_duration_seconds_bucket{le=\"0.5\"}", "jobs_waiting"];
    ends.contains(&violation.subject.as_str())
        && match violation.rule {
            Rule::Fell => violation.case.contains("vanished"),
            Rule::Lost => true,
            _ => false,
        }
}

async fn invoke(environment: &mut ExecutionEnvironment, event: &Value) -> Result<Outcome> {
    let api = environment.api();
    let outcome = tokio::time::timeout(PATIENCE, async {
        let outcome = api.invoke(event).await?;
        api.asks_for_event().await;
        anyhow::Ok(outcome)
    });
    outcome.await.with_context(|| environment.process().log_tail(20))?
}
