//! Checks the protocol by model checking: `stateright` explores every interleaving of small instances.
//!
//! Environments count, publish, give up waiting, and go on. Puts are delayed, duplicated, and lose their responses. Gc
//! runs overlap, are slow, and crash. A scraper reads one item after another in between. Time can pass at any moment.
//! Nothing needs to happen: an environment that does nothing more has crashed, or is frozen.
//!
//! All decisions are made by production code: [`publish`](crate::protocol::publish) for an environment,
//! [`compact_whole`] for a gc run, [`read`] and [`Scrape`] for a scrape (all through [`replay`]), and [`Items`] for the
//! table. [`Items`] is also the inside of [`MemoryStatsTable`](crate::MemoryStatsTable), so the contract tests hold it
//! to DynamoDB's behavior.
//!
//! Each [`Flaw`] takes one guard away, and the check must find it.

mod replay;
mod scenarios;
mod structures;

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use stateright::{Checker, Model, Property};
use strum::VariantArray;

use crate::compact::compact_whole;
use crate::families::exact_sum::ExactSum;
use crate::families::{Families, Kind, Value};
use crate::protocol::condition::PutCondition;
use crate::protocol::writer::{GRAVE_LIFE, PutOutcome, Writer};
use crate::scrape::{Scrape, read};
use crate::settings::TableSettings;
use crate::structures::Structures;
use crate::table::item::{Base, Encoded, Snapshot, WriterId};
use crate::table::items::Items;
use crate::table::wire;
use crate::testing::one;
use replay::{Exchange, Progress, PublishAnswer, PublishStep, Publishing, Request, Response, replay};

const START_MS: u64 = 100;
/// A grace. One millisecond is one unit of time. A snapshot is buried in the second unit after its sealing, and its
/// writer is forgotten in the second unit after the burial was found. A scrape, which may take half a grace, ends in
/// the unit in which it began.
const GRACE: Duration = Duration::from_millis(1);
/// Idle time of zero: any writer may be taken for dead at any moment.
const IDLE: Duration = Duration::ZERO;
const UPDATED_MS: u64 = 0;
/// Longest time that a put on condition that nothing is stored may be under way, in milliseconds: AWS refuses requests
/// that were signed long ago. A put on condition that a snapshot is stored may be under way for ever.
const FIRST_PUT_LIFE_MS: u64 = 1;

/// A guard of the protocol that is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
enum Flaw {
    /// A put of a snapshot replaces whatever is stored.
    BlindPut,
    /// A sealed snapshot is buried at once.
    NoGraceAtBurial,
    /// A buried writer is forgotten at once.
    NoGraceAtForgetting,
    /// A base does not name the writers that it has folded.
    NoFolded,
    /// A scrape reads the base first.
    BaseFirst,
    /// A first put may land at any later time.
    ImmortalFirstPut,
    /// A buried snapshot is not kept.
    NoGrave,
    /// A snapshot is buried though no stored base has folded its writer.
    BuriedUnfolded,
    /// A snapshot is sealed although it has changed since it was read.
    SealedUnread,
    /// A base replaces whatever base is stored.
    BlindBase,
    /// A base is put before its parts.
    RootBeforeParts,
    /// A part is deleted as soon as no base names it.
    NoGraceForParts,
    /// Gc runs take the time from their own clocks, some of which are ahead.
    RawClocks,
    /// A writer that finds neither its snapshot nor a grave no longer knows what it had sent.
    SentForgotten,
}

impl Flaw {
    /// Returns the smallest instance in which the check finds the flaw.
    fn instance(self) -> Protocol {
        match self {
            Self::BlindBase => Protocol { publishes: 0, published: true, ..Protocol::TWO_OF_EACH },
            Self::RootBeforeParts | Self::NoGraceForParts => Protocol::IN_PARTS,
            Self::SentForgotten => Protocol::MONTHS,
            _ => Protocol::ONE,
        }
    }
}

