//! Scenario files: one interleaving each, as it would be told, with what a scrape would show after each step.
//!
//! They are in the folder `scenarios` of this crate, and run on the [`Protocol`] of the model check, and so on production
//! code. A line is a step, `=>`, and the total; what follows a `#` is for the reader.

use std::path::{Path, PathBuf};

use stateright::Model;

use super::{Action, Awaiting, Protocol, Request, State, gc, total_at_once};
use crate::model::replay::Progress;
use crate::protocol::condition::PutCondition;

#[test]
fn every_scenario_is_as_it_is_told() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 5, "{files:?}");
    for file in files {
        run(&file);
    }
}

fn run(file: &Path) {
    let protocol = Protocol {
        environments: 2,
        publishes: u8::MAX,
        gc_runs: 2,
        units: u64::MAX / 2,
        duplicates: true,
        gc_pages: false,
        flaw: None,
    };
    let mut state = protocol.init_states().remove(0);
    for (number, line) in std::fs::read_to_string(file).unwrap().lines().enumerate() {
        let told = line.split('#').next().unwrap_or_default().trim();
        if told.is_empty() {
            continue;
        }
        let place = format!("{}:{}", file.display(), number + 1);
        let (step, total) = told.split_once("=>").unwrap_or_else(|| panic!("{place}: no => in {told:?}"));
        let action =
            action(step.trim(), &state).unwrap_or_else(|| panic!("{place}: {:?} is not possible", step.trim()));
        let mut possible = Vec::new();
        protocol.actions(&state, &mut possible);
        assert!(possible.contains(&action), "{place}: {action:?} is not among {possible:?}");
        state = protocol.next_state(&state, action).unwrap();
        assert_eq!(state.wrong, None, "{place}");
        assert_eq!(total_at_once(&state.items).to_string(), total.trim(), "{place}: the total");
    }
}

fn action(step: &str, state: &State) -> Option<Action> {
    let (who, what) = step.split_once(' ')?;
    let environment = |name: &str| ["a", "b"].iter().position(|known| *known == name);
    Some(match (who, what) {
        ("time", "passes") => Action::TimePasses,
        ("scrape", "begins") => Action::BeginScrape,
        ("scrape", "reads") => Action::StepScrape,
        ("gc1" | "gc2", what) => gc_action(usize::from(who == "gc2"), what, state)?,
        (name, "publishes") => Action::Publish(environment(name)?),
        (name, "gives up waiting") => Action::GiveUp(environment(name)?),
        (name, "reads its grave") => Action::ReadGrave(environment(name)?),
        (name, what) => {
            let number = environment(name)?;
            let flight = |wanted: &dyn Fn(&super::Flight) -> bool| {
                state.flights.iter().position(|flight| flight.environment == number && wanted(flight))
            };
            let fences = state.environments[number].awaiting == Some(Awaiting::Fence);
            match what {
                "has its put stored or refused" if !fences => Action::Land(flight(&|flight| flight.awaited)?),

                "has its fence stored or refused" if fences => Action::Land(flight(&|flight| flight.awaited)?),
                "has an old first put arrive" => {
                    Action::Land(flight(&|flight| !flight.awaited && flight.condition == PutCondition::Absent)?)
                }
                "has an old put arrive" => Action::Land(flight(&|flight| !flight.awaited)?),
                _ => return None,
            }
        }
    })
}

/// The next request of a gc run, if it is the one that is told.
fn gc_action(number: usize, what: &str, state: &State) -> Option<Action> {
    match what {
        "reads the base" => return Some(Action::BeginGc(number)),
        "crashes" => return Some(Action::CrashGc(number)),
        _ => {}
    }
    let Progress::Waiting(requests) = gc(&state.gc_runs[number].as_ref()?.exchanges) else { return None };
    let told = |request: &Request| match request {
        Request::Base => false,
        Request::Snapshots => what == "reads the snapshots",
        Request::Seal(..) => what == "seals",
        Request::PutBase(_) => what == "folds or forgets",
        Request::PutGrave(_) => what == "puts the grave",
        Request::Delete(_) => what == "deletes the snapshot",
    };
    Some(Action::StepGc(number, requests.iter().position(told)?))
}
