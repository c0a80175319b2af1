//! A client, which one environment of encode and one of verify answer, and the promises that it was made.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use fastrand::Rng;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::seen::Seen;
use crate::kit::deployed::{HttpAnswer, ask};
use crate::kit::execution_environment::ExecutionEnvironment;
use crate::kit::lambda_event::http_request;
use crate::kit::runtime_api::{Deadline, Outcome};
use crate::kit::wait::{self, not_yet};

const SIGILS: &str = "/api/consciousness/sigils";

/// Pause between two requests of one client.
const PAUSE: Duration = Duration::from_millis(40);

/// Time-out of an environment that is to be ended by it.
const TIME_OUT: Duration = Duration::from_secs(1);

/// Longest time that the audit of one sigil may wait for a breaker to close.
const PATIENCE: Duration = Duration::from_secs(30);

/// A sigil that was acknowledged.
#[derive(Debug)]
struct Sigil {
    id: String,
    token: String,
    data: Value,
    revocation: Revocation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Revocation {
    NotAsked,
    /// The revocation was requested, but never acknowledged.
    Unheard,
    Acknowledged,
}

/// The way in which an environment is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// It is killed with SIGKILL, whatever it is doing.
    Killed,
    /// It hangs until its time-out, and is then killed.
    TimedOut,
}

/// One client.
#[derive(Debug)]
pub struct Client {
    /// Environment that encodes and revokes.
    pub encode: ExecutionEnvironment,
    /// Environment that verifies and shows.
    pub verify: ExecutionEnvironment,
    /// Counts of what the client saw.
    pub seen: Seen,
    /// Violations: events that should not have happened.
    pub violations: Vec<String>,
    random: Rng,
    sigils: Vec<Sigil>,
}

impl Client {
    /// Creates a client of these environments. The seed decides its requests.
    pub fn new(encode: ExecutionEnvironment, verify: ExecutionEnvironment, seed: u64) -> Self {
        let (random, seen) = (Rng::with_seed(seed), Seen::default());
        Self { encode, verify, seen, violations: Vec::new(), random, sigils: Vec::new() }
    }

    /// Returns the number of sigils that were acknowledged.
    pub fn sigils(&self) -> usize {
        self.sigils.len()
    }

