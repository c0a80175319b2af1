//! Records what the environments published, as the proxy sees it pass, to compare it with the pages and the Runtime
//! API.
//!
//! At any time every counter lies between what is known to be stored and that plus what is on its way. A scrape that
//! begins and ends at known times must lie between the two as well, whatever gc does in the meantime.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use super::totals::{self, Structures, Totals};
use crate::kit::fault_proxy::{Call, Observer};
use crate::kit::runtime_api::{RuntimeApi, Tally};

/// A record of everything that was published.
#[derive(Debug, Default)]
pub struct Published {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    environments: BTreeMap<String, Environment>,
    /// Writers by the sort key of their snapshots.
    writers: BTreeMap<String, Writer>,
    /// Structures that were put, whether stored or not: a snapshot that names one is put only once the structure is
    /// stored.
    structures: Structures,
    /// Sum of what all writers have stored.
    stored: Totals,
    /// Number of snapshots that were stored in each format.
    formats: BTreeMap<String, u64>,
    /// Items that could not be decoded: who put them, and the error.
    unreadable: Vec<(String, String)>,
}

#[derive(Debug)]
struct Environment {
    function: &'static str,
    api: Arc<RuntimeApi>,
    /// Number of responses that the Runtime API had received when the last stored snapshot passed the proxy.
    responses_when_stored: u64,
}

#[derive(Debug, Default)]
struct Writer {
    environment: String,
    /// Sequence number of the latest put that is known to be stored.
    seq: u64,
    stored: Totals,
    on_their_way: BTreeMap<u64, OnItsWay>,
}

#[derive(Debug)]
struct OnItsWay {
    totals: Totals,
    responses: u64,
}

impl Published {
    /// Attributes calls by `name` to the environment with this Runtime API from now on.
    pub fn add_environment(&self, name: &str, function: &'static str, api: Arc<RuntimeApi>) {
        self.state().environments.insert(name.to_owned(), Environment { function, api, responses_when_stored: 0 });
    }

    /// Returns what is known to be stored.
    pub fn stored(&self) -> Totals {
        self.state().stored.clone()
    }

    /// Returns the most that can be stored by now.
    pub fn sent(&self) -> Totals {
        let state = self.state();
        let mut sent = state.stored.clone();
        for writer in state.writers.values().filter(|writer| !writer.on_their_way.is_empty()) {
            let mut most = writer.stored.clone();
            for (series, value) in writer.on_their_way.values().flat_map(|put| &put.totals) {
                let most = most.entry(series.clone()).or_default();
                *most = most.max(*value);
            }
            for (series, value) in most {
                *sent.entry(series.clone()).or_default() += value - writer.stored.get(&series).unwrap_or(&0.0);
            }
        }
        sent
    }

    /// Returns what one environment has stored, under all of its ids.
    pub fn stored_by(&self, environment: &str) -> Totals {
        let mut stored = Totals::new();
        for writer in self.state().writers.values().filter(|writer| writer.environment == environment) {
            totals::add(&mut stored, &writer.stored);
        }
        stored
    }

    /// Returns the number of responses that the environment had given when its last stored snapshot passed the proxy.
    pub fn responses_when_stored(&self, environment: &str) -> u64 {
        self.state().environments.get(environment).map_or(0, |environment| environment.responses_when_stored)
    }

    /// Returns the number of invocations that an environment responded to and has not published.
    pub fn lost(&self, environment: &str) -> u64 {
        self.more_than_published(environment, |tally| tally.responses)
    }

    /// Returns the number of invocations that an environment has begun and not published.
    pub fn unpublished(&self, environment: &str) -> u64 {
        self.more_than_published(environment, |tally| tally.delivered)
    }

    fn more_than_published(&self, environment: &str, number: impl FnOnce(&Tally) -> u64) -> u64 {
        let invocations = |environment: &Environment| (environment.function, number(&environment.api.tally()));
        let Some((function, invocations)) = self.state().environments.get(environment).map(invocations) else {
            return 0;
        };
        let published = self.stored_by(environment).get(&totals::invocations(function)).copied().unwrap_or_default();
        invocations.saturating_sub(published as u64)
    }

    /// Returns the number of environments that have gone on under a fresh id.
    pub fn environments_with_fresh_id(&self) -> usize {
        let state = self.state();
        let mut ids: BTreeMap<&str, u32> = BTreeMap::new();
        for writer in state.writers.values().filter(|writer| !writer.stored.is_empty()) {
            *ids.entry(&writer.environment).or_default() += 1;
        }
        ids.values().filter(|ids| **ids > 1).count()
    }

    /// Returns the number of snapshots that were stored in each format.
    pub fn formats(&self) -> BTreeMap<String, u64> {
        self.state().formats.clone()
    }