/// Size of an instance.
#[derive(Debug, Clone)]
struct Protocol {
    environments: usize,
    /// Number of times that each environment counts and begins a publish.
    publishes: u8,
    /// Set if each environment has counted and published once before everything else.
    published: bool,
    /// Number of gc runs that can be under way at once.
    gc_runs: usize,
    /// Number of units for which time goes on.
    units: u64,
    /// Set if puts can be duplicated on their way.
    duplicates: bool,
    /// Set if a gc run, too, reads one item after another.
    gc_pages: bool,
    /// Set if each base that has folded a writer is stored in parts.
    parts: bool,
    /// Set if months can pass, so that graves expire.
    months: bool,
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
    months: u8,
    /// First fault that was found, if any.
    wrong: Option<&'static str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Environment {
    writer: Writer<u64>,
    /// Number of ids that the environment has had.
    ids: u8,
    publishes: u8,
    counted: u64,
    acknowledged: u64,
    /// Number of counts that were sent and never acknowledged, and of which no one can tell any more whether they were
    /// stored.
    given_up: u64,
    /// The answers to the publish that is under way.
    publish: Option<Vec<PublishAnswer>>,
}

/// A put that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Flight {
    environment: usize,
    snapshot: Snapshot,
    condition: PutCondition,
    sent_ms: u64,
    /// `true` as long as the environment waits for the answer.
    awaited: bool,
}

