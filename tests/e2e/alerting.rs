//! A stack with a name of its own: what the template tells its operator to paste, a real Prometheus, the rules, and a real
//! Alertmanager. Nothing fires at rest; an incident pages once; all of it ends afterwards.
//!
//! Time is shorter here: a minute of the rules and of Alertmanager's configuration is two seconds, and an hour is twelve.
//! Scrapes come each such minute, and gc runs each such hour.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::dashboards::faulty_dynamodb::{Effect, Fault, FaultyDynamoDb};
use harness::kit::alertmanager::{self, Alertmanager};
use harness::kit::bundle::{Bundle, Options};
use harness::kit::client::Client;
use harness::kit::prometheus::{self, Prometheus};
use harness::kit::secrets_manager::{SecretsManager, arn};
use harness::kit::{port, tables, workspace};
use harness::template::cloudformation::{self, Expanded};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// As in DEPLOY.md's own examples.
const STACK: &str = "sigil";
/// At rest: longer than each `for` of the rules.
const REST: Duration = Duration::from_secs(40);
/// The most that it may take until the fast burn and the breakers both fire.
const INCIDENT: Duration = Duration::from_secs(90);
/// What has burned fast burns slowly until six hours are over.
const ENDING: Duration = Duration::from_secs(240);
const GC_EVERY: Duration = Duration::from_secs(12);
const NO_SUCH_ID: &str = "00000000-0000-4000-8000-000000000000";
/// Between two requests of each of two clients.
const PACE: Duration = Duration::from_millis(150);