    /// Returns the items that could not be decoded: who put them, and the error.
    pub fn unreadable(&self) -> Vec<(String, String)> {
        self.state().unreadable.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no one panics while holding the lock")
    }
}

impl Observer for Arc<Published> {
    fn sent(&self, number: u64, call: &Call) {
        if let Some(id) = call.structure_id() {
            let structure = totals::structure(id, &call.item);
            let mut state = self.state();
            match structure {
                Ok(structure) => drop(state.structures.insert(structure.id(), structure)),
                Err(error) => state.unreadable.push((call.caller.clone(), format!("the structure {id}: {error:#}"))),
            }
        }
        let Some(key) = call.snapshot_key() else { return };
        // A fence: an empty sealed snapshot, put so that the writer's first put can no longer land. It publishes
        // nothing.
        if !call.item["sealed_at"].is_null() {
            return;
        }
        let mut state = self.state();
        let totals = totals::of_snapshot(&call.item, &state.structures);
        match totals {
            Ok(totals) => {
                let responses =
                    state.environments.get(&call.caller).map_or(0, |environment| environment.api.tally().responses);
                let writer = state.writers.entry(key.to_owned()).or_default();
                writer.environment.clone_from(&call.caller);
                writer.on_their_way.insert(number, OnItsWay { totals, responses });
            }
            Err(error) => state.unreadable.push((call.caller.clone(), format!("published {key}: {error:#}"))),
        }
    }

    fn answered(&self, number: u64, call: &Call, status: Option<u16>) {
        let Some(key) = call.snapshot_key() else { return };
        let mut state = self.state();
        let State { environments, writers, stored, formats, unreadable, .. } = &mut *state;
        let Some(writer) = writers.get_mut(key) else { return };
        let Some(put) = writer.on_their_way.remove(&number) else { return };
        if status == Some(200) {
            let format = call.item["format"]["N"].as_str().unwrap_or_default();
            *formats.entry(format.to_owned()).or_default() += 1;
            // The database stores the puts of a writer in their order, but their answers can overtake each other on
            // their way here.
            let seq = call.item["seq"]["N"].as_str().and_then(|seq| seq.parse().ok());
            let Some(seq) = seq else {
                unreadable.push((call.caller.clone(), format!("{key} has no seq")));
                return;
            };
            if seq >= writer.seq {
                for (series, value) in &put.totals {
                    *stored.entry(series.clone()).or_default() += value - writer.stored.get(series).unwrap_or(&0.0);
                }
                writer.stored = put.totals;
                writer.seq = seq;
            }
            if let Some(environment) = environments.get_mut(&call.caller) {
                environment.responses_when_stored = environment.responses_when_stored.max(put.responses);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use prometheus_dynamodb::internals::families::exact_sum::ExactSum;
    use prometheus_dynamodb::internals::families::{Families, Family, FamilyKey, Kind, Series, Value};
    use prometheus_dynamodb::internals::wire;
    use serde_json::json;

    use super::*;

    /// Returns a put of a snapshot in which `jobs_total` has this value.
    fn put(seq: u64, jobs: f64) -> Call {
        let key = FamilyKey { name: "jobs_total".into(), kind: Kind::Counter, label_names: Vec::new() };
        let value = Value::Sum(ExactSum::of([jobs]));
        let series = BTreeMap::from([(Vec::new(), Series { created_at_ms: 0, value })]);
        let family = Family { series, ..Family::default() };
        let encoded = wire::encode(&Families::from([(key, family)]), 0).unwrap();
        let item = json!({
            "sk": { "S": "writer#1" },
            "seq": { "N": seq.to_string() },
            "format": { "N": encoded.format.to_string() },
            "families": { "B": STANDARD.encode(encoded.bytes) },
        });
        Call { caller: "jobs1".into(), operation: "PutItem".into(), table: "stats".into(), item }
    }

    #[test]
    fn an_answer_that_is_overtaken_takes_nothing_back() {
        let published = Arc::new(Published::default());
        let (first, second) = (put(1, 3.0), put(2, 5.0));
        published.sent(1, &first);
        published.sent(2, &second);
        assert_eq!(Published::sent(&published), Totals::from([("jobs_total".to_owned(), 5.0)]));
        published.answered(2, &second, Some(200));
        published.answered(1, &first, Some(200));
        assert_eq!(published.unreadable(), []);
        assert_eq!(published.stored(), Totals::from([("jobs_total".to_owned(), 5.0)]));
        assert_eq!(published.stored_by("jobs1"), published.stored());
        assert_eq!(published.formats().values().sum::<u64>(), 2, "both are stored");
    }
}