/// A run of production code that reads and writes the table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Run {
    exchanges: Vec<Exchange>,
    /// Snapshots that a query has read so far. A query is not isolated: others write between its items.
    page: Option<Vec<Snapshot>>,
    /// For [`Flaw::RawClocks`]: time by which the run's clock is ahead, in milliseconds.
    ahead_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Scraping {
    run: Run,
    /// Total that a scrape would have shown when this one began.
    at_least: u64,
    /// The base at that time, for [`Flaw::BaseFirst`].
    first_base: Option<Response>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Action {
    TimePasses,
    MonthPasses { graves_expire: bool },
    Publish(usize),
    Land(usize),
    LandAndStay(usize),
    GiveUp(usize),
    ReadGrave(usize),
    BeginGc(usize),
    BeginGcAhead(usize),
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
            given_up: 0,
            publish: None,
        });
        let mut state = State {
            now_ms: START_MS,
            items: Items::default(),
            environments: environments.collect(),
            flights: Vec::new(),
            gc_runs: vec![None; self.gc_runs],
            scrape: None,
            fences: 0,
            months: 0,
            wrong: None,
        };
        if self.published {
            for number in 0..self.environments {
                for action in [Action::Publish(number), Action::Land(0)] {
                    state = self.next_state(&state, action).expect("every step leads on");
                }
            }
        }
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.wrong.is_some() {
            return;
        }
        if state.now_ms < START_MS + self.units {
            actions.push(Action::TimePasses);
        }
        if self.months && state.months == 0 {
            actions.extend([true, false].map(|graves_expire| Action::MonthPasses { graves_expire }));
        }
        for (number, environment) in state.environments.iter().enumerate() {
            match state.awaited(number) {
                None if environment.publishes < self.publishes => actions.push(Action::Publish(number)),
                None => {}
                Some(PublishStep::Grave(_)) => actions.push(Action::ReadGrave(number)),
                Some(PublishStep::Put { .. }) => actions.push(Action::GiveUp(number)),
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
                None => {
                    actions.push(Action::BeginGc(number));
                    if self.flaw == Some(Flaw::RawClocks) {
                        actions.push(Action::BeginGcAhead(number));
                    }
                }
                Some(run) => {
                    let Progress::Waiting(requests) = gc(&run.exchanges, self.parts) else {
                        unreachable!("it was taken out")
                    };
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
            Action::MonthPasses { graves_expire } => self.month_passes(&mut state, graves_expire),
            Action::Publish(number) => {
                let environment = &mut state.environments[number];
                environment.publishes += 1;
                environment.counted += 1;
                if self.flaw == Some(Flaw::SentForgotten) {
                    environment.writer.forget_what_was_sent();
                }
                environment.publish = Some(Vec::new());
                state.go_on(number);
            }
            Action::Land(flight) => {
                let flight = state.flights.remove(flight);
                self.land(&mut state, &flight);
            }
            Action::LandAndStay(number) => {
                let flight = state.flights[number].clone();
                state.flights[number].awaited = false;
                self.land(&mut state, &flight);
            }
            Action::GiveUp(number) => state.end_publish(number),
            Action::ReadGrave(number) => {
                let Some(PublishStep::Grave(writer)) = state.awaited(number) else { unreachable!("it waits for it") };
                let grave = state.items.grave(writer).map(|grave| decoded(&grave));
                if state.months > 0 {
                    let environment = &mut state.environments[number];
                    environment.given_up = environment.counted - 1 - environment.acknowledged;
                }
                state.answer(number, PublishAnswer::Grave(grave));
            }
            // A run that has read nothing yet might as well begin later, so each run begins with its first step.
            Action::BeginGc(number) => {
                state.gc_runs[number] = Some(Run::default());
                self.step_gc(&mut state, number, 0);
            }
            Action::BeginGcAhead(number) => {
                let ahead_ms = 2 * u64::try_from(GRACE.as_millis()).unwrap();
                state.gc_runs[number] = Some(Run { ahead_ms, ..Run::default() });
                self.step_gc(&mut state, number, 0);
            }
            Action::StepGc(number, request) => self.step_gc(&mut state, number, request),
            Action::CrashGc(number) => state.gc_runs[number] = None,
            Action::BeginScrape => {
                state.scrape = Some(Scraping {
                    run: Run::default(),
                    at_least: total_at_once(&state.items).unwrap_or_default(),
                    first_base: (self.flaw == Some(Flaw::BaseFirst))
                        .then(|| Response::Base(state.items.base(0).cloned())),
                });
                self.step_scrape(&mut state);
            }
            Action::StepScrape => self.step_scrape(&mut state),
        }
        // A scrape that takes no time at all could happen at each moment.
        state.judge(total_at_once(&last.items));
        if self.flaw != Some(Flaw::BlindPut) {
            state.forget_dead_flights();
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![Property::always(EXACT, |_, state: &State| state.wrong.is_none())];
        if self.flaw.is_none() && self.parts {
            properties.push(Property::sometimes("a base stands in parts", |_, state: &State| {
                state.items.base(0).is_some_and(|base| !base.parts.is_empty())
            }));
            // In less time, the graces of a writer and of its part do not pass one after the other.
            if self.units >= Self::IN_PARTS.units {
                properties.push(Property::sometimes(
                    "a base is one item again, and its parts are deleted",
                    |_, state: &State| {
                        state.items.base(0).is_some_and(|base| base.version > 1) && state.items.parts(0).is_empty()
                    },
                ));
            }
        }
        if self.flaw.is_none() && self.publishes > 1 && !self.parts {
            // These states must be reachable, or the rest proves nothing.
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
    const ONE: Self = Self {
        environments: 1,
        publishes: 2,
        published: false,
        gc_runs: 1,
        units: 4,
        duplicates: false,
        gc_pages: false,
        parts: false,
        months: false,
        flaw: None,
    };
    const TWO_ENVIRONMENTS: Self = Self { environments: 2, publishes: 1, units: 3, gc_pages: true, ..Self::ONE };
    const TWO_RUNS: Self = Self { publishes: 1, gc_runs: 2, duplicates: true, ..Self::ONE };
    const TWO_OF_EACH: Self = Self { environments: 2, publishes: 1, gc_runs: 2, units: 2, ..Self::ONE };
    const IN_PARTS: Self = Self { publishes: 1, units: 6, parts: true, ..Self::ONE };
    const MONTHS: Self = Self { units: 2, months: true, ..Self::ONE };

    /// Lets so much time pass that graves can expire. Afterwards nothing is under way that was before, except puts on
    /// condition that a snapshot is stored.
    fn month_passes(&self, state: &mut State, graves_expire: bool) {
        self.time_passes(state);
        self.time_passes(state);
        state.months += 1;
        state.gc_runs.fill(None);
        if graves_expire {
            state.items.expire_graves();
        }
    }

    fn time_passes(&self, state: &mut State) {
        state.now_ms += 1;
        // The scrape has taken too long.
        state.scrape = None;
        let now_ms = state.now_ms;
        let late = |flight: &Flight| {
            flight.condition == PutCondition::Absent
                && now_ms > flight.sent_ms + FIRST_PUT_LIFE_MS
                && self.flaw != Some(Flaw::ImmortalFirstPut)
        };
        let late: Vec<_> = state.flights.extract_if(.., |flight| late(flight)).collect();
        late.iter().filter(|flight| flight.awaited).for_each(|flight| state.end_publish(flight.environment));
    }

    /// Carries out a put in the table. The environment learns of the outcome if it still waits for it.
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
        if flight.awaited {
            state.answer(flight.environment, PublishAnswer::Put(outcome));
        }
    }

    fn step_gc(&self, state: &mut State, number: usize, request: usize) {
        let mut run = state.gc_runs[number].take().expect("it runs");
        let Progress::Waiting(mut requests) = gc(&run.exchanges, self.parts) else { unreachable!("it was taken out") };
        let request = requests.swap_remove(request);
        if let Some(mut response) = self.answer(&mut state.items, &mut run, &request, self.gc_pages) {
            match (&mut response, self.flaw) {
                (Response::Snapshots(snapshots), Some(Flaw::NoGraceAtBurial)) => {
                    snapshots.iter_mut().filter_map(|one| one.sealed_at_ms.as_mut()).for_each(|at_ms| *at_ms = 0);
                }
                (Response::Base(Some(base)), Some(Flaw::NoGraceAtForgetting)) => {
                    base.folded.values_mut().flatten().for_each(|at_ms| *at_ms = 0);
                }
                (Response::Base(base), Some(Flaw::BuriedUnfolded)) => {
                    let none = Base { version: 0, folded: Default::default(), families: encoded(0), parts: Vec::new() };
                    let folded = &mut base.get_or_insert(none).folded;
                    folded.extend(state.items.snapshots(0, None).map(|snapshot| (snapshot.writer, None)));
                }
                (Response::Parts(parts), Some(Flaw::NoGraceForParts)) => {
                    parts.iter_mut().filter_map(|part| part.unnamed_at_ms.as_mut()).for_each(|at_ms| *at_ms = 0);
                }
                _ => {}
            }
            // A run looks at the time only after it has read all that it reads.
            let early = matches!(request, Request::Base | Request::Part(_) | Request::Parts);
            let at_ms = if early { START_MS } else { state.now_ms + run.ahead_ms };
            run.exchanges.push(Exchange { request, response, at_ms });
        }
        match gc(&run.exchanges, self.parts) {
            // If there never are parts, it does not matter when a run looks for them.
            Progress::Waiting(requests) if !self.parts && requests == [Request::Parts] => {
                let response = Response::Parts(Vec::new());
                run.exchanges.push(Exchange { request: Request::Parts, response, at_ms: START_MS });
                state.gc_runs[number] = Some(run);
            }
            Progress::Waiting(_) => state.gc_runs[number] = Some(run),
            Progress::Ended(false) => state.wrong = Some("a gc run finds that a part is missing"),
            Progress::Ended(true) => {}
        }
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
                // Content on which the total does not depend is left out, so that states that differ only in it are
                // one.
                snapshots.iter_mut().for_each(|one| (one.seq, one.sealed_at_ms) = (0, None));
            }
            run.exchanges.push(Exchange { request, response, at_ms: START_MS });
        }
        match scrape(&run.exchanges) {
            Progress::Waiting(_) => state.scrape = Some(scraping),
            Progress::Ended(None) => state.wrong = Some("a scrape finds that a part is missing"),
            Progress::Ended(Some(total)) => {
                let at_most = total_at_once(&state.items).unwrap_or_default();
                if !(scraping.at_least..=at_most).contains(&total) {
                    state.wrong = Some("a scrape shows less than one before it or more than one after it");
                }
            }
        }
    }

    /// Carries out a request in the table. A query in pages takes a step for each item, and one to find that there are
    /// no more.
    fn answer(&self, items: &mut Items, run: &mut Run, request: &Request, in_pages: bool) -> Option<Response> {
        Some(match request {
            Request::Snapshots if !in_pages => Response::Snapshots(items.snapshots(0, None).cloned().collect()),
            Request::Snapshots => {
                let page = run.page.get_or_insert_default();
                if let Some(next) = items.snapshots(0, page.last().map(|last| last.writer)).next() {
                    page.push(next.clone());
                    return None;
                }
                Response::Snapshots(run.page.take().expect("it was put there"))
            }
            Request::Base => Response::Base(items.base(0).cloned()),
            Request::Part(id) => Response::Part(items.part(0, *id).cloned()),
            Request::Parts => Response::Parts(items.parts(0)),
            // The parts would follow the base. There is a fault as soon as the base is stored, so they need not be put at all.
            Request::PutPart(_) if self.flaw == Some(Flaw::RootBeforeParts) => Response::Written(true),
            Request::PutPart(part) => Response::Written(items.put_part(0, part)),
            Request::NoteUnnamed(id, at_ms) => Response::Written(items.note_unnamed(0, *id, *at_ms)),
            Request::DeletePart(id) => Response::Written(items.delete_part(0, *id)),
            Request::Seal(snapshot, at_ms) if self.flaw == Some(Flaw::SealedUnread) => {
                let stored = items.snapshots(0, None).find(|stored| stored.writer == snapshot.writer).cloned();
                Response::Written(items.seal(&stored.unwrap_or_else(|| snapshot.clone()), *at_ms))
            }
            Request::Seal(snapshot, at_ms) => Response::Written(items.seal(snapshot, *at_ms)),
            Request::PutBase(base) => {
                let mut base = base.clone();
                if self.flaw == Some(Flaw::NoFolded) {
                    base.folded.clear();
                }
                if self.flaw == Some(Flaw::BlindBase) {
                    base.version = items.base(0).map_or(0, |stored| stored.version) + 1;
                }
                Response::Written(items.put_base(0, &base))
            }
            Request::PutGrave(_) if self.flaw == Some(Flaw::NoGrave) => Response::Written(true),
            Request::PutGrave(snapshot) => Response::Written(items.put_grave(snapshot)),
            Request::Delete(snapshot) => Response::Written(items.delete_snapshot(snapshot)),
            Request::Structure(_)
            | Request::Structures
            | Request::PutStructure(..)
            | Request::DeleteStructure(..)
            | Request::PutSnapshot(..) => unreachable!("see the model of structures"),
        })
    }
}

