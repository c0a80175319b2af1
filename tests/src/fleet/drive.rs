//! Drives the fleet: sends requests, runs gc and scrapes, and freezes and ends processes in the middle of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::pages::Pages;
use super::plan::{End, Freeze, Plan};
use super::violation::{Rule, Violation};
use super::{Member, Running, Settings, Shared};
use crate::kit::execution_environment::ExecutionEnvironment;
use crate::kit::lambda_event;
use crate::kit::runtime_api::{Deadline, Outcome};
use crate::kit::variables::DEFAULT_METRICS_TOKEN;

/// Longest wait for a function: longer than any function takes on a busy machine. Freezes are not counted.
const PATIENCE: Duration = Duration::from_secs(60);

/// Longest pause of gc between two runs.
const GC_PAUSE: Duration = Duration::from_millis(1500);

/// Estimated duration of gc's first run. Freezes and kills are to hit a run at any moment of it.
const GC_RUN: Duration = Duration::from_millis(150);

impl Shared {
    /// Runs one environment's life. Returns the environment if it survives.
    pub(super) async fn live(&self, mut running: Running, plan: &Plan) -> Result<Option<Running>> {
        self.log().frozen_past_folding += u32::from(plan.is_frozen_past_folding());
        // The environment ends during its last requests, which are sent separately.
        let undisturbed = match plan.end {
            End::Kill(_) | End::TimeOut(_) => plan.requests.saturating_sub(plan.at_once),
            End::Terminate | End::Survive => plan.requests,
        };
        if plan.at_once > 1 {
            self.requests_at_once(&running, plan, undisturbed).await?;
        }
        for request in (0..undisturbed).take_while(|_| plan.at_once == 1) {
            let mut freezes = plan.freezes.iter().filter(|(before, _)| *before == request).map(|(_, freeze)| *freeze);
            self.request(&mut running, freezes.next()).await?;
        }
        match plan.end {
            End::Terminate => running.environment.terminate().await.map(|()| None),
            End::Kill(after) => self.kill(running, &event_of(plan.function), plan.at_once, after).await.map(|()| None),
            End::TimeOut(after) => {
                running.environment.api().set_deadline(Deadline::After(after));
                self.change(&running, |member| member.timed_out = true);
                self.kill(running, &endless_job(), plan.at_once, after).await.map(|()| None)
            }
            End::Survive => Ok(Some(running)),
        }
    }

    /// Sends `requests` requests to an environment that handles several at once.
    async fn requests_at_once(&self, running: &Running, plan: &Plan, requests: u32) -> Result<()> {
        let mut clients = JoinSet::new();
        for client in 0..plan.at_once {
            let (api, event) = (running.environment.api(), event_of(plan.function));
            let share = requests / plan.at_once + u32::from(client < requests % plan.at_once);
            clients.spawn(async move {
                let mut outcomes = Vec::new();
                for _ in 0..share {
                    outcomes.push(tokio::time::timeout(PATIENCE, api.invoke(&event)).await??);
                }
                anyhow::Ok(outcomes)
            });
        }
        while let Some(client) = clients.join_next().await {
            let outcomes = client?
                .with_context(|| format!("{}:\n{}", running.name, running.environment.process().log_tail(20)))?;
            outcomes.into_iter().for_each(|outcome| self.judge(&running.name, plan.function, outcome));
        }
        Ok(())
    }

    /// Sends one request, and waits for the publish after it. A freeze comes before the request or in the middle of it.
    pub(super) async fn request(&self, running: &mut Running, freeze: Option<Freeze>) -> Result<()> {
        let function = self.log().members.get(&running.name).context("it is a member")?.function;
        let event = event_of(function);
        let outcome = invoke(&mut running.environment, event, freeze).await;
        let outcome =
            outcome.with_context(|| format!("{}:\n{}", running.name, running.environment.process().log_tail(20)));
        self.judge(&running.name, function, outcome?);
        Ok(())
    }

    /// Reports a violation if a response is not one that the function should give.
    fn judge(&self, name: &str, function: &str, outcome: Outcome) {
        match (function, outcome) {
            ("gc", Outcome::Response(_) | Outcome::Error(_)) => {}
            ("encode", Outcome::Response(response))
                if [201, 429, 503].map(Value::from).contains(&response["statusCode"]) => {}
            ("verify" | "jobs", Outcome::Response(response)) if response["statusCode"] == 200 => {}
            (_, outcome) => self.violated(Rule::Misbehaved.broken(name, format!("responded {outcome:?}"))),
        }
    }

    async fn kill(&self, running: Running, event: &Value, at_once: u32, after: Duration) -> Result<()> {
        let mut invocations = JoinSet::new();
        for _ in 0..at_once {
            let (api, event) = (running.environment.api(), event.clone());
            invocations.spawn(async move { api.invoke(&event).await });
        }
        tokio::time::sleep(after).await;
        self.change(&running, |member| member.killed = true);
        running.environment.kill().await?;
        // The end of an invocation is no error here; responses that were received have been counted.
        while let Some(invocation) = invocations.join_next().await {
            let _ = invocation?;
        }
        Ok(())
    }