    /// Makes requests until `stop` is set.
    pub async fn work(mut self, stop: watch::Receiver<bool>) -> Result<Self> {
        while !*stop.borrow() {
            match self.random.u8(..20) {
                0..7 => self.encode().await?,
                7..13 => self.verify_one().await?,
                13..15 => self.revoke().await?,
                15..17 => self.show().await?,
                _ => self.ask_for_nonsense().await?,
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(self)
    }

    async fn encode(&mut self) -> Result<()> {
        let data = json!({ "order": self.random.u32(..), "paid": self.random.bool() });
        self.seen.requests += 1;
        let answer = ask(&self.encode, &encode_event(&data)).await?;
        self.encoded(data, &answer)
    }

    fn encoded(&mut self, data: Value, answer: &HttpAnswer) -> Result<()> {
        if answer.status != 201 {
            self.failed("encode", answer);
            return Ok(());
        }
        let text = |name: &str| {
            let value = answer.body["sigil"][name].as_str().with_context(|| format!("a sigil without {name}"));
            value.map(str::to_owned)
        };
        self.sigils.push(Sigil { id: text("id")?, token: text("token")?, data, revocation: Revocation::NotAsked });
        self.seen.created();
        Ok(())
    }

    async fn verify_one(&mut self) -> Result<()> {
        let Some(index) = self.any_sigil() else { return Ok(()) };
        let answer = self.ask_for_verdict(index).await?;
        match answer.status {
            200 => self.judge(index, &answer),
            _ => self.failed("verify", &answer),
        }
        Ok(())
    }

    async fn ask_for_verdict(&mut self, index: usize) -> Result<HttpAnswer> {
        let Sigil { token, data, .. } = &self.sigils[index];
        let body = json!({ "token": token, "data": data });
        self.seen.requests += 1;
        ask(&self.verify, &http_request("POST", &format!("{SIGILS}/verify"), &[], Some(&body))).await
    }

    /// Compares a verdict with what was acknowledged.
    fn judge(&mut self, index: usize, answer: &HttpAnswer) {
        self.seen.verified();
        let Sigil { id, revocation, .. } = &self.sigils[index];
        let verdict = answer.body["verdict"].as_str().unwrap_or_default();
        let is_kept = match revocation {
            Revocation::NotAsked => verdict == "valid",
            Revocation::Unheard => ["valid", "revoked"].contains(&verdict),
            Revocation::Acknowledged => verdict == "revoked",
        };
        if !is_kept {
            self.violations.push(format!("sigil {id}, revocation {revocation:?}: the verdict is {}", answer.body));
        }
    }

    async fn revoke(&mut self) -> Result<()> {
        let Some(index) = self.any_sigil() else { return Ok(()) };
        self.seen.requests += 1;
        let event = http_request("DELETE", &format!("{SIGILS}/{}", self.sigils[index].id), &[], None);
        let answer = ask(&self.encode, &event).await?;
        let revocation = &mut self.sigils[index].revocation;
        if answer.status == 200 {
            *revocation = Revocation::Acknowledged;
        } else {
            if *revocation == Revocation::NotAsked {
                *revocation = Revocation::Unheard;
            }
            self.failed("revoke", &answer);
        }
        Ok(())
    }

    async fn show(&mut self) -> Result<()> {
        let Some(index) = self.any_sigil() else { return Ok(()) };
        self.seen.requests += 1;
        let event = http_request("GET", &format!("{SIGILS}/{}", self.sigils[index].id), &[], None);
        let answer = ask(&self.verify, &event).await?;
        if answer.status != 200 {
            self.failed("get", &answer);
        }
        Ok(())
    }

    async fn ask_for_nonsense(&mut self) -> Result<()> {
        self.seen.requests += 1;
        let unknown = format!("{SIGILS}/00000000-0000-4000-8000-000000000000");
        let (environment, operation, event, status) = match self.random.u8(..4) {
            0 => (&self.encode, "encode", http_request("POST", SIGILS, &[], Some(&json!({ "dato": 1 }))), 400),
            1 => {
                let mut event = http_request("POST", &format!("{SIGILS}/verify"), &[], Some(&json!({})));
                event["body"] = json!("{\"token\":");
                (&self.verify, "verify", event, 400)
            }
            2 => (&self.verify, "get", http_request("GET", &unknown, &[], None), 404),
            _ => (&self.encode, "other", http_request("PATCH", SIGILS, &[], None), 405),
        };
        let answer = ask(environment, &event).await?;
        if answer.status != status && answer.status < 429 {
            self.violations.push(format!("{operation}: nonsense is answered {}", answer.status));
        }
        self.failed(operation, &answer);
        Ok(())
    }

    /// Counts an error. An error that the store causes must be a 429 or a 503 with the matching reason, so that the client
    /// can repeat the request. No other error may be 5xx.
    fn failed(&mut self, operation: &str, answer: &HttpAnswer) {
        let reason = answer.body["error"].as_str().unwrap_or("none");
        self.seen.error(operation, reason);
        let is_expected = match answer.status {
            429 => reason == "throttled",
            503 => ["unavailable", "circuit_open"].contains(&reason),
            status => (400..500).contains(&status),
        };
        if !is_expected {
            self.violations.push(format!("{operation} is answered {} {}", answer.status, answer.body));
        }
    }

    fn any_sigil(&mut self) -> Option<usize> {
        (!self.sigils.is_empty()).then(|| self.random.usize(..self.sigils.len()))
    }

    /// Lets both environments answer a request, after which they publish. If the client has a revoked sigil and the
    /// store works, the requests change nothing that is compared with the page.
    pub async fn nudge(&mut self) -> Result<()> {
        let revoked = self.sigils.iter().position(|sigil| sigil.revocation == Revocation::Acknowledged);
        if let Some(revoked) = revoked {
            self.seen.requests += 1;
            let event = http_request("DELETE", &format!("{SIGILS}/{}", self.sigils[revoked].id), &[], None);
            let answer = ask(&self.encode, &event).await?;
            if answer.status != 200 {
                self.failed("revoke", &answer);
            }
        } else {
            self.encode().await?;
            self.revoke().await?;
        }
        self.show().await
    }

    /// Loses both environments while each answers a request, which may still succeed, and replaces them by these.
    pub async fn lose(&mut self, loss: Loss, encode: ExecutionEnvironment, verify: ExecutionEnvironment) -> Result<()> {
        let data = json!({ "order": self.random.u32(..) });
        let (encode, verify) =
            (std::mem::replace(&mut self.encode, encode), std::mem::replace(&mut self.verify, verify));

        self.seen.requests += 1;
        match self.lose_one(encode, encode_event(&data), loss).await? {
            Some(answer) => self.encoded(data, &answer)?,
            None => self.seen.unheard += 1,
        }
        if let Some(index) = self.any_sigil() {
            self.seen.requests += 1;
            let body = json!({ "token": self.sigils[index].token, "data": self.sigils[index].data });
            let event = http_request("POST", &format!("{SIGILS}/verify"), &[], Some(&body));
            match self.lose_one(verify, event, loss).await? {
                Some(answer) if answer.status == 200 => self.judge(index, &answer),
                Some(answer) => self.failed("verify", &answer),
                None => self.seen.unheard += 1,
            }
        }
        Ok(())
    }

    /// Sends the event and ends the environment meanwhile. Returns the answer if it came before the end.
    async fn lose_one(
        &mut self,
        mut environment: ExecutionEnvironment,
        event: Value,
        loss: Loss,
    ) -> Result<Option<HttpAnswer>> {
        let api = environment.api();
        if loss == Loss::TimedOut {
            api.set_deadline(Deadline::After(TIME_OUT));
        }
        let invocation = tokio::spawn(async move { api.invoke(&event).await });
        tokio::time::sleep(Duration::from_micros(self.random.u64(..15_000))).await;
        if loss == Loss::TimedOut {
            environment.freeze()?;
            tokio::time::sleep(TIME_OUT).await;
        }
        environment.kill().await?;
        match invocation.await? {
            Ok(Outcome::Response(response)) => {
                let status = response["statusCode"].as_u64().context("a response has a status")?;
                let body = serde_json::from_str(response["body"].as_str().unwrap_or_default())?;
                Ok(Some(HttpAnswer { status, body }))
            }
            Ok(Outcome::Error(error)) => bail!("an invocation ended in an error: {error}"),
            Err(_) => Ok(None),
        }
    }

    /// Verifies every sigil that was acknowledged.
    pub async fn audit(&mut self) -> Result<()> {
        for index in 0..self.sigils.len() {
            wait::until("a verdict is given", PATIENCE, async || {
                let answer = self.ask_for_verdict(index).await.map_err(wait::Setback::Final)?;
                if answer.status == 200 {
                    self.judge(index, &answer);
                    return Ok(());
                }
                self.failed("verify", &answer);
                not_yet(format!("it is answered {}", answer.status))
            })
            .await?;
        }
        Ok(())
    }
}

fn encode_event(data: &Value) -> Value {
    http_request("POST", SIGILS, &[], Some(&json!({ "data": data })))
}