impl State {
    /// Replays the publish of this environment. Returns the writer, the number of its ids, and the step that it waits
    /// for, or `None` if no publish is under way.
    fn replay_publish(&self, number: usize) -> Option<(Writer<u64>, u8, Option<PublishStep>)> {
        let environment = &self.environments[number];
        let answers = environment.publish.as_ref()?.iter();
        let (counted, ids) = (environment.counted, environment.ids);
        let id = [|id| writer_id(0, id), |id| writer_id(1, id)][number];
        let now_ms = u64::from(self.months) * u64::try_from(GRAVE_LIFE.as_millis()).unwrap();
        let mut publishing = Publishing { answers, counted, now_ms, ids, id, waiting: None };
        let mut writer = environment.writer.clone();
        let waiting = publishing.publish(&mut writer);
        Some((writer, publishing.ids, waiting))
    }

    fn awaited(&self, number: usize) -> Option<PublishStep> {
        self.replay_publish(number)?.2
    }

    fn answer(&mut self, number: usize, answer: PublishAnswer) {
        self.environments[number].publish.as_mut().expect("it publishes").push(answer);
        self.go_on(number);
    }

    /// Sends what the publish asks for, or ends the publish if it is done.
    fn go_on(&mut self, number: usize) {
        let (writer, seq, condition, sealed, content) = match self.awaited(number) {
            Some(PublishStep::Put { writer, seq, condition, sealed, content }) => {
                (writer, seq, condition, sealed, content)
            }
            Some(PublishStep::Grave(_)) => return,
            None => {
                let environment = &mut self.environments[number];
                environment.acknowledged = environment.counted - environment.given_up;
                return self.end_publish(number);
            }
        };
        self.fences |= u8::from(sealed);
        let snapshot = Snapshot {
            writer,
            shard: 0,
            seq,
            function: String::new(),
            version: String::new(),
            updated_at_ms: UPDATED_MS,
            sealed_at_ms: sealed.then_some(self.now_ms),
            closed: false,
            families: encoded(content),
        };
        let flight = Flight { environment: number, snapshot, condition, sent_ms: self.now_ms, awaited: true };
        self.flights.push(flight);
        // The order of puts under way means nothing. They are sorted, so that states that differ only in it are one.
        self.flights.sort_by_key(|flight| (flight.snapshot.writer, flight.snapshot.seq));
    }