    fn change(&self, running: &Running, change: impl FnOnce(&mut Member)) {
        self.log().members.get_mut(&running.name).map(change);
    }

    /// Runs gc again and again, and kills or freezes some of the runs. Returns gc's environment when the clients are
    /// done.
    pub(super) async fn collects(self: Arc<Self>, slot: u32) -> Result<Running> {
        let mut random = fastrand::Rng::with_seed(self.settings.seed ^ (u64::from(slot) << 32));
        let mut done = self.done.subscribe();
        let mut incarnation = 0;
        let mut last_run = GC_RUN;
        loop {
            let mut running = self.start_environment("gc", format!("gc{slot}x{incarnation}"), 1).await?;
            incarnation += 1;
            loop {
                let pause = GC_PAUSE.mul_f64(random.f64());
                if tokio::time::timeout(pause, done.wait_for(|done| *done)).await.is_ok() {
                    return Ok(running);
                }
                let moment = last_run.mul_f64(random.f64());
                match random.u8(..12) {
                    0 => {
                        self.kill(running, &lambda_event::scheduled(), 1, moment).await?;
                        break;
                    }
                    1..=3 => {
                        // Long enough for others to fold and bury the writers that this run has read.
                        let duration = (Settings::WRITER_IDLE + Settings::GRACE).mul_f64(random.f64() * 1.5);
                        self.request(&mut running, Some(Freeze { after: Some(moment), duration })).await?;
                    }
                    _ => {
                        let begun = Instant::now();
                        self.request(&mut running, None).await?;
                        last_run = begun.elapsed();
                    }
                }
            }
        }
    }

    /// Scrapes once and checks the page. Returns whether there was a page: a scrape may fail, since its calls meet
    /// faults as well, and a scrape that takes longer than half a grace must fail.
    pub(super) async fn scrape(
        &self,
        metrics: &mut ExecutionEnvironment,
        pages: &mut Pages,
        freeze: Option<Duration>,
    ) -> Result<bool> {
        let authorization = format!("Bearer {DEFAULT_METRICS_TOKEN}");
        let event = lambda_event::http_request("GET", "/metrics", &[("authorization", &authorization)], None);
        let stored = self.published.stored();
        let freeze = freeze.map(|duration| Freeze { after: Some(Duration::from_millis(10)), duration });
        let outcome = invoke(metrics, event, freeze).await;
        let sent = self.published.sent();
        let outcome = outcome.with_context(|| metrics.process().log_tail(20))?;
        let Outcome::Response(response) = outcome else { bail!("a scrape ended with {outcome:?}") };
        match response["statusCode"].as_u64() {
            Some(200) => {
                let text = response["body"].as_str().context("a page has a body")?;
                self.check(pages.check(text, &stored, &sent)?, text)?;
                Ok(true)
            }
            Some(429 | 503) => {
                self.log().failed_scrapes += 1;
                Ok(false)
            }
            _ => bail!("a scrape was answered {response}"),
        }
    }

    /// Records the violations of a page, and keeps the page if there are any.
    fn check(&self, violations: Vec<Violation>, page: &str) -> Result<()> {
        let scrape = {
            let mut log = self.log();
            log.scrapes += 1;
            log.scrapes
        };
        if !violations.is_empty() {
            std::fs::write(self.logs.join(format!("scrape-{scrape}.txt")), page)?;
        }
        for mut violation in violations {
            violation.case = format!("{} at scrape {scrape}", violation.case);
            self.violated(violation);
        }
        Ok(())
    }
}

/// Invokes an environment and waits until it has published.
async fn invoke(environment: &mut ExecutionEnvironment, event: Value, freeze: Option<Freeze>) -> Result<Outcome> {
    if let Some(Freeze { after: None, duration }) = freeze {
        environment.freeze()?;
        tokio::time::sleep(duration).await;
        environment.thaw()?;
    }
    let api = environment.api();
    let invoking = Arc::clone(&api);
    let invocation = tokio::spawn(async move { invoking.invoke(&event).await });
    if let Some(Freeze { after: Some(after), duration }) = freeze {
        tokio::time::sleep(after).await;
        environment.freeze()?;
        tokio::time::sleep(duration).await;
        environment.thaw()?;
    }
    let outcome = tokio::time::timeout(PATIENCE, async {
        let outcome = invocation.await??;
        api.asks_for_event().await;
        anyhow::Ok(outcome)
    });
    outcome.await.context("it does not respond, or does not ask for the next event")?
}

fn event_of(function: &str) -> Value {
    const SIGILS: &str = "/api/consciousness/sigils";
    match function {
        "encode" => lambda_event::http_request("POST", SIGILS, &[], Some(&json!({ "data": "fleet" }))),
        // No key has signed this token, so verify does not ask the database.
        "verify" => {
            let body = json!({ "token": "e30.e30.e30" });
            lambda_event::http_request("POST", &format!("{SIGILS}/verify"), &[], Some(&body))
        }
        "jobs" => json!({ "seconds": 0.1 }),
        _ => lambda_event::scheduled(),
    }
}

/// Returns an event for `jobs` that is counted at once, and whose handler runs longer than anything here waits.
fn endless_job() -> Value {
    json!({ "seconds": 0.1, "hold_seconds": 3600 })
}
