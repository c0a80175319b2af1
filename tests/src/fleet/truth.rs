//! Compares the ground truth, which the Runtime API has counted, with what was published and with the last page.

use std::collections::BTreeMap;

use super::pages::Pages;
use super::violation::Rule;
use super::{Member, Shared, totals};
use crate::kit::runtime_api::Tally;

/// Series that counts a token which no key has signed.
const VERIFIED: &str = "sigil_verify_total{verdict=\"bad_signature\"}";

impl Shared {
    /// Compares what each environment published with what it did, and the page with both.
    pub(super) fn compare(&self, pages: &Pages) {
        let mut violations: Vec<_> =
            self.published.unreadable().into_iter().map(|(name, put)| Rule::Misbehaved.broken(name, put)).collect();
        // Limits of each series: the least that must be on the page, and the most that may be.
        let mut truth: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for (name, member) in &self.log().members {
            let tally = member.api.tally();
            let unpublished = self.may_be_unpublished(name, member, &tally);
            // An invocation that has begun is counted and can be published, though its response was never received.
            let unheard = tally.delivered - tally.responses;
            let stored = self.published.stored_by(name);
            for (series, responses) in counted(member.function, &tally) {
                let (least, most) = (responses.saturating_sub(unpublished), responses + unheard);
                let value = stored.get(&series).copied().unwrap_or_default();
                if value < least as f64 || value > most as f64 {
                    let case = format!("published {value} of {series}, not {least} to {most}");
                    violations.push(Rule::Misreported.broken(name, case));
                }
                let total = truth.entry(series).or_default();
                *total = (total.0 + least, total.1 + most);
            }
        }
        for (series, (least, most)) in truth {
            let value = pages.last(&series);
            if value < least as f64 {
                let case = format!("is {value} in the end, but must be at least {least}");
                violations.push(Rule::Lost.broken(&series, case));
            }
            if value > most as f64 {
                let case = format!("is {value} in the end, but must be at most {most}");
                violations.push(Rule::CountedTwice.broken(&series, case));
            }
        }
        violations.into_iter().for_each(|violation| self.violated(violation));
    }

    /// Returns the number of responses that an environment may have left unpublished.
    fn may_be_unpublished(&self, name: &str, member: &Member, tally: &Tally) -> u64 {
        if member.survived {
            0
        } else if self.settings.publishes_every_response() && member.at_once == 1 {
            // A snapshot contains every response that was received before it left, except that one response can
            // overtake a snapshot which the timer sends after a failure.
            tally.responses - self.published.responses_when_stored(name).saturating_sub(1)
        } else {
            // The number of responses that overtake a snapshot of the timer is not known here, so the page is compared
            // with what was stored. An invocation is counted when it begins, and a snapshot can be taken during it: the
            // last invocations that were stored may lack what their responses count.
            self.published.lost(name) + u64::from(member.at_once)
        }
    }
}

/// Returns the series in which the function counts responses, with the number of responses that each must have.
fn counted(function: &str, tally: &Tally) -> Vec<(String, u64)> {
    let with_status = |status| tally.statuses.get(&status).copied().unwrap_or_default();
    let mut counted = vec![(totals::invocations(function), tally.responses)];
    match function {
        "encode" => counted.push(("sigil_encode_total".to_owned(), with_status(201))),
        "jobs" => counted.push(("jobs_total".to_owned(), with_status(200))),
        "verify" => counted.push((VERIFIED.to_owned(), with_status(200))),
        _ => {}
    }
    counted
}
