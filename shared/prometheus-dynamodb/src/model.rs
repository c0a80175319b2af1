//! The model check: every interleaving of a small instance of the protocol, explored by `stateright`.
//!
//! Environments count, publish, give up waiting, and go on; puts are delayed, duplicated, and lose their response; gc runs
//! overlap, are slow, and crash; a scraper reads one item after another in between. Time passes at any moment. Nothing
//! needs to happen: an environment that does nothing more has crashed, or is frozen.
//!
//! What decides is the production code: [`Writer`] for an environment, [`compact_by`] for a gc run,
//! [`read`] and [`Scrape`] for a scrape (both by [`replay`]), and [`Items`] for the table, which is also the inside of
//! [`MemoryStatsTable`](crate::MemoryStatsTable) and so is held to DynamoDB's behaviour by the contract tests.
//!
//! Each [`Flaw`] takes one guard away, and must be found out.

mod replay;
mod scenarios;

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use stateright::{Checker, Model, Property};

use crate::compact::compact_by;
use crate::families::exact_sum::ExactSum;
use crate::families::{Families, Kind, Value};
use crate::protocol::condition::PutCondition;
use crate::protocol::writer::{PutOutcome, Step, Writer};
use crate::scrape::{Scrape, read};
use crate::settings::TableSettings;
use crate::table::item::{Encoded, Snapshot, WriterId};
use crate::table::items::Items;
use crate::table::wire;
use crate::testing::one;
use replay::{Exchange, Progress, Request, Response, now_ms, replay};

const START_MS: u64 = 100;
/// A millisecond is one unit of time. A snapshot is buried in the second unit after its sealing, and its writer forgotten in
/// the second after its burial was found. A scrape, which may take half a grace, ends in the unit in which it began.
const GRACE: Duration = Duration::from_millis(1);
/// Any writer may be taken for dead at any moment.
const IDLE: Duration = Duration::ZERO;
const UPDATED_MS: u64 = 0;
/// How long a put that asks for nothing to be stored may be under way: AWS refuses what was signed long ago. A put that
/// asks for a stored snapshot may be under way for ever.
const FIRST_PUT_LIFE_MS: u64 = 1;

/// A guard of the protocol that is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    /// A put of a snapshot replaces whatever is stored.
    BlindPut,
    /// A sealed snapshot is buried at once.
    NoGraceAtBurial,
    /// A buried writer is forgotten at once.
    NoGraceAtForgetting,
    /// A base does not say whom it has folded.
    NoFolded,
    /// A scrape reads the base first.
    BaseFirst,
    /// A first put may land at any later time.
    ImmortalFirstPut,
    /// A buried snapshot is not kept.
    NoGrave,
}

impl Flaw {
    const ALL: [Self; 7] = [
        Self::BlindPut,
        Self::NoGraceAtBurial,
        Self::NoGraceAtForgetting,
        Self::NoFolded,
        Self::BaseFirst,
        Self::ImmortalFirstPut,
        Self::NoGrave,
    ];
}

/// The size of the instance.
#[derive(Debug, Clone)]
struct Protocol {
    environments: usize,
    /// How often each environment begins a publish: of one count more, or if the last one failed, of the same again.
    publishes: u8,
    /// How many gc runs there are at once.
    gc_runs: usize,
    /// For how many units time goes on.
    units: u64,
    /// Whether puts can be duplicated on their way.
    duplicates: bool,
    /// Whether a gc run, too, reads one item after another.
    gc_pages: bool,
    flaw: Option<Flaw>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    now_ms: u64,
    items: Items,
    environments: Vec<Environment>,
    flights: Vec<Flight>,
    gc_runs: Vec<Option<Run>>,
    scrape: Option<Scraping>,
    fences: u8,
    /// What was wrong with a scrape.
    wrong: Option<&'static str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Environment {
    writer: Writer<u64>,
    /// How many ids it has had.
    ids: u8,
    publishes: u8,
    counted: u64,
    acknowledged: u64,
    awaiting: Option<Awaiting>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Awaiting {
    /// The answer to a put of the values at this count.
    Put(u64),
    Fence,
    Grave,
}

/// A put that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Flight {
    environment: usize,
    snapshot: Snapshot,
    condition: PutCondition,
    sent_ms: u64,
    /// Whether the environment still waits for its answer.
    awaited: bool,
}

