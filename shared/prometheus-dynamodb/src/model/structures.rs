//! Checks structures by model checking: nothing that can be read ever names a structure that is gone.
//!
//! Environments make sure that their structure is stored, and publish snapshots that name it. They go on to another
//! structure or under a fresh id, or stop for good at any moment. Gc runs overlap, and read item by item. A scraper
//! that has kept nothing reads one item after another. All decisions are made by production code: [`see_to`],
//! [`compact_whole`], [`read`] and [`Scrape`], through [`replay`].
//!
//! Each [`Flaw`] takes one guard away, and the check must find it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Instant;

use stateright::{Checker, Model, Property};
use strum::VariantArray;

use super::replay::{Exchange, Progress, Request, Response, replay};
use super::{GRACE, IDLE, START_MS};
use crate::compact::compact_whole;
use crate::families::exact_sum::ExactSum;
use crate::families::{Families, Kind, Value};
use crate::protocol::condition::PutCondition;
use crate::protocol::structure::STRUCTURE_LIFE;
use crate::protocol::writer::PutOutcome;
use crate::publish::encoder::see_to;
use crate::scrape::{Scrape, read, read_shard};
use crate::settings::TableSettings;
use crate::structures::Structures;
use crate::table::item::{Encoded, Snapshot, WriterId};
use crate::table::items::Items;
use crate::table::wire::{self, NamedStructure};
use crate::table::{PublishStats, TableTime};
use crate::testing::one;

/// One unit of time, in milliseconds. A structure is deleted in the third unit after it was renewed. A writer checks
/// and renews it in each unit. A request to the table is carried out in the unit in which it was sent, or in the next
/// one. A scrape ends in the unit in which it began.
const UNIT_MS: u64 = STRUCTURE_LIFE.as_millis() as u64 / 2;

/// Name of the only metric of each structure.
const STRUCTURES: [&str; 2] = ["a", "b"];

/// A guard that is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
enum Flaw {
    /// A writer names a structure without making sure that it is stored.
    NotSeenTo,
    /// A writer names a structure that was renewed long ago.
    NotRenewed,
    /// A structure that no snapshot names is deleted at once.
    NoLife,
    /// A structure is deleted although it was renewed.
    BlindDelete,
    /// A gc run takes a part of the snapshots for all of them.
    ReadInPart,
    /// A gc run judges the age of structures by the time after it has read the snapshots, instead of the time before.
    ReadAtTheEnd,
    /// A scrape that misses a structure does not look again.
    NoSecondLook,
}

