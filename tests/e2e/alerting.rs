//! Runs a stack of any name with the configuration that the template's output gives the operator to paste, a real Prometheus,
//! the shipped rules, and a real Alertmanager. Nothing fires at rest, an incident pages once, and every alert ends afterwards.
//!
//! Time is shortened here: a minute of the rules and of Alertmanager's configuration lasts two seconds, and an hour ten to
//! twelve. Prometheus scrapes every two seconds, and gc runs every twelve.

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

/// Name of the stack, as in DEPLOY.md's examples.
const STACK: &str = "sigil";
/// Time at rest before the incident: longer than each `for` of the rules.
const REST: Duration = Duration::from_secs(40);
/// Longest time that it may take until both the fast burn and the breakers' alert fire.
const INCIDENT: Duration = Duration::from_secs(90);
/// Longest time that it may take until every alert has ended. The slow burn goes on until the errors have left its window of
/// six hours.
const ENDING: Duration = Duration::from_secs(240);
const GC_EVERY: Duration = Duration::from_secs(12);
const NO_SUCH_ID: &str = "00000000-0000-4000-8000-000000000000";
/// Pause between two requests of each of the two request loops.
const PACE: Duration = Duration::from_millis(150);

/// Texts of the rules, each with its replacement, which shortens time.
const IN_RULES: [(&str, &str); 19] = [
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
    // The breakers' alert must fire, so that its silence is shown to come from the inhibition.
    while !(stage.fired("SigilCircuitBreakerOpen").await? && paged(&stage.alertmanager, "firing")? == burns) {
        ensure!(Instant::now() < deadline, "the on-call receiver got {:?}", paged(&stage.alertmanager, "firing")?);
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
        ensure!(Instant::now() < deadline, "after {ENDING:?} {on:?} are still active; notifications: {:?}", told());
    }
    stage.check_notifications()?;

    // Both tokens were accepted throughout.
    let failed = stage.prometheus.query("sum(count_over_time(up[1h]) - sum_over_time(up[1h]))").await?;
    ensure!(failed.len() == 1 && failed[0].value == 0.0, "scrapes have failed: {failed:?}");
    Ok(())
}

/// Returns the names of the alerts that the on-call receiver was notified of with this status.
fn paged(alertmanager: &Alertmanager, status: &str) -> Result<BTreeSet<String>> {
    alertmanager::alert_names(&alertmanager.notifications("on-call"), status)
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Drives the stack: sends requests at a steady pace, and runs gc.
struct Clock {
    client: Client,
    next_gc: Instant,
}

impl Clock {
    fn new(client: Client) -> Self {
        Self { client, next_gc: Instant::now() }
    }

    /// Sends requests for `duration`. Error answers are allowed, since an incident consists of them.
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

/// Everything that runs, in the order in which it is dropped.
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
        // Every function is used once, so that the first failure of each is an increase.
        client.verdict(&client.encode(&json!("first")).await?.token, None).await?;
        client.gc().await?;

        let alertmanager = Alertmanager::start(|shipped| replaced(shipped, &IN_ALERTMANAGER)).await?;
        let rules = TempDir::new()?;
        let rules_file = rules.path().join("alerts.yml");
        let shipped = std::fs::read_to_string(workspace::root().join("dashboards/alerts.yml"))?;
        std::fs::write(&rules_file, "groups: []")?;
        let host = client.url().strip_prefix("http://").context("it has a scheme")?;
        // The local bundle has no certificate.
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
        // The first scrape comes seconds after Prometheus has started, which would be minutes to the shortened rules. So the
        // rules are loaded only after it.
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

    /// Returns whether each receiver that was notified of an alert was also notified of its end. There may be notifications of
    /// an end alone: an inhibited alert's end is sent along if both alerts end between two of Alertmanager's evaluations.
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

    /// Checks that there was one page, that all notifications are of this stack, and that the daytime receiver got only what an
    /// incident leaves behind.
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
        // Failing calls are repeated and so take longer, and the part of the error budget that was used up stays used for a
        // while.
        ensure!(by_day.is_subset(&names(&["SigilLatencyHigh", "SigilErrorBudgetSlowBurn"])), "{by_day:?}");
        Ok(())
    }
}

/// Returns `text` with all replacements made. Each must find something to replace.
fn replaced(text: &str, changes: &[(&str, &str)]) -> Result<String> {
    changes.iter().try_fold(text.to_owned(), |text, (from, to)| {
        ensure!(text.contains(from), "there is no {from} in\n{text}");
        Ok(text.replace(from, to))
    })
}
