//! Runs the scenario files. Each describes one interleaving in words, with the total that a scrape would show after
//! each step.
//!
//! The files are in the folder `scenarios` of this crate. They run on the [`Protocol`] of the model check, and so on
//! production code. A line is a step, `=>`, and the total. Text after a `#` is for the reader.

use std::path::{Path, PathBuf};

use stateright::Model;

use super::{Action, Protocol, Request, State, gc, total_at_once};
use crate::model::replay::{Progress, PublishStep};
use crate::protocol::condition::PutCondition;

#[test]
fn every_scenario_is_as_it_is_told() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 8, "{files:?}");
    for file in files {
        run(&file);
    }
}

fn run(file: &Path) {
    let protocol = Protocol {
        environments: 2,
        publishes: u8::MAX,
        published: false,
        gc_runs: 2,
        units: u64::MAX / 2,
        duplicates: true,
        gc_pages: false,
        parts: file.file_name().is_some_and(|name| name.to_string_lossy().contains("parts")),
        months: true,
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
        let action = action(step.trim(), &state, protocol.parts)
            .unwrap_or_else(|| panic!("{place}: {:?} is not possible", step.trim()));
        let mut possible = Vec::new();
        protocol.actions(&state, &mut possible);
        assert!(possible.contains(&action), "{place}: {action:?} is not among {possible:?}");
        state = protocol.next_state(&state, action).unwrap();
        assert_eq!(state.wrong, None, "{place}");
        assert_eq!(total_at_once(&state.items).unwrap().to_string(), total.trim(), "{place}: the total");
    }
}

fn action(step: &str, state: &State, parts: bool) -> Option<Action> {
    let (who, what) = step.split_once(' ')?;
    let environment = |name: &str| ["a", "b"].iter().position(|known| *known == name);
    Some(match (who, what) {
        ("time", "passes") => Action::TimePasses,
        ("month", "passes") => Action::MonthPasses { graves_expire: true },
        ("scrape", "begins") => Action::BeginScrape,
        ("scrape", "reads") => Action::StepScrape,
        ("gc1" | "gc2", what) => gc_action(usize::from(who == "gc2"), what, state, parts)?,
        (name, "publishes") => Action::Publish(environment(name)?),
        (name, "gives up waiting") => Action::GiveUp(environment(name)?),
        (name, "reads its grave") => Action::ReadGrave(environment(name)?),
        (name, what) => {
            let number = environment(name)?;
            let flight = |wanted: &dyn Fn(&super::Flight) -> bool| {
                state.flights.iter().position(|flight| flight.environment == number && wanted(flight))
            };
            let fences = matches!(state.awaited(number), Some(PublishStep::Put { sealed: true, .. }));
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

/// Returns the action for a step of a gc run, if the run can do it next.
fn gc_action(number: usize, what: &str, state: &State, parts: bool) -> Option<Action> {
    match what {
        "reads the base" => return Some(Action::BeginGc(number)),
        "crashes" => return Some(Action::CrashGc(number)),
        _ => {}
    }
    let Progress::Waiting(requests) = gc(&state.gc_runs[number].as_ref()?.exchanges, parts) else { return None };
    let told = |request: &Request| match request {
        Request::Base => false,
        Request::Part(_) => what == "reads a part",
        Request::Parts => what == "looks for parts",
        Request::PutPart(_) => what == "puts a part",
        Request::NoteUnnamed(..) => what == "notes that a part is unnamed",
        Request::DeletePart(_) => what == "deletes a part",
        Request::Snapshots => what == "reads the snapshots",
        Request::Seal(..) => what == "seals",
        Request::PutBase(_) => what == "folds or forgets",
        Request::PutGrave(_) => what == "puts the grave",
        Request::Delete(_) => what == "deletes the snapshot",
        _ => false,
    };
    Some(Action::StepGc(number, requests.iter().position(told)?))
}
