//! Sends healthy traffic of every kind with an incident in the middle, and keeps account of every answer.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::AddAssign;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use crate::kit::client::{Answer, Client, Sigil};
use crate::kit::tables;

use super::faulty_dynamodb::{Effect, Fault, FaultyDynamoDb};
use super::now;
use super::oracle::Oracle;

/// Time between two requests of a client. There are two clients: one encodes and one verifies.
const PACE: Duration = Duration::from_millis(150);
/// Time between two gc runs: longer than STATS_WRITER_IDLE, so that each run folds the environment of the run before.
const GC_EVERY: Duration = Duration::from_secs(15);
/// Size in bytes above DynamoDB's limit for an item, and below the limit for a request.
const TOO_LARGE: usize = 500 * 1024;
const NO_SUCH_ID: &str = "00000000-0000-4000-8000-000000000000";

const SIGIL_CALLS: &[&str] = &["PutItem", "GetItem", "UpdateItem"];

/// Longer than half a second, but shorter than an attempt may take.
const SLOW: Effect = Effect::Slow(Duration::from_millis(700));

fn sigils(effect: Effect) -> Fault {
    Fault { table: tables::SIGILS, calls: SIGIL_CALLS, effect }
}

fn stats(call: &'static [&'static str], effect: Effect) -> Fault {
    Fault { table: tables::STATS, calls: call, effect }
}

