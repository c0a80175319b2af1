//! Checks every alert: which ones fire in the incident, which become pending, and which stay silent.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::kit::prometheus::Prometheus;
use crate::kit::workspace;

use super::Window;

/// The state that an alert reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// The condition held for as long as the alert's `for`.
    Fires,
    /// The condition held, but the incident was too short for the alert to fire.
    Pends,
    /// The condition never held.
    Silent,
}

/// Expected states. The incident takes minutes, so of alerts that wait for hours only their silence can be checked.
const FATES: [(&str, Fate); 17] = [
    ("SigilErrorBudgetFastBurn", Fate::Fires),
    ("SigilErrorBudgetSlowBurn", Fate::Pends),
    ("SigilLatencyHigh", Fate::Pends),
    ("SigilCircuitBreakerOpen", Fate::Pends),
    ("SigilDynamoDbThrottled", Fate::Pends),
    ("SigilGcOverdue", Fate::Silent),
    ("SigilGcNeverSucceeded", Fate::Silent),
    ("SigilSecretRenewalFailing", Fate::Silent),
    ("SigilMetricsScrapeFailing", Fate::Pends),
    ("PrometheusDynamoDbScrapeSlow", Fate::Silent),
    ("PrometheusDynamoDbPublishesFailing", Fate::Pends),
    ("PrometheusDynamoDbConflict", Fate::Silent),
    ("PrometheusDynamoDbItemUnreadable", Fate::Silent),
    ("PrometheusDynamoDbCompactionOverdue", Fate::Silent),
    ("PrometheusDynamoDbBaseFull", Fate::Silent),
    ("PrometheusDynamoDbSeriesDropped", Fate::Silent),
    ("PrometheusDynamoDbSeriesRefused", Fate::Silent),
];

pub(super) async fn check(prometheus: &Prometheus, window: Window, healthy_until: f64) -> Result<()> {
    let expected: BTreeMap<_, _> = FATES.into_iter().map(|(name, fate)| (name.to_owned(), fate)).collect();
    let names: BTreeSet<_> = expected.keys().cloned().collect();
    ensure!(names == shipped()?, "{:?} are shipped", shipped()?);

    let mut states: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for curve in prometheus.query_range("ALERTS", window.from, window.to).await? {
        let label =
            |name: &str| curve.labels[name].as_str().map(str::to_owned).with_context(|| curve.labels.to_string());
        let (name, state) = (label("alertname")?, label("alertstate")?);
        let first = curve.samples.first().context("it has samples")?.0;
        ensure!(first >= healthy_until, "{name} was {state} {} s before the incident", healthy_until - first);
        states.entry(name).or_default().insert(state);
    }
    let has = |name: &str, state: &str| states.get(name).is_some_and(|states| states.contains(state));
    for (name, fate) in &expected {
        let found = match (has(name, "firing"), has(name, "pending")) {
            (true, _) => Fate::Fires,
            (false, true) => Fate::Pends,
            (false, false) => Fate::Silent,
        };
        ensure!(found == *fate, "{name}: {found:?}, not {fate:?}");
    }
    let count = |fate| expected.values().filter(|found| **found == fate).count();
    println!(
        "  of {} alerts, {} fire, {} are pending, {} stay silent, as expected; none was active before the incident",
        expected.len(),
        count(Fate::Fires),
        count(Fate::Pends),
        count(Fate::Silent)
    );
    Ok(())
}

#[derive(Deserialize)]
struct Rules {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    alert: Option<String>,
}

fn shipped() -> Result<BTreeSet<String>> {
    let text = std::fs::read_to_string(workspace::root().join("dashboards/alerts.yml"))?;
    let rules: Rules = serde_saphyr::from_str(&text)?;
    Ok(rules.groups.into_iter().flat_map(|group| group.rules).filter_map(|rule| rule.alert).collect())
}