    /// Ends the publish, whether it is done or waits in vain.
    fn end_publish(&mut self, number: usize) {
        let (writer, ids, _) = self.replay_publish(number).expect("it publishes");
        let environment = &mut self.environments[number];
        (environment.writer, environment.ids, environment.publish) = (writer, ids, None);
        let own = self.flights.iter_mut().filter(|flight| flight.environment == number);
        own.for_each(|flight| flight.awaited = false);
    }

    /// Compares the total that a scrape would show now with the counts, and with the total before.
    fn judge(&mut self, before: Option<u64>) {
        let counted: u64 = self.environments.iter().map(|environment| environment.counted).sum();
        let acknowledged: u64 = self.environments.iter().map(|environment| environment.acknowledged).sum();
        let (Some(before), Some(now)) = (before, total_at_once(&self.items)) else {
            self.wrong = Some("a part is missing");
            return;
        };
        if now > counted {
            self.wrong = Some("more than was counted");
        } else if now < acknowledged {
            self.wrong = Some("less than was acknowledged");
        } else if now < before {
            self.wrong = Some("less than before");
        }
    }

    /// Drops puts whose answers no one waits for and that can no longer change anything: their condition does not hold
    /// and never will, unless a first put may still land.
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

/// Returns the id with this number of an environment. The ids of every second environment descend and those of the
/// others ascend, so that a query meets a fresh id both before and after the id that it replaces.
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
    let series = family.and_then(|(_, family)| family.series.values().next());
    let Some(Value::Sum(sum)) = series.map(|series| &series.value) else { return 0 };
    sum.value() as u64
}

