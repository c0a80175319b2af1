//! Builds the requests to a subject, and checks its responses.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::kit::exposition::Exposition;
use crate::kit::lambda_event;
use crate::kit::runtime_api::Outcome;
use crate::kit::variables::DEFAULT_METRICS_TOKEN;

/// Function with which Node's functions are compared.
pub(super) const ENCODE: &str = "encode";

const SIGILS: &str = "/api/consciousness/sigils";

/// The work of a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// Encodes some data: the response must be 201 with a token.
    Encode,
    /// Verifies a token together with its data: the token must be valid.
    Verify,
    /// Collects garbage: the response must be a summary.
    Gc,
    /// Answers a scrape: the page must count the sigils that were encoded.
    Metrics,
}

/// An account of what has happened so far.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Last token that each subject has made.
    tokens: BTreeMap<&'static str, String>,
    encoded: u64,
    verified: usize,
    counted: u64,
}

impl Ledger {
    /// Returns the number of sigils that encode has made. Those of Node are not on the metrics' page.
    pub(super) fn encoded(&self) -> u64 {
        self.encoded
    }

    /// Returns how many of these sigils the last scrape has counted.
    pub(super) fn counted(&self) -> u64 {
        self.counted
    }
}

impl Work {
    /// Returns the work of this function.
    pub(super) fn of(function: &str) -> Result<Self> {
        Ok(match function {
            ENCODE => Self::Encode,
            "verify" => Self::Verify,
            "gc" => Self::Gc,
            "metrics" => Self::Metrics,
            _ => bail!("no work is known for {function}"),
        })
    }

    /// Returns the next event.
    pub(super) fn event(self, ledger: &Ledger) -> Result<Value> {
        Ok(match self {
            Self::Encode => {
                let body = json!({ "data": data(), "metadata": { "by": "till 3" } });
                lambda_event::http_request("POST", SIGILS, &[], Some(&body))
            }
            Self::Verify => {
                // Tokens are verified in turn, so that those of Node are verified as well.
                let token = ledger.tokens.values().cycle().nth(ledger.verified).context("nothing was encoded yet")?;
                let body = json!({ "token": token, "data": data() });
                lambda_event::http_request("POST", &format!("{SIGILS}/verify"), &[], Some(&body))
            }
            Self::Gc => lambda_event::scheduled(),
            Self::Metrics => {
                let authorization = format!("Bearer {DEFAULT_METRICS_TOKEN}");
                lambda_event::http_request("GET", "/metrics", &[("authorization", &authorization)], None)
            }
        })
    }

    /// Returns an error unless this is the right response.
    pub(super) fn check(self, subject: &'static str, outcome: Outcome, ledger: &mut Ledger) -> Result<()> {
        let Outcome::Response(response) = outcome else { bail!("an invocation ended with {outcome:?}") };
        match self {
            Self::Encode => {
                let body = body(&response, 201)?;
                let token = body["sigil"]["token"].as_str().context("there is no token")?;
                ledger.tokens.insert(subject, token.to_owned());
                ledger.encoded += u64::from(subject == ENCODE);
            }
            Self::Verify => {
                let body = body(&response, 200)?;
                ensure!(body["valid"] == true, "a token is not valid: {body}");
                ledger.verified += 1;
            }
            Self::Gc => {
                let is_summary = response["sigils"].is_object() && response["stats"].is_object();
                ensure!(is_summary, "this is no summary: {response}");
            }
            Self::Metrics => {
                ensure!(response["statusCode"] == 200, "a scrape was answered {response}");
                let page = Exposition::parse(response["body"].as_str().context("a page has a body")?)?;
                let counted = page.sum("sigil_encode_total", &[]) as u64;
                // The first count is published before the next event is asked for, later ones at most a second later.
                let encoded = ledger.encoded;
                ensure!(
                    (1..=encoded).contains(&counted),
                    "encode has made {encoded} sigils, and {counted} are counted"
                );
                ledger.counted = counted;
            }
        }
        Ok(())
    }
}

fn data() -> Value {
    json!({ "order": 17, "paid": true, "total": "12.50" })
}

fn body(response: &Value, status: u16) -> Result<Value> {
    ensure!(response["statusCode"] == status, "the response should be {status}: {response}");
    Ok(serde_json::from_str(response["body"].as_str().context("the response has a body")?)?)
}
