//! What the environments published, as the proxy sees it pass: the other side of the truth.
//!
//! At any time every counter lies between what is known to be stored and that plus what is on its way. A scrape that
//! begins and ends at known times must lie between the two as well, whatever gc does in the meantime.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use super::totals::{self, Structures, Totals};
use crate::kit::fault_proxy::{Call, Observer};
use crate::kit::runtime_api::{RuntimeApi, Tally};

/// All that was published.
#[derive(Debug, Default)]
pub struct Published {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    environments: BTreeMap<String, Environment>,
    /// By the sort keys of the snapshots.
    writers: BTreeMap<String, Writer>,
    /// What was put, stored or not: snapshots that name it are put only once it is stored.
    structures: Structures,
    /// The sum of what all writers have stored.
    stored: Totals,
    /// How many snapshots were stored in each format.
    formats: BTreeMap<String, u64>,
    /// By whom, and why.
    unreadable: Vec<(String, String)>,
}

#[derive(Debug)]
struct Environment {
    function: &'static str,
    api: Arc<RuntimeApi>,
    /// How many responses the Runtime API had received when the last snapshot that was stored passed the proxy.
    responses_when_stored: u64,
}

#[derive(Debug, Default)]
struct Writer {
    environment: String,
    stored: Totals,
    on_their_way: BTreeMap<u64, OnItsWay>,
}

#[derive(Debug)]
struct OnItsWay {
    totals: Totals,
    responses: u64,
}

impl Published {
    /// From now on calls by `name` are those of the environment with this Runtime API.
    pub fn add_environment(&self, name: &str, function: &'static str, api: Arc<RuntimeApi>) {
        self.state().environments.insert(name.to_owned(), Environment { function, api, responses_when_stored: 0 });
    }

    /// What is known to be stored.
    pub fn stored(&self) -> Totals {
        self.state().stored.clone()
    }

    /// The most that can be stored by now.
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

    /// What one environment has stored, under all of its ids.
    pub fn stored_by(&self, environment: &str) -> Totals {
        let mut stored = Totals::new();
        for writer in self.state().writers.values().filter(|writer| writer.environment == environment) {
            totals::add(&mut stored, &writer.stored);
        }
        stored
    }

    /// How many responses the environment had given when the last snapshot that it has stored passed by.
    pub fn responses_when_stored(&self, environment: &str) -> u64 {
        self.state().environments.get(environment).map_or(0, |environment| environment.responses_when_stored)
    }

    /// How many invocations an environment responded to and has not published.
    pub fn lost(&self, environment: &str) -> u64 {
        self.more_than_published(environment, |tally| tally.responses)
    }

    /// How many invocations an environment has begun and not published.
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

    /// How many environments have gone on under a fresh id.
    pub fn environments_with_fresh_id(&self) -> usize {
        let state = self.state();
        let mut ids: BTreeMap<&str, u32> = BTreeMap::new();
        for writer in state.writers.values().filter(|writer| !writer.stored.is_empty()) {
            *ids.entry(&writer.environment).or_default() += 1;
        }
        ids.values().filter(|ids| **ids > 1).count()
    }

    /// How many snapshots were stored in each format.
    pub fn formats(&self) -> BTreeMap<String, u64> {
        self.state().formats.clone()
    }

    /// Snapshots that could not be decoded: by whom, and why.
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
        // An empty sealed snapshot, by which a writer makes sure that its first put cannot arrive any more: nothing
        // new.
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
        let State { environments, writers, stored, formats, .. } = &mut *state;
        let Some(writer) = writers.get_mut(key) else { return };
        let Some(put) = writer.on_their_way.remove(&number) else { return };
        if status == Some(200) {
            let format = call.item["format"]["N"].as_str().unwrap_or_default();
            *formats.entry(format.to_owned()).or_default() += 1;
            for (series, value) in &put.totals {
                *stored.entry(series.clone()).or_default() += value - writer.stored.get(series).unwrap_or(&0.0);
            }
            writer.stored = put.totals;
            if let Some(environment) = environments.get_mut(&call.caller) {
                environment.responses_when_stored = environment.responses_when_stored.max(put.responses);
            }
        }
    }
}