#[derive(Debug, Clone)]
struct Shelf {
    environments: usize,
    /// Number of times that each environment publishes.
    publishes: u8,
    gc_runs: usize,
    units: u64,
    scrapes: bool,
    /// Set if environments can be taken for dead at any moment. Otherwise none is folded.
    seals: bool,
    flaw: Option<Flaw>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    now_ms: u64,
    items: Items,
    environments: Vec<Environment>,
    gc_runs: Vec<Option<Run>>,
    scrape: Option<Run>,
    wrong: Option<&'static str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Environment {
    id: u8,
    seq: u64,
    publishes: u8,
    /// The structure that the environment last made sure of, and the time at which it did.
    seen: Option<(usize, u64)>,
    publish: Option<Publish>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Publish {
    structure: usize,
    sees_to_it: bool,
    snapshot: Snapshot,
    condition: PutCondition,
    exchanges: Vec<Exchange>,
    /// Time at which the request that is under way was sent.
    sent_ms: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Run {
    exchanges: Vec<Exchange>,
    page: Option<Vec<Snapshot>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Action {
    TimePasses,
    /// An environment begins to publish a snapshot that names this structure.
    Publish(usize, usize),
    StepPublish(usize),
    BeginGc(usize),
    StepGc(usize, usize),
    CrashGc(usize),
    BeginScrape,
    StepScrape,
}

impl Model for Shelf {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let environment = Environment { id: 0, seq: 0, publishes: 0, seen: None, publish: None };
        vec![State {
            now_ms: 0,
            items: Items::default(),
            environments: vec![environment; self.environments],
            gc_runs: vec![None; self.gc_runs],
            scrape: None,
            wrong: None,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.wrong.is_some() {
            return;
        }
        if state.now_ms < self.units * UNIT_MS {
            actions.push(Action::TimePasses);
        }
        for (number, environment) in state.environments.iter().enumerate() {
            match environment.publish {
                None if environment.publishes < self.publishes => {
                    actions.extend((0..STRUCTURES.len()).map(|structure| Action::Publish(number, structure)));
                }
                None => {}
                Some(_) => actions.push(Action::StepPublish(number)),
            }
        }
        for (number, run) in state.gc_runs.iter().enumerate() {
            match run {
                None => actions.push(Action::BeginGc(number)),
                Some(run) => {
                    let Progress::Waiting(requests) = gc(&run.exchanges) else { unreachable!("it was taken out") };
                    actions.extend((0..requests.len()).map(|request| Action::StepGc(number, request)));
                    actions.push(Action::CrashGc(number));
                }
            }
        }
        if self.scrapes {
            actions.push(if state.scrape.is_some() { Action::StepScrape } else { Action::BeginScrape });
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::TimePasses => {
                state.now_ms += UNIT_MS;
                // The scrape has taken too long.
                state.scrape = None;
                let now_ms = state.now_ms;
                for environment in &mut state.environments {
                    let late = environment.publish.take_if(|publish| publish.sent_ms + UNIT_MS < now_ms);
                    // A first put that cannot land any more is fenced off.
                    if late.is_some_and(|publish| publish.condition == PutCondition::Absent) {
                        (environment.id, environment.seq, environment.seen) = (environment.id + 1, 0, None);
                    }
                }
            }
            Action::Publish(number, structure) => self.begin_publish(&mut state, number, structure),
            Action::StepPublish(number) => self.step_publish(&mut state, number),
            Action::BeginGc(number) => {
                state.gc_runs[number] = Some(Run::default());
                self.step_gc(&mut state, number, 0);
            }
            Action::StepGc(number, request) => self.step_gc(&mut state, number, request),
            Action::CrashGc(number) => state.gc_runs[number] = None,
            Action::BeginScrape => {
                state.scrape = Some(Run::default());
                self.step_scrape(&mut state);
            }
            Action::StepScrape => self.step_scrape(&mut state),
        }
        let named = |snapshot: &Snapshot| wire::structure_of(&snapshot.families).unwrap();
        if state.items.snapshots(0, None).filter_map(named).any(|id| state.items.structure(0, id).is_none()) {
            state.wrong = Some("a snapshot names a structure that is gone");
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![Property::always(SAFE, |_, state: &State| state.wrong.is_none())];
        if self.flaw.is_none() && self.seals {
            properties.extend([
                Property::sometimes("a structure is deleted", |_, state: &State| {
                    state.items.structures(0).is_empty() && state.environments.iter().any(|one| one.seen.is_some())
                }),
                Property::sometimes("a writer is folded", |_, state: &State| state.items.base(0).is_some()),
            ]);
            // The first publish is under the first id.
            if self.publishes > 1 {
                properties.push(Property::sometimes("a writer goes on under a fresh id", |_, state: &State| {
                    state.environments.iter().any(|one| one.id > 0 && one.seq > 0)
                }));
            }
        }
        properties
    }
}

const SAFE: &str = "no snapshot names a structure that is gone, and no scrape misses one";

impl Shelf {
    fn begin_publish(&self, state: &mut State, number: usize, structure: usize) {
        let now_ms = state.now_ms;
        let environment = &mut state.environments[number];
        environment.publishes += 1;
        environment.seq += 1;
        let condition = if environment.seq == 1 { PutCondition::Absent } else { PutCondition::Older };
        let snapshot = Snapshot {
            writer: writer_id(number, environment.id),
            shard: 0,
            seq: environment.seq,
            function: String::new(),
            version: String::new(),
            // A snapshot from the future is live.
            updated_at_ms: if self.seals { 0 } else { u64::MAX },
            sealed_at_ms: None,
            closed: false,
            families: known(structure).0.encode(&families(structure)).unwrap().encoded,
        };
        // A structure that was checked in this unit is not checked again.
        let sees_to_it = environment.seen != Some((structure, now_ms)) && self.flaw != Some(Flaw::NotSeenTo);
        let publish = Publish { structure, sees_to_it, snapshot, condition, exchanges: Vec::new(), sent_ms: now_ms };
        environment.publish = Some(publish);
        self.step_publish(state, number);
    }

    fn step_publish(&self, state: &mut State, number: usize) {
        let now_ms = state.now_ms;
        let environment = &mut state.environments[number];
        let mut publish = environment.publish.take().expect("one is under way");
        let Progress::Waiting(mut requests) = publish_by(&publish) else { unreachable!("it was taken out") };
        let request = requests.swap_remove(0);
        let response = self.answer(&mut state.items, &mut Run::default(), &request, false).expect("it is no query");
        if let Response::Put(outcome) = &response {
            if *outcome == PutOutcome::Stored {
                let before = environment.seen.filter(|_| !publish.sees_to_it);
                environment.seen = before.or(Some((publish.structure, now_ms)));
            } else {
                // The snapshot is sealed or gone.
                (environment.id, environment.seq, environment.seen) = (environment.id + 1, 0, None);
            }
            return;
        }
        publish.exchanges.push(Exchange { request, response, at_ms: now_ms + START_MS });
        publish.sent_ms = now_ms;
        environment.publish = Some(publish);
    }

    fn step_gc(&self, state: &mut State, number: usize, request: usize) {
        let mut run = state.gc_runs[number].take().expect("it runs");
        let Progress::Waiting(mut requests) = gc(&run.exchanges) else { unreachable!("it was taken out") };
        let request = requests.swap_remove(request);
        if let Some(mut response) = self.answer(&mut state.items, &mut run, &request, true) {
            match (&mut response, self.flaw) {
                (Response::Structures(structures), Some(Flaw::NoLife)) => {
                    structures.iter_mut().for_each(|structure| structure.renewed_at_ms = 0);
                }
                (Response::Snapshots(snapshots), Some(Flaw::ReadInPart)) => snapshots.clear(),
                // The time is set as if the structures had been listed only now.
                (Response::Snapshots(_), Some(Flaw::ReadAtTheEnd)) => {
                    let listed = |one: &&mut Exchange| one.request == Request::Structures;
                    run.exchanges.iter_mut().filter(listed).for_each(|one| one.at_ms = state.now_ms + START_MS);
                }
                _ => {}
            }
            run.exchanges.push(Exchange { request, response, at_ms: state.now_ms + START_MS });
        }
        state.gc_runs[number] = matches!(gc(&run.exchanges), Progress::Waiting(_)).then_some(run);
    }

    fn step_scrape(&self, state: &mut State) {
        let mut run = state.scrape.take().expect("it runs");
        let looks_again = self.flaw != Some(Flaw::NoSecondLook);
        let Progress::Waiting(mut requests) = scrape(&run.exchanges, looks_again) else {
            unreachable!("it was taken out")
        };
        let request = requests.swap_remove(0);
        if let Some(response) = self.answer(&mut state.items, &mut run, &request, true) {
            run.exchanges.push(Exchange { request, response, at_ms: 0 });
        }
        match scrape(&run.exchanges, looks_again) {
            Progress::Waiting(_) => state.scrape = Some(run),
            Progress::Ended(true) => {}
            Progress::Ended(false) => state.wrong = Some("a scrape misses a structure"),
        }
    }

    fn answer(&self, items: &mut Items, run: &mut Run, request: &Request, in_pages: bool) -> Option<Response> {
        Some(match request {
            Request::Snapshots if in_pages => {
                let page = run.page.get_or_insert_default();
                if let Some(next) = items.snapshots(0, page.last().map(|last| last.writer)).next() {
                    page.push(next.clone());
                    return None;
                }
                Response::Snapshots(run.page.take().expect("it was put there"))
            }
            Request::Base => Response::Base(items.base(0).cloned()),
            Request::Parts => Response::Parts(Vec::new()),
            Request::Seal(snapshot, at_ms) => Response::Written(items.seal(snapshot, *at_ms)),
            Request::PutBase(base) => Response::Written(items.put_base(0, base)),
            Request::PutGrave(snapshot) => Response::Written(items.put_grave(snapshot)),
            Request::Delete(snapshot) => Response::Written(items.delete_snapshot(snapshot)),
            Request::PutSnapshot(snapshot, condition) => Response::Put(items.put_snapshot(snapshot, *condition)),
            Request::Structure(id) => {
                let mut item = items.structure(0, *id).cloned();
                if self.flaw == Some(Flaw::NotRenewed) {
                    item.iter_mut().for_each(|item| item.renewed_at_ms = u64::MAX);
                }
                Response::Structure(item)
            }
            Request::PutStructure(id, structure) => {
                items.put_structure(0, *id, structure);
                Response::Written(true)
            }
            Request::Structures => Response::Structures(items.structures(0)),
            Request::DeleteStructure(id, renewed_at_ms) => {
                let stored = items.structure(0, *id).map(|item| item.renewed_at_ms);
                let blindly = matches!(self.flaw, Some(Flaw::NoLife | Flaw::BlindDelete));
                let renewed_at_ms = stored.filter(|_| blindly).unwrap_or(*renewed_at_ms);
                Response::Written(items.delete_structure(0, *id, renewed_at_ms))
            }
            other => unreachable!("no one asks for {other:?}"),
        })
    }
}

fn writer_id(environment: usize, number: u8) -> WriterId {
    let mut bytes = [0; 16];
    bytes[0] = u8::try_from(environment).unwrap();
    bytes[1] = if environment.is_multiple_of(2) { 255 - number } else { number };
    WriterId::from_bytes(bytes)
}

fn families(structure: usize) -> Families {
    one(STRUCTURES[structure], Kind::Counter, Value::Sum(ExactSum::of([1.0])))
}

fn known(structure: usize) -> (NamedStructure, Encoded) {
    NamedStructure::of(&families(structure)).unwrap()
}

/// Progress of scrapes by their exchanges: of those that do not look again, and of those that do.
type Scrapes = [HashMap<Vec<Exchange>, Progress<bool>>; 2];

thread_local! {
    static GC: RefCell<HashMap<Vec<Exchange>, Progress<()>>> = RefCell::default();
    static SCRAPES: RefCell<Scrapes> = RefCell::default();
}

fn publish_by(publish: &Publish) -> Progress<()> {
    replay(&publish.exchanges, |script| async move {
        let (structure, stored) = known(publish.structure);
        if publish.sees_to_it {
            see_to(&script, 0, &structure, &stored).await.unwrap();
        }
        script.put_snapshot(&publish.snapshot, publish.condition).await.unwrap();
    })
}

fn gc(exchanges: &[Exchange]) -> Progress<()> {
    if let Some(known) = GC.with_borrow(|known| known.get(exchanges).cloned()) {
        return known;
    }
    let settings = TableSettings::builder("stats").writer_idle(IDLE).grace(GRACE).build().unwrap();
    let progress = replay(exchanges, |script| async move {
        compact_whole(&script.with_structures(), &settings, usize::MAX).await.unwrap();
    });
    GC.with_borrow_mut(|known| known.insert(exchanges.to_vec(), progress.clone()));
    progress
}

/// Replays a scrape by a reader that has kept nothing. Its result says whether the scrape found all structures.
fn scrape(exchanges: &[Exchange], looks_again: bool) -> Progress<bool> {
    let known = |known: &Scrapes| known[usize::from(looks_again)].get(exchanges).cloned();
    if let Some(known) = SCRAPES.with_borrow(known) {
        return known;
    }
    let progress = replay(exchanges, |script| async move {
        let structures = Structures::default();
        let contents = if looks_again {
            read(&script, &structures).await.unwrap().1.remove(0).1
        } else {
            read_shard(&script, &structures, 0).await.unwrap()
        };
        Scrape::default().add(0, contents, script.now_ms(), IDLE).is_ok()
    });
    SCRAPES.with_borrow_mut(|known| known[usize::from(looks_again)].insert(exchanges.to_vec(), progress.clone()));
    progress
}

const SMALL: Shelf =
    Shelf { environments: 1, publishes: 2, gc_runs: 1, units: 3, scrapes: false, seals: true, flaw: None };

const SCRAPED: Shelf = Shelf { scrapes: true, seals: false, ..SMALL };

fn check(shelf: Shelf) -> impl Checker<Shelf> {
    let start = Instant::now();
    println!("{shelf:?}");
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let checker = shelf.checker().threads(threads).spawn_bfs().join();
    let (states, transitions) = (checker.unique_state_count(), checker.state_count());
    println!(
        "  {states} states, {transitions} transitions, at most {} steps, {:?}",
        checker.max_depth(),
        start.elapsed()
    );
    checker
}

#[test]
fn no_snapshot_names_a_structure_that_is_gone() {
    let mut instances = vec![SMALL, Shelf { scrapes: true, ..SMALL }];
    if std::env::var("MODEL_CHECK").is_ok() {
        instances.push(SCRAPED);
        instances.push(Shelf { environments: 2, publishes: 1, ..SMALL });
    }
    for shelf in instances {
        check(shelf).assert_properties();
    }
}

#[test]
fn without_any_one_guard_of_structures_one_does() {
    for &flaw in Flaw::VARIANTS {
        // Only a scrape misses a structure, and only if the writer that names it was not folded in between.
        let small = if flaw == Flaw::NoSecondLook { SCRAPED } else { SMALL };
        let checker = check(Shelf { flaw: Some(flaw), ..small });
        let path = checker.discovery(SAFE).unwrap_or_else(|| panic!("{flaw:?} is not found out"));
        println!("  {}: {:?}", path.last_state().wrong.unwrap_or_default(), path.into_actions());
    }
}