thread_local! {
    // The same exchanges lead to the same requests, and the same items to the same total. Most have been seen before.
    static GC: RefCell<[HashMap<Vec<Exchange>, Progress<bool>>; 2]> = RefCell::default();
    static SCRAPES: RefCell<HashMap<Vec<Exchange>, Progress<Option<u64>>>> = RefCell::default();
    static TOTALS: RefCell<HashMap<Items, Option<u64>>> = RefCell::default();
}

/// Replays a gc run. Its result says whether the run found all parts.
fn gc(exchanges: &[Exchange], parts: bool) -> Progress<bool> {
    if let Some(known) = GC.with_borrow(|known| known[usize::from(parts)].get(exchanges).cloned()) {
        return known;
    }
    let settings = TableSettings::builder("stats").writer_idle(IDLE).grace(GRACE).build().unwrap();
    let writers_in_item = if parts { 0 } else { usize::MAX };
    let progress =
        replay(exchanges, |script| async move { compact_whole(&script, &settings, writers_in_item).await.is_ok() });
    GC.with_borrow_mut(|known| known[usize::from(parts)].insert(exchanges.to_vec(), progress.clone()));
    progress
}

/// Replays a scrape. Its result is the total, if the scrape found all parts.
fn scrape(exchanges: &[Exchange]) -> Progress<Option<u64>> {
    if let Some(known) = SCRAPES.with_borrow(|known| known.get(exchanges).cloned()) {
        return known;
    }
    let progress = replay(exchanges, |script| async move {
        let mut scrape = Scrape::default();
        let (_, shards) = read(&script, &Structures::default()).await.unwrap();
        let added = shards.into_iter().try_for_each(|(shard, contents)| scrape.add(shard, contents, START_MS, IDLE));
        added.is_ok().then(|| total(&scrape.total.into_families()))
    });
    SCRAPES.with_borrow_mut(|known| known.insert(exchanges.to_vec(), progress.clone()));
    progress
}