/// Returns the phases of the incident, in order: name, duration in seconds, and faults. The table fails for long enough
/// to open breakers and, with the phases after it, to fire the alert on the error budget. The alert on open breakers
/// waits for five minutes, so it is only pending at the end.
fn phases() -> [(&'static str, u64, Vec<Fault>); 6] {
    let publish = &["PutItem"];
    [
        ("all is well", 45, vec![]),
        (
            "the sigils table is slow, and no metrics can be published",
            20,
            vec![sigils(SLOW), stats(publish, Effect::Failing)],
        ),
        ("the sigils table throttles", 10, vec![sigils(Effect::Throttled)]),
        ("the sigils table fails", 70, vec![sigils(Effect::Failing)]),
        ("the metrics cannot be scraped", 6, vec![stats(&["Query"], Effect::Failing)]),
        ("all is well again", 50, vec![]),
    ]
}

/// Counts of what was done, according to the answers.
#[derive(Debug, Clone, Default)]
pub(super) struct Sent {
    encoded: u64,
    revoked: u64,
    verdicts: BTreeMap<String, u64>,
    errors: BTreeMap<(&'static str, String), u64>,
    requests: BTreeMap<&'static str, u64>,
    gc_runs: u64,
    deleted: BTreeMap<&'static str, u64>,
    folded: u64,
    buried: u64,
}

/// Tokens to verify; the youngest of each kind is last.
#[derive(Debug, Default)]
struct Tokens {
    live: Vec<Sigil>,
    revoked: Vec<Sigil>,
    expiring: Vec<Sigil>,
}

/// A client that keeps account of its requests.
pub(super) struct Traffic {
    client: Client,
    sent: Sent,
    tokens: RefCell<Tokens>,
    healthy_until: f64,
}

impl Traffic {
    pub(super) fn new(client: Client) -> Self {
        Self { client, sent: Sent::default(), tokens: RefCell::default(), healthy_until: 0.0 }
    }

    pub(super) fn sent(&self) -> Sent {
        self.sent.clone()
    }

    /// Returns the time at which the incident began, in seconds since the epoch.
    pub(super) fn healthy_until(&self) -> f64 {
        self.healthy_until
    }

    /// Calls each function once.
    pub(super) async fn warm_up(&mut self) -> Result<()> {
        encode(&self.client, 0, &mut self.sent, &self.tokens).await?;
        verify(&self.client, 0, &mut self.sent, &self.tokens).await?;
        collect(&self.client, &mut self.sent).await
    }

    /// Runs all phases, one after the other.
    pub(super) async fn incident(&mut self, dynamodb: &FaultyDynamoDb) -> Result<()> {
        let mut number = 1;
        for (name, seconds, faults) in phases() {
            println!("  {seconds:>3} s: {name}");
            if !faults.is_empty() && self.healthy_until == 0.0 {
                self.healthy_until = now()?;
            }
            dynamodb.set(&faults);
            let end = Instant::now() + Duration::from_secs(seconds);
            // gc needs both tables. It does not run while either fails, since its results would then depend on the
            // moment.
            self.phase(end, &mut number, faults.is_empty()).await?;
        }
        Ok(())
    }

    async fn phase(&mut self, end: Instant, number: &mut u64, with_gc: bool) -> Result<()> {
        let (client, tokens, first) = (&self.client, &self.tokens, *number);
        let (mut encoding, mut verifying, mut collecting) = (Sent::default(), Sent::default(), Sent::default());
        let encodes = async {
            let mut number = first;
            every(PACE, end, async || {
                number += 1;
                encode(client, number, &mut encoding, tokens).await
            })
            .await?;
            anyhow::Ok(number)
        };
        let verifies = async {
            let mut number = first;
            every(PACE, end, async || {
                number += 1;
                verify(client, number, &mut verifying, tokens).await
            })
            .await
        };
        let collects = async {
            if with_gc {
                every(GC_EVERY, end, async || collect(client, &mut collecting).await).await?;
            }
            Ok(())
        };
        let (next, (), ()) = tokio::try_join!(encodes, verifies, collects)?;
        *number = next;
        for part in [encoding, verifying, collecting] {
            self.sent += part;
        }
        Ok(())
    }
}

/// Repeats `work` at this pace until `end`. A delay is not made up for.
async fn every(pace: Duration, end: Instant, mut work: impl AsyncFnMut() -> Result<()>) -> Result<()> {
    let mut ticks = interval(pace);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while timeout_at(end, ticks.tick()).await.is_ok() {
        work().await?;
    }
    Ok(())
}

/// Sends a request to encode, at times a wrong one, and at times also a revocation.
async fn encode(client: &Client, number: u64, sent: &mut Sent, tokens: &RefCell<Tokens>) -> Result<()> {
    let expires = number % 10 == 5;
    let body = match number % 40 {
        13 => "{\"data\":".to_owned(),
        27 => json!({ "data": 1, "ttl_seconds": 0 }).to_string(),
        39 => json!({ "data": "x".repeat(TOO_LARGE) }).to_string(),
        _ if expires => json!({ "data": { "number": number }, "ttl_seconds": 1 }).to_string(),
        _ => json!({ "data": { "number": number } }).to_string(),
    };
    let answer = client.post_sigils(body).await?;
    if sent.answered("encode", "encode", &answer)? {
        sent.encoded += 1;
        let sigil =
            Sigil { id: answer.text_at("/sigil/id")?.to_owned(), token: answer.text_at("/sigil/token")?.to_owned() };
        let mut tokens = tokens.borrow_mut();
        if expires { tokens.expiring.push(sigil) } else { tokens.live.push(sigil) }
    }
    if number % 20 == 7 {
        let oldest = tokens.borrow().live[0].clone();
        let answer = client.revoke(&oldest.id).await?;
        if sent.answered("encode", "revoke", &answer)? {
            sent.revoked += 1;
            tokens.borrow_mut().live.remove(0);
            tokens.borrow_mut().revoked.push(oldest);
        }
    }
    Ok(())
}

/// Sends a token to verify, mostly a valid one, otherwise one of the other kinds, and at times asks for a record that
/// does not exist.
async fn verify(client: &Client, number: u64, sent: &mut Sent, tokens: &RefCell<Tokens>) -> Result<()> {
    if number % 25 == 24 {
        let answer = client.get(NO_SUCH_ID).await?;
        sent.answered("verify", "get", &answer)?;
    }
    let (token, data) = {
        let tokens = tokens.borrow();
        let live = tokens.live.last().context("something was encoded before")?;
        // An expiring token has expired by the time that a younger one exists. After gc it is unknown.
        let (oldest, expired) = (tokens.expiring.first(), tokens.expiring.iter().rev().nth(1));
        match number % 8 {
            1 => (tokens.revoked.last().unwrap_or(live).token.clone(), None),
            3 => (expired.unwrap_or(live).token.clone(), None),
            5 => (live.token.clone(), Some(json!("something else"))),
            6 => (oldest.unwrap_or(live).token.clone(), None),
            7 => (with_another_signature(&live.token), None),
            _ => (live.token.clone(), None),
        }
    };
    let answer = client.verify(&token, data.as_ref()).await?;
    if sent.answered("verify", "verify", &answer)? {
        *sent.verdicts.entry(answer.text_at("/verdict")?.to_owned()).or_default() += 1;
    }
    Ok(())
}

async fn collect(client: &Client, sent: &mut Sent) -> Result<()> {
    let summary = client.gc().await?;
    let count = |pointer: &str| summary.pointer(pointer).and_then(Value::as_u64).with_context(|| format!("{summary}"));
    ensure!(summary["sigils"]["finished"] == true && summary["stats"]["finished"] == true, "{summary}");
    sent.gc_runs += 1;
    *sent.deleted.entry("expired").or_default() += count("/sigils/expired")?;
    *sent.deleted.entry("revoked").or_default() += count("/sigils/revoked")?;
    sent.folded += count("/stats/folded")?;
    sent.buried += count("/stats/buried")?;
    Ok(())
}

/// Changes the first character of the signature. The last character would not do: some of its bits have no meaning.
fn with_another_signature(token: &str) -> String {
    let (signed, signature) = token.rsplit_once('.').expect("a token has three parts");
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    format!("{signed}.{first}{}", &signature[1..])
}

impl Sent {
    /// Counts a request, and its error if it failed. Returns whether it succeeded.
    fn answered(&mut self, function: &'static str, operation: &'static str, answer: &Answer) -> Result<bool> {
        *self.requests.entry(function).or_default() += 1;
        if answer.status.is_success() {
            return Ok(true);
        }
        let reason = answer.text_at("/error")?.to_owned();
        *self.errors.entry((operation, reason)).or_default() += 1;
        Ok(false)
    }

    /// Returns the difference to an earlier account.
    pub(super) fn since(&self, before: &Self) -> Self {
        fn less<K: Ord + Clone>(map: &BTreeMap<K, u64>, before: &BTreeMap<K, u64>) -> BTreeMap<K, u64> {
            map.iter().map(|(key, count)| (key.clone(), count - before.get(key).copied().unwrap_or_default())).collect()
        }
        Self {
            encoded: self.encoded - before.encoded,
            revoked: self.revoked - before.revoked,
            verdicts: less(&self.verdicts, &before.verdicts),
            errors: less(&self.errors, &before.errors),
            requests: less(&self.requests, &before.requests),
            gc_runs: self.gc_runs - before.gc_runs,
            deleted: less(&self.deleted, &before.deleted),
            folded: self.folded - before.folded,
            buried: self.buried - before.buried,
        }
    }

    /// Returns queries with their expected values. Invocations and requests without a route are not among them: the
    /// functions were invoked before, to see whether they answer.
    pub(super) fn totals(&self) -> Vec<(String, f64)> {
        let sum = |selector: &str, count: u64| (format!("sum({selector})"), count as f64);
        vec![
            sum("sigil_encode_total", self.encoded),
            sum("sigil_revoke_total", self.revoked),
            sum("sigil_verify_total", self.verdicts.values().sum()),
            sum("sigil_error_total{operation!=\"other\"}", self.errors.values().sum()),
            sum("sigil_gc_total", self.gc_runs),
            sum("sigil_gc_deleted_total", self.deleted.values().sum()),
            sum("prometheus_dynamodb_folds_total", self.folded),
            sum("prometheus_dynamodb_burials_total", self.buried),
        ]
    }

    /// Returns the number of requests that failed by the service's fault.
    pub(super) fn failed(&self) -> f64 {
        const FAULTS: [&str; 4] = ["throttled", "circuit_open", "unavailable", "damaged"];
        let failed = self.errors.iter().filter(|((_, reason), _)| FAULTS.contains(&reason.as_str()));
        failed.map(|(_, count)| *count as f64).sum()
    }

    /// Returns the number of all requests over HTTP.
    pub(super) fn requests(&self) -> f64 {
        self.requests.values().map(|count| *count as f64).sum()
    }

    /// Returns an error unless the scraped counters have risen by exactly these counts.
    pub(super) fn compare(&self, oracle: &Oracle) -> Result<()> {
        let rises = |name: &str, labels: &[(&str, &str)], count: u64| {
            let rise = oracle.rise(name, labels);
            ensure!(rise == count as f64, "{name}{labels:?} has risen by {rise}, and {count} were sent");
            Ok(())
        };
        rises("sigil_encode_total", &[], self.encoded)?;
        rises("sigil_revoke_total", &[], self.revoked)?;
        rises("sigil_gc_total", &[], self.gc_runs)?;
        rises("prometheus_dynamodb_folds_total", &[], self.folded)?;
        rises("prometheus_dynamodb_burials_total", &[], self.buried)?;
        rises("sigil_verify_total", &[], self.verdicts.values().sum())?;
        for (verdict, count) in &self.verdicts {
            rises("sigil_verify_total", &[("verdict", verdict)], *count)?;
        }
        rises("sigil_error_total", &[], self.errors.values().sum())?;
        for ((operation, reason), count) in &self.errors {
            rises("sigil_error_total", &[("operation", operation), ("reason", reason)], *count)?;
        }
        for (reason, count) in &self.deleted {
            rises("sigil_gc_deleted_total", &[("reason", reason)], *count)?;
        }
        for (function, count) in &self.requests {
            rises("lambda_invocations_total", &[("function", function)], *count)?;
        }
        self.ensure_varied()
    }

    /// Returns an error unless every kind of answer occurred: comparing nothing with nothing would prove nothing.
    fn ensure_varied(&self) -> Result<()> {
        for verdict in ["valid", "tampered", "bad_signature", "revoked", "expired", "unknown"] {
            ensure!(self.verdicts.get(verdict).is_some_and(|count| *count > 0), "no token was {verdict}: {self:?}");
        }
        for reason in ["malformed", "invalid", "too_large", "unknown", "throttled", "unavailable", "circuit_open"] {
            let found = self.errors.iter().any(|((_, found), count)| found == reason && *count > 0);
            ensure!(found, "no request failed because of {reason}: {self:?}");
        }
        let deleted = self.deleted.values().all(|count| *count > 0);
        ensure!(deleted && self.folded > 0 && self.buried > 0, "gc had nothing to do: {self:?}");
        Ok(())
    }
}

impl AddAssign for Sent {
    fn add_assign(&mut self, other: Self) {
        fn add<K: Ord>(map: &mut BTreeMap<K, u64>, other: BTreeMap<K, u64>) {
            other.into_iter().for_each(|(key, count)| *map.entry(key).or_default() += count);
        }
        self.encoded += other.encoded;
        self.revoked += other.revoked;
        add(&mut self.verdicts, other.verdicts);
        add(&mut self.errors, other.errors);
        add(&mut self.requests, other.requests);
        self.gc_runs += other.gc_runs;
        add(&mut self.deleted, other.deleted);
        self.folded += other.folded;
        self.buried += other.buried;
    }
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errors: u64 = self.errors.values().sum();
        write!(
            f,
            "{} requests: {} sigils encoded, {} tokens verified, {errors} errors; {} gc runs",
            self.requests(),
            self.encoded,
            self.verdicts.values().sum::<u64>(),
            self.gc_runs
        )
    }
}