/// Production code that reads and writes the table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Run {
    exchanges: Vec<Exchange>,
    /// What a query has read so far: it is not isolated, and others write between its items.
    page: Option<Vec<Snapshot>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Scraping {
    run: Run,
    /// What a scrape would have shown when it began.
    at_least: u64,
    /// The base as it was then, for [`Flaw::BaseFirst`].
    first_base: Option<Response>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Action {
    TimePasses,
    Publish(usize),
    Land(usize),
    LandAndStay(usize),
    GiveUp(usize),
    ReadGrave(usize),
    BeginGc(usize),
    StepGc(usize, usize),
    CrashGc(usize),
    BeginScrape,
    StepScrape,
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let environments = (0..self.environments).map(|number| Environment {
            writer: Writer::new(writer_id(number, 0)),
            ids: 1,
            publishes: 0,
            counted: 0,
            acknowledged: 0,
            awaiting: None,
        });
        vec![State {
            now_ms: START_MS,
            items: Items::default(),
            environments: environments.collect(),
            flights: Vec::new(),
            gc_runs: vec![None; self.gc_runs],
            scrape: None,
            fences: 0,
            wrong: None,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.wrong.is_some() {
            return;
        }
        if state.now_ms < START_MS + self.units {
            actions.push(Action::TimePasses);
        }
        for (number, environment) in state.environments.iter().enumerate() {
            match environment.awaiting {
                None if environment.publishes < self.publishes => actions.push(Action::Publish(number)),
                None => {}
                Some(Awaiting::Grave) => actions.push(Action::ReadGrave(number)),
                Some(Awaiting::Put(_) | Awaiting::Fence) => actions.push(Action::GiveUp(number)),
            }
        }
        for number in 0..state.flights.len() {
            actions.push(Action::Land(number));
            if self.duplicates {
                actions.push(Action::LandAndStay(number));
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
        actions.push(if state.scrape.is_some() { Action::StepScrape } else { Action::BeginScrape });
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::TimePasses => self.time_passes(&mut state),
            Action::Publish(number) => state.publish(number),
            Action::Land(flight) => {
                let flight = state.flights.remove(flight);
                self.land(&mut state, &flight);
            }
            Action::LandAndStay(number) => {
                let flight = state.flights[number].clone();
                state.flights[number].awaited = false;
                self.land(&mut state, &flight);
            }
            Action::GiveUp(number) => {
                state.environments[number].awaiting = None;
                let own = state.flights.iter_mut().filter(|flight| flight.environment == number);
                own.for_each(|flight| flight.awaited = false);
            }
            Action::ReadGrave(number) => {
                let environment = &mut state.environments[number];
                let grave = state.items.grave(*environment.writer.id()).map(|grave| decoded(&grave));
                let step = environment.writer.after_grave(grave, writer_id(number, environment.ids));
                environment.ids += 1;
                state.follow(number, step);
            }
            // What has read nothing yet might as well begin later, so that each begins with its first step.
            Action::BeginGc(number) => {
                state.gc_runs[number] = Some(Run::default());
                self.step_gc(&mut state, number, 0);
            }
            Action::StepGc(number, request) => self.step_gc(&mut state, number, request),
            Action::CrashGc(number) => state.gc_runs[number] = None,
            Action::BeginScrape => {
                state.scrape = Some(Scraping {
                    run: Run::default(),
                    at_least: total_at_once(&state.items),
                    first_base: (self.flaw == Some(Flaw::BaseFirst))
                        .then(|| Response::Base(state.items.base(0).cloned())),
                });
                self.step_scrape(&mut state);
            }
            Action::StepScrape => self.step_scrape(&mut state),
        }
        // At each moment a scrape might take place that takes no time at all.
        state.judge(total_at_once(&last.items));
        if self.flaw != Some(Flaw::BlindPut) {
            state.forget_dead_flights();
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![Property::always(EXACT, |_, state: &State| state.wrong.is_none())];
        if self.flaw.is_none() && self.publishes > 1 {
            // What must be possible, or the rest proves nothing.
            properties.extend([
                Property::sometimes("a writer is folded", |_, state: &State| state.items.base(0).is_some()),
                Property::sometimes("a writer is forgotten", |_, state: &State| {
                    state.items.base(0).is_some_and(|base| base.folded.is_empty())
                }),
                Property::sometimes("a writer goes on under a fresh id", |_, state: &State| {
                    state.environments.iter().any(|one| one.ids > 1 && one.acknowledged > 1)
                }),
                Property::sometimes("a writer fences its first put off", |_, state: &State| state.fences > 0),
            ]);
        }
        properties
    }
}

const EXACT: &str = "a scrape shows each count once, what was acknowledged among them, and never less than before";

impl Protocol {
    fn time_passes(&self, state: &mut State) {
        state.now_ms += 1;
        // It has taken too long.
        state.scrape = None;
        let now_ms = state.now_ms;
        let late = |flight: &Flight| {
            flight.condition == PutCondition::Absent
                && now_ms > flight.sent_ms + FIRST_PUT_LIFE_MS
                && self.flaw != Some(Flaw::ImmortalFirstPut)
        };
        for flight in state.flights.extract_if(.., |flight| late(flight)) {
            if flight.awaited {
                state.environments[flight.environment].awaiting = None;
            }
        }
    }

    /// The table does what a put asks for, and its environment learns of it if it still waits.
    fn land(&self, state: &mut State, flight: &Flight) {
        if self.flaw == Some(Flaw::BlindPut) {
            state.items.put_blindly(&flight.snapshot);
        }
        let outcome = match state.items.put_snapshot(&flight.snapshot, flight.condition) {
            _ if self.flaw == Some(Flaw::BlindPut) => PutOutcome::Stored,
            PutOutcome::Stored => PutOutcome::Stored,
            PutOutcome::Refused(stored) => {
                PutOutcome::Refused(stored.map(|(head, families)| (head, decoded(&families))))
            }
        };
        if !flight.awaited {
            return;
        }
        let environment = &mut state.environments[flight.environment];
        let step = match environment.awaiting.expect("it awaits this answer") {
            Awaiting::Put(counted) => {
                let step = environment.writer.after_put(outcome);
                if step == Step::Done {
                    environment.acknowledged = counted;
                }
                step
            }
            Awaiting::Fence => environment.writer.after_fence(outcome),
            Awaiting::Grave => unreachable!("a grave is read at once"),
        };
        state.follow(flight.environment, step);
    }

    fn step_gc(&self, state: &mut State, number: usize, request: usize) {
        let mut run = state.gc_runs[number].take().expect("it runs");
        let Progress::Waiting(mut requests) = gc(&run.exchanges) else { unreachable!("it was taken out") };
        let request = requests.swap_remove(request);
        if let Some(mut response) = self.answer(&mut state.items, &mut run, &request, self.gc_pages) {
            match (&mut response, self.flaw) {
                (Response::Snapshots(snapshots), Some(Flaw::NoGraceAtBurial)) => {
                    snapshots.iter_mut().filter_map(|one| one.sealed_at_ms.as_mut()).for_each(|at_ms| *at_ms = 0);
                }
                (Response::Base(Some(base)), Some(Flaw::NoGraceAtForgetting)) => {
                    base.folded.values_mut().flatten().for_each(|at_ms| *at_ms = 0);
                }
                _ => {}
            }
            // A run looks at the clock only after it has read all that it reads.
            let at_ms = if request == Request::Base { START_MS } else { state.now_ms };
            run.exchanges.push(Exchange { request, response, at_ms });
        }
        state.gc_runs[number] = matches!(gc(&run.exchanges), Progress::Waiting(_)).then_some(run);
    }

    fn step_scrape(&self, state: &mut State) {
        let mut scraping = state.scrape.take().expect("it runs");
        let run = &mut scraping.run;
        let Progress::Waiting(mut requests) = scrape(&run.exchanges) else { unreachable!("it was taken out") };
        let request = requests.swap_remove(0);
        if let Some(mut response) = self.answer(&mut state.items, run, &request, true) {
            if request == Request::Base {
                response = scraping.first_base.take().unwrap_or(response);
            }
            if let Response::Snapshots(snapshots) = &mut response {
                // What a total does not depend on is left out, so that states which differ only in it are one.
                snapshots.iter_mut().for_each(|one| (one.seq, one.sealed_at_ms) = (0, None));
            }
            run.exchanges.push(Exchange { request, response, at_ms: START_MS });
        }
        match scrape(&run.exchanges) {
            Progress::Waiting(_) => state.scrape = Some(scraping),
            Progress::Ended(total) => {
                let at_most = total_at_once(&state.items);
                if !(scraping.at_least..=at_most).contains(&total) {
                    state.wrong = Some("a scrape shows less than one before it or more than one after it");
                }
            }
        }
    }

    /// The table does what is asked. A query in pages takes a step for each item, and one to find that there is no more.
    fn answer(&self, items: &mut Items, run: &mut Run, request: &Request, in_pages: bool) -> Option<Response> {
        Some(match request {
            Request::Snapshots if !in_pages => Response::Snapshots(items.snapshots(0).cloned().collect()),
            Request::Snapshots => {
                let page = run.page.get_or_insert_default();
                let behind = |snapshot: &&Snapshot| page.last().is_none_or(|last| snapshot.writer > last.writer);
                if let Some(next) = items.snapshots(0).find(behind) {
                    page.push(next.clone());
                    return None;
                }
                Response::Snapshots(run.page.take().expect("it was put there"))
            }
            Request::Base => Response::Base(items.base(0).cloned()),
            Request::Seal(snapshot, at_ms) => Response::Written(items.seal(snapshot, *at_ms)),
            Request::PutBase(base) => {
                let mut base = base.clone();
                if self.flaw == Some(Flaw::NoFolded) {
                    base.folded.clear();
                }
                Response::Written(items.put_base(0, &base))
            }
            Request::PutGrave(_) if self.flaw == Some(Flaw::NoGrave) => Response::Written(true),
            Request::PutGrave(snapshot) => Response::Written(items.put_grave(snapshot)),
            Request::Delete(snapshot) => Response::Written(items.delete_snapshot(snapshot)),
        })
    }
}

impl State {
    fn publish(&mut self, number: usize) {
        let environment = &mut self.environments[number];
        environment.publishes += 1;
        if environment.counted == environment.acknowledged {
            environment.counted += 1;
        }
        let step = environment.writer.begin();
        self.follow(number, step);
    }

    /// What the publisher does at each of its writer's steps.
    fn follow(&mut self, number: usize, step: Step) {
        let environment = &mut self.environments[number];
        let (seq, condition, sealed_at_ms, content) = match step {
            Step::Put { seq, condition } => {
                environment.awaiting = Some(Awaiting::Put(environment.counted));
                (seq, condition, None, environment.counted - environment.writer.baseline())
            }
            Step::Fence { seq } => {
                self.fences = 1;
                environment.awaiting = Some(Awaiting::Fence);
                (seq, PutCondition::Absent, Some(self.now_ms), 0)
            }
            Step::ReadGrave => {
                environment.awaiting = Some(Awaiting::Grave);
                return;
            }
            Step::Done => {
                environment.awaiting = None;
                return;
            }
        };
        let snapshot = Snapshot {
            writer: *environment.writer.id(),
            shard: 0,
            seq,
            function: String::new(),
            version: String::new(),
            updated_at_ms: UPDATED_MS,
            sealed_at_ms,
            closed: false,
            families: encoded(content),
        };
        let flight = Flight { environment: number, snapshot, condition, sent_ms: self.now_ms, awaited: true };
        self.flights.push(flight);
        // Their order means nothing, so that states which differ only in it are one.
        self.flights.sort_by_key(|flight| (flight.snapshot.writer, flight.snapshot.seq));
    }

    /// Looks at what a scrape would show now, given what one would have shown before.
    fn judge(&mut self, before: u64) {
        let counted: u64 = self.environments.iter().map(|environment| environment.counted).sum();
        let acknowledged: u64 = self.environments.iter().map(|environment| environment.acknowledged).sum();
        let now = total_at_once(&self.items);
        if now > counted {
            self.wrong = Some("more than was counted");
        } else if now < acknowledged {
            self.wrong = Some("less than was acknowledged");
        } else if now < before {
            self.wrong = Some("less than before");
        }
    }

    /// Drops puts for whose answers no one waits and that can change nothing any more: what they ask for is gone for good,
    /// unless a first put may still bring it about.
    fn forget_dead_flights(&mut self) {
        let first: Vec<WriterId> = self
            .flights
            .iter()
            .filter(|flight| flight.condition == PutCondition::Absent)
            .map(|flight| flight.snapshot.writer)
            .collect();
        let items = &self.items;
        self.flights.retain(|flight| {
            let mut items = items.clone();
            flight.awaited
                || first.contains(&flight.snapshot.writer)
                || items.put_snapshot(&flight.snapshot, flight.condition) == PutOutcome::Stored
        });
    }
}

/// Ids of one half of the environments ascend and those of the other half descend, so that a query meets a fresh id
/// before and after the one that it replaces.
fn writer_id(environment: usize, number: u8) -> WriterId {
    let mut bytes = [0; 16];
    bytes[0] = u8::try_from(environment).unwrap();
    bytes[1] = if environment.is_multiple_of(2) { 255 - number } else { number };
    WriterId::from_bytes(bytes)
}

const COUNTER: &str = "n";

fn encoded(count: u64) -> Encoded {
    wire::encode(&one(COUNTER, Kind::Counter, Value::Sum(ExactSum::of([count as f64]))), 0).unwrap()
}

fn decoded(encoded: &Encoded) -> u64 {
    total(&wire::decode(encoded).unwrap())
}

fn total(families: &Families) -> u64 {
    let family = families.iter().find(|(key, _)| key.name == COUNTER);
    let Some(Value::Sum(sum)) = family.and_then(|(_, family)| family.series.values().next()) else { return 0 };
    sum.value() as u64
}

thread_local! {
    // The same exchanges lead to the same requests, and the same items to the same total: most have been seen before.
    static GC: RefCell<HashMap<Vec<Exchange>, Progress<()>>> = RefCell::default();
    static SCRAPES: RefCell<HashMap<Vec<Exchange>, Progress<u64>>> = RefCell::default();
    static TOTALS: RefCell<HashMap<Items, u64>> = RefCell::default();
}

fn gc(exchanges: &[Exchange]) -> Progress<()> {
    if let Some(known) = GC.with_borrow(|known| known.get(exchanges).cloned()) {
        return known;
    }
    let settings = TableSettings { table: String::new(), writer_idle: IDLE, grace: GRACE };
    let deadline = Instant::now() + Duration::from_secs(3600);
    let progress = replay(exchanges, |script| async move {
        let (_, result) = compact_by(&script, &settings, deadline, now_ms).await;
        result.unwrap();
    });
    GC.with_borrow_mut(|known| known.insert(exchanges.to_vec(), progress.clone()));
    progress
}

fn scrape(exchanges: &[Exchange]) -> Progress<u64> {
    if let Some(known) = SCRAPES.with_borrow(|known| known.get(exchanges).cloned()) {
        return known;
    }
    let progress = replay(exchanges, |script| async move {
        let mut scrape = Scrape::default();
        for (shard, contents) in read(&script).await.unwrap() {
            scrape.add(shard, contents, now_ms(), IDLE).unwrap();
        }
        total(&scrape.families)
    });
    SCRAPES.with_borrow_mut(|known| known.insert(exchanges.to_vec(), progress.clone()));
    progress
}

fn total_at_once(items: &Items) -> u64 {
    if let Some(known) = TOTALS.with_borrow(|known| known.get(items).copied()) {
        return known;
    }
    let exchange = |request, response| Exchange { request, response, at_ms: START_MS };
    let snapshots = Response::Snapshots(items.snapshots(0).cloned().collect());
    let base = Response::Base(items.base(0).cloned());
    let Progress::Ended(total) = scrape(&[exchange(Request::Snapshots, snapshots), exchange(Request::Base, base)])
    else {
        unreachable!("it asks for nothing else")
    };
    TOTALS.with_borrow_mut(|known| known.insert(items.clone(), total));
    total
}

/// Instances without a flaw, and how many states each has at least: should a change make fewer reachable, then this
/// check has lost something to look at.
fn instances() -> Vec<(Protocol, usize)> {
    let one = Protocol {
        environments: 1,
        publishes: 2,
        gc_runs: 1,
        units: 4,
        duplicates: false,
        gc_pages: false,
        flaw: None,
    };
    let mut instances = vec![
        (one.clone(), 500_000),
        (Protocol { environments: 2, publishes: 1, units: 3, gc_pages: true, ..one.clone() }, 150_000),
        (Protocol { publishes: 1, gc_runs: 2, duplicates: true, ..one.clone() }, 30_000),
    ];
    match std::env::var("MODEL_CHECK").as_deref() {
        Err(_) => {}
        Ok("long") => instances.extend([
            (Protocol { publishes: 2, duplicates: true, ..one.clone() }, 1_000_000),
            (Protocol { environments: 2, publishes: 1, units: 4, gc_pages: true, ..one }, 500_000),
        ]),
        Ok(other) => panic!("MODEL_CHECK is {other:?}; it can be \"long\" or absent"),
    }
    instances
}

fn check(protocol: Protocol) -> impl Checker<Protocol> {
    let start = Instant::now();
    println!("{protocol:?}");
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let checker = protocol.checker().threads(threads).spawn_bfs().join();
    let (states, transitions) = (checker.unique_state_count(), checker.state_count());
    println!(
        "  {states} states, {transitions} transitions, at most {} steps, {:?}",
        checker.max_depth(),
        start.elapsed()
    );
    checker
}

#[test]
fn every_interleaving_is_exact() {
    for (protocol, at_least_states) in instances() {
        let checker = check(protocol);
        checker.assert_properties();
        assert!(checker.unique_state_count() >= at_least_states, "only {} states", checker.unique_state_count());
    }
}

#[test]
fn without_any_one_guard_it_is_not() {
    for flaw in Flaw::ALL {
        let (protocol, _) = instances().swap_remove(0);
        let checker = check(Protocol { flaw: Some(flaw), ..protocol });
        let path = checker.discovery(EXACT).unwrap_or_else(|| panic!("{flaw:?} is not found out"));
        println!("  {}: {:?}", path.last_state().wrong.unwrap_or_default(), path.into_actions());
    }
}
