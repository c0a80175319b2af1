//! The operator, who scrapes, and the schedule that starts gc.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::sync::watch;

use super::report::Pages;
use crate::kit::deployed::ask;
use crate::kit::execution_environment::ExecutionEnvironment;
use crate::kit::exposition::Exposition;
use crate::kit::lambda_event::{http_request, scheduled};
use crate::kit::runtime_api::Outcome;

/// Pause between two scrapes. Every fifth scrape is followed by a run of gc.
const PAUSE: Duration = Duration::from_secs(1);
const RUN_EVERY: u64 = 5;

/// Counters whose sums must never fall from one page to the next.
const COUNTERS: [&str; 4] = ["sigil_encode_total", "sigil_verify_total", "sigil_revoke_total", "sigil_error_total"];

/// The functions that serve the operator and not a client.
#[derive(Debug)]
pub struct Operator {
    /// Environment that returns the page.
    pub metrics: ExecutionEnvironment,
    /// Environment that compacts.
    pub gc: ExecutionEnvironment,
    /// Token for scrapes.
    pub token: &'static str,
    /// Counts of the scrapes and of gc's runs.
    pub pages: Pages,
    /// Violations: events that should not have happened.
    pub violations: Vec<String>,
    /// Sums of the counters on the last page.
    pub last: [f64; COUNTERS.len()],
}

impl Operator {
    /// Scrapes, and runs gc, until `stop` is set.
    pub async fn work(mut self, stop: watch::Receiver<bool>) -> Result<Self> {
        let mut turn = 0;
        while !*stop.borrow() {
            turn += 1;
            self.scrape().await?;
            self.scrape_with_a_wrong_token().await?;
            if turn % RUN_EVERY == 0 {
                self.collect().await?;
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(self)
    }

    /// Scrapes. Returns the page, or `None` if the table could not be read.
    pub async fn scrape(&mut self) -> Result<Option<Exposition>> {
        let authorization = format!("Bearer {}", self.token);
        let event = http_request("GET", "/metrics", &[("authorization", &authorization)], None);
        let Outcome::Response(response) = self.metrics.api().invoke(&event).await? else {
            bail!("a scrape ended in an error")
        };
        match response["statusCode"].as_u64() {
            Some(200) => {
                let page = Exposition::parse(response["body"].as_str().context("a page is text")?)?;
                self.pages.scrapes += 1;
                let sums = COUNTERS.map(|name| page.sum(name, &[]));
                for ((name, before), now) in COUNTERS.iter().zip(self.last).zip(sums) {
                    if now < before {
                        self.violations.push(format!("{name} falls from {before} to {now}"));
                    }
                }
                self.last = sums;
                Ok(Some(page))
            }
            Some(429 | 503) => {
                self.pages.failed_scrapes += 1;
                Ok(None)
            }
            _ => bail!("a scrape is answered {response}"),
        }
    }

    /// Scrapes with a wrong token. The function knows that the token is not a new one only once it has asked Secrets
    /// Manager, which may not answer.
    async fn scrape_with_a_wrong_token(&mut self) -> Result<()> {
        let event = http_request("GET", "/metrics", &[("authorization", "Bearer not-the-metrics-token")], None);
        let status = ask(&self.metrics, &event).await?.status;
        if status != 401 {
            self.violations.push(format!("a wrong token is answered {status}"));
        }
        Ok(())
    }

    /// Runs gc. Returns its error, if it ended in one.
    pub async fn collect(&mut self) -> Result<Option<Value>> {
        match self.gc.api().invoke(&scheduled()).await? {
            Outcome::Response(_) => {
                self.pages.runs += 1;
                Ok(None)
            }
            Outcome::Error(error) => {
                self.pages.failed_runs += 1;
                Ok(Some(error))
            }
        }
    }
}