/// Returns the total that a scrape that takes no time at all would show, or `None` if a part is missing.
fn total_at_once(items: &Items) -> Option<u64> {
    if let Some(known) = TOTALS.with_borrow(|known| known.get(items).copied()) {
        return known;
    }
    let mut exchanges = Vec::new();
    let total = loop {
        match scrape(&exchanges) {
            Progress::Ended(total) => break total,
            Progress::Waiting(mut requests) => {
                let request = requests.swap_remove(0);
                let response = match &request {
                    Request::Snapshots => Response::Snapshots(items.snapshots(0, None).cloned().collect()),
                    Request::Base => Response::Base(items.base(0).cloned()),
                    Request::Part(id) => Response::Part(items.part(0, *id).cloned()),
                    _ => unreachable!("a scrape asks for nothing else"),
                };
                exchanges.push(Exchange { request, response, at_ms: START_MS });
            }
        }
    };
    TOTALS.with_borrow_mut(|known| known.insert(items.clone(), total));
    total
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

/// Explores every interleaving. There must be at least `at_least_states` states: if a change makes fewer reachable, the
/// check has lost something to look at.
fn every_interleaving_is_exact(protocol: Protocol, at_least_states: usize) {
    let checker = check(protocol);
    checker.assert_properties();
    assert!(checker.unique_state_count() >= at_least_states, "only {} states", checker.unique_state_count());
}

#[test]
fn one_environment_is_exact() {
    every_interleaving_is_exact(Protocol::ONE, 90_000);
}

#[test]
fn two_environments_are_exact() {
    every_interleaving_is_exact(Protocol::TWO_ENVIRONMENTS, 100_000);
}

#[test]
fn two_runs_at_once_are_exact() {
    every_interleaving_is_exact(Protocol::TWO_RUNS, 30_000);
}

#[test]
fn a_base_in_parts_is_exact() {
    every_interleaving_is_exact(Protocol::IN_PARTS, 150_000);
}

#[test]
fn graves_that_expire_leave_it_exact() {
    every_interleaving_is_exact(Protocol::MONTHS, 50_000);
}

#[test]
fn larger_instances_are_exact() {
    match std::env::var("MODEL_CHECK").as_deref() {
        Err(_) => {}
        Ok("long") => {
            every_interleaving_is_exact(Protocol { duplicates: true, ..Protocol::ONE }, 1);
            every_interleaving_is_exact(Protocol { units: 4, ..Protocol::TWO_ENVIRONMENTS }, 1);
            every_interleaving_is_exact(Protocol::TWO_OF_EACH, 1);
            every_interleaving_is_exact(Protocol { gc_runs: 2, units: 3, ..Protocol::IN_PARTS }, 1);
        }
        Ok(other) => panic!("MODEL_CHECK is {other:?}; it can be \"long\" or absent"),
    }
}

#[test]
fn without_any_one_guard_it_is_not() {
    for &flaw in Flaw::VARIANTS {
        let checker = check(Protocol { flaw: Some(flaw), ..flaw.instance() });
        let path = checker.discovery(EXACT).unwrap_or_else(|| panic!("{flaw:?} is not found out"));
        println!("  {}: {:?}", path.last_state().wrong.unwrap_or_default(), path.into_actions());
    }
}