/// What stands in the rules, and what stands there instead.
const IN_RULES: [(&str, &str); 20] = [
    ("[5m]", "[10s]"),
    ("[10m]", "[20s]"),
    ("[15m]", "[30s]"),
    ("[30m]", "[11s]"),
    ("[1h]", "[12s]"),
    ("[2h]", "[24s]"),
    ("[6h]", "[60s]"),
    ("[1d]", "[240s]"),
    ("[3d]", "[720s]"),
    ("for: 2h30m", "for: 30s"),
    ("for: 2m\n", "for: 4s\n"),
    ("for: 5m", "for: 10s"),
    ("for: 10m", "for: 20s"),
    ("for: 15m", "for: 30s"),
    ("for: 30m", "for: 11s"),
    ("* 3600", "* 12"),
    ("* 21600", "* 60"),
    ("* 86400", "* 240"),
    ("* 259200", "* 720"),
    ("* 300 ", "* 10 "),
];
const IN_ALERTMANAGER: [(&str, &str); 3] = [
    ("group_wait: 30s", "group_wait: 1s"),
    ("group_interval: 5m", "group_interval: 10s"),
    ("repeat_interval: 4h", "repeat_interval: 10m"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_of_any_name_is_silent_at_rest_and_an_incident_pages_once() -> Result<()> {
    let stage = Stage::start().await?;
    let client = stage.bundle.client();
    let mut clock = Clock::new(client.clone());

    let burns = names(&["SigilErrorBudgetFastBurn"]);
    clock.run(REST).await?;
    let pending = stage.prometheus.query("max_over_time(ALERTS[1h])").await?;
    ensure!(pending.is_empty(), "at rest there are {pending:?}");

    stage.dynamodb.set(&[Fault { table: tables::SIGILS, calls: &["PutItem", "GetItem"], effect: Effect::Failing }]);
    clock.run(Duration::from_secs(10)).await?;
    stage.rotate_token("the-second-metrics-token").await?;
    let deadline = Instant::now() + INCIDENT;
    // The breakers' alert is inhibited, and not silent because it did not fire.
    while !(stage.fired("SigilCircuitBreakerOpen").await? && paged(&stage.alertmanager, "firing")? == burns) {
        ensure!(
            Instant::now() < deadline,
            "whoever is on call was told of {:?}",
            paged(&stage.alertmanager, "firing")?
        );
        clock.run(Duration::from_secs(1)).await?;
    }

    stage.dynamodb.set(&[]);
    let deadline = Instant::now() + ENDING;
    loop {
        clock.run(Duration::from_secs(1)).await?;
        let on = stage.prometheus.query("ALERTS").await?;
        if on.is_empty() && stage.all_ended()? {
            break;
        }
        let told = || ["on-call", "daytime"].map(|receiver| stage.alertmanager.notifications(receiver));
        ensure!(Instant::now() < deadline, "after {ENDING:?} there still are {on:?}; told was {:?}", told());
    }
    stage.check_notifications()?;

    // Both tokens were accepted all along.
    let failed = stage.prometheus.query("sum(count_over_time(up[1h]) - sum_over_time(up[1h]))").await?;
    ensure!(failed.len() == 1 && failed[0].value == 0.0, "scrapes have failed: {failed:?}");
    Ok(())
}

/// The names of the alerts that whoever is on call was told of.
fn paged(alertmanager: &Alertmanager, status: &str) -> Result<BTreeSet<String>> {
    alertmanager::alert_names(&alertmanager.notifications("on-call"), status)
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Requests at a steady pace, and gc runs.
struct Clock {
    client: Client,
    next_gc: Instant,
}

impl Clock {
    fn new(client: Client) -> Self {
        Self { client, next_gc: Instant::now() }
    }

    /// Sends requests for so long. That some are answered with errors is what an incident is.
    async fn run(&mut self, duration: Duration) -> Result<()> {
        let end = Instant::now() + duration;
        while Instant::now() < end {
            if self.next_gc <= Instant::now() {
                self.client.gc().await?;
                self.next_gc = Instant::now() + GC_EVERY;
            }
            let pause = end.min(self.next_gc);
            let encodes =
                every_until(pause, async || self.client.post_sigils(json!({ "data": 1 }).to_string()).await.map(drop));
            let shows = every_until(pause, async || self.client.get(NO_SUCH_ID).await.map(drop));
            tokio::try_join!(encodes, shows)?;
        }
        Ok(())
    }
}

async fn every_until(end: Instant, mut work: impl AsyncFnMut() -> Result<()>) -> Result<()> {
    let mut ticks = interval(PACE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while tokio::time::timeout_at(end, ticks.tick()).await.is_ok() {
        work().await?;
    }
    Ok(())
}

/// Everything, in the order in which it ends.
struct Stage {
    prometheus: Prometheus,
    alertmanager: Alertmanager,
    bundle: Bundle,
    dynamodb: FaultyDynamoDb,
    secrets: SecretsManager,
    _rules: TempDir,
}

impl Stage {
    async fn start() -> Result<Self> {
        const TOKEN: &str = "the-first-metrics-token";
        let secrets = SecretsManager::start().await?;
        secrets.put(&arn("token"), TOKEN);
        let dynamodb_port = port::free()?;
        let dynamodb = FaultyDynamoDb::start(format!("http://127.0.0.1:{dynamodb_port}")).await?;
        let options = Options {
            dynamodb_port: Some(dynamodb_port),
            metrics_token: TOKEN.to_owned(),
            ..Options::for_test("alerting")
        }
        .with("AWS_ENDPOINT_URL_DYNAMODB", dynamodb.url())
        .without("METRICS_TOKEN")
        .with("METRICS_TOKEN_SECRET_ARN", arn("token"))
        .with("AWS_ENDPOINT_URL_SECRETS_MANAGER", secrets.url());
        let bundle = Bundle::start(&options).await?;
        let client = bundle.client();
        // Every function once, so that the first failure of each is an increase.
        client.verdict(&client.encode(&json!("first")).await?.token, None).await?;
        client.gc().await?;

        let alertmanager = Alertmanager::start(|shipped| replaced(shipped, &IN_ALERTMANAGER)).await?;
        let rules = TempDir::new()?;
        let rules_file = rules.path().join("alerts.yml");
        let shipped = std::fs::read_to_string(workspace::root().join("dashboards/alerts.yml"))?;
        std::fs::write(&rules_file, "groups: []")?;
        let host = client.url().strip_prefix("http://").context("it has a scheme")?;
        // On a desk there is no certificate.
        let scrape_config = replaced(
            &Expanded::of(&cloudformation::source()?)?.scrape_config(STACK, host)?,
            &[("scheme: https", "scheme: http")],
        )?;
        let config = format!(
            "global: {{ scrape_interval: 2s, evaluation_interval: 2s }}\n\
             rule_files: [{}]\n\
             alerting: {{ alertmanagers: [{{ static_configs: [{{ targets: [\"{}\"] }}] }}] }}\n\
             scrape_configs:\n{scrape_config}",
            rules_file.display(),
            alertmanager.address(),
        );
        let prometheus = Prometheus::start_configured(&config, &prometheus::Options::over(host, TOKEN)).await?;
        // Its first scrape comes seconds after its start, which would be minutes here: the rules come then.
        prometheus.query_until("up", |result| result.len() == 1 && result[0].value == 1.0).await?;
        std::fs::write(&rules_file, replaced(&shipped, &IN_RULES)?)?;
        prometheus.reload().await?;
        Ok(Self { prometheus, alertmanager, bundle, dynamodb, secrets, _rules: rules })
    }

    async fn rotate_token(&self, token: &str) -> Result<()> {
        self.secrets.put(&arn("token"), token);
        self.prometheus.rotate_token(token).await
    }

    async fn fired(&self, alert: &str) -> Result<bool> {
        let query = format!("max_over_time(ALERTS{{alertname=\"{alert}\", alertstate=\"firing\"}}[1h])");
        Ok(!self.prometheus.query(&query).await?.is_empty())
    }

    /// Whether everybody who was told of an alert was told of its end. The end of one that was inhibited can come along, if
    /// both end between two of Alertmanager's looks.
    fn all_ended(&self) -> Result<bool> {
        for receiver in ["on-call", "daytime"] {
            let notifications = self.alertmanager.notifications(receiver);
            let names = |status| alertmanager::alert_names(&notifications, status);
            if !names("firing")?.is_subset(&names("resolved")?) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// One page; all of it of this stack; and by day what an incident leaves behind.
    fn check_notifications(&self) -> Result<()> {
        let pages = self.alertmanager.notifications("on-call");
        let firing = pages.iter().filter(|page| page.status == "firing").count();
        ensure!(firing == 1, "{firing} pages: {pages:?}");
        for notification in pages.iter().chain(&self.alertmanager.notifications("daytime")) {
            for alert in &notification.alerts {
                ensure!(alert.label("job") == "sigils" && alert.label("stack") == STACK, "{alert:?}");
            }
        }
        let by_day = alertmanager::alert_names(&self.alertmanager.notifications("daytime"), "firing")?;
        // Calls that fail take longer, for they are repeated; and what was used up of the budget stays so for a while.
        ensure!(by_day.is_subset(&names(&["SigilLatencyHigh", "SigilErrorBudgetSlowBurn"])), "{by_day:?}");
        Ok(())
    }
}

/// The text with each of these changes, all of which must have something to change.
fn replaced(text: &str, changes: &[(&str, &str)]) -> Result<String> {
    changes.iter().try_fold(text.to_owned(), |text, (from, to)| {
        ensure!(text.contains(from), "there is no {from} in\n{text}");
        Ok(text.replace(from, to))
    })
}
