//! Runs production code against a table whose answers the model gives, one request at a time.
//!
//! A model's state must be plain data, which a future is not. But everything that the production code does follows from
//! the answers that it gets, so the answers so far *are* its state. To find its next request, the code is run again
//! from its start.

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::{cell::Cell, future::poll_fn};

use crate::protocol::condition::PutCondition;
use crate::protocol::publish::{PublishPort, Put, publish};
use crate::protocol::writer::{PutOutcome, Writer};
use crate::table::item::{
    Base, Encoded, Part, PartId, Snapshot, StoredPart, StoredStructure, StructureId, StructureItem, WriterId,
};
use crate::table::{
    CompactStats, Cursor, Listed, PublishStats, ReadStats, ReadStructures, SnapshotPage, TableError, TableTime,
};

/// Request of a run to the table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Request {
    Snapshots,
    Base,
    Part(PartId),
    Parts,
    PutPart(Part),
    NoteUnnamed(PartId, u64),
    DeletePart(PartId),
    Seal(Snapshot, u64),
    PutBase(Base),
    PutGrave(Snapshot),
    Delete(Snapshot),
    Structure(StructureId),
    Structures,
    PutStructure(StructureId, StructureItem),
    DeleteStructure(StructureId, u64),
    PutSnapshot(Snapshot, PutCondition),
}

/// Answer of the table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Response {
    Snapshots(Vec<Snapshot>),
    Base(Option<Base>),
    Part(Option<Part>),
    Parts(Vec<StoredPart>),
    Structure(Option<StructureItem>),
    Structures(Vec<StoredStructure>),
    Put(PutOutcome<Encoded>),
    Written(bool),
}

/// A request, its answer, and the time of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Exchange {
    pub request: Request,
    pub response: Response,
    pub at_ms: u64,
}

/// Progress of a run.
#[derive(Debug, Clone)]
pub(super) enum Progress<R> {
    /// The run waits for answers to these requests.
    Waiting(Vec<Request>),
    Ended(R),
}

thread_local! {
    static NOW_MS: Cell<u64> = const { Cell::new(0) };
}

/// Runs `run` through these exchanges.
pub(super) fn replay<F: Future>(exchanges: &[Exchange], run: impl FnOnce(Script) -> F) -> Progress<F::Output> {
    let script = Script::default();
    let mut run = pin!(run(script.clone()));
    let mut context = Context::from_waker(Waker::noop());
    let mut poll = run.as_mut().poll(&mut context);
    for exchange in exchanges {
        NOW_MS.set(exchange.at_ms);
        script.answer(exchange);
        poll = run.as_mut().poll(&mut context);
    }
    match poll {
        Poll::Ready(result) => Progress::Ended(result),
        Poll::Pending => Progress::Waiting(script.waiting()),
    }
}

/// A table that gives the answers that it is told to give.
#[derive(Debug, Clone, Default)]
pub(super) struct Script {
    state: Arc<Mutex<State>>,
    /// Set if there are structures. Otherwise no run asks for them, so that there are fewer states.
    structures: bool,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<(Request, Waker)>,
    answered: Vec<(Request, Response)>,
}

impl Script {
    /// Returns the same table, but with structures.
    pub(super) fn with_structures(self) -> Self {
        Self { structures: true, ..self }
    }

    fn answer(&self, exchange: &Exchange) {
        let mut state = self.state.lock().unwrap();
        let asked = state.waiting.iter().position(|(request, _)| *request == exchange.request);
        let (request, waker) = state.waiting.remove(asked.expect("only what was asked is answered"));
        state.answered.push((request, exchange.response.clone()));
        waker.wake();
    }

    fn waiting(&self) -> Vec<Request> {
        self.state.lock().unwrap().waiting.iter().map(|(request, _)| request.clone()).collect()
    }

    async fn ask(&self, request: Request) -> Response {
        let mut asked = false;
        poll_fn(|context| {
            let mut state = self.state.lock().unwrap();
            if let Some(found) = state.answered.iter().position(|(answered, _)| *answered == request) {
                return Poll::Ready(state.answered.remove(found).1);
            }
            if !asked {
                asked = true;
                state.waiting.push((request.clone(), context.waker().clone()));
            }
            Poll::Pending
        })
        .await
    }

    async fn write(&self, request: Request) -> Result<bool, TableError> {
        let Response::Written(done) = self.ask(request).await else { unreachable!("a write is answered as one") };
        Ok(done)
    }
}

/// The time is that of the exchange that is being replayed.
impl TableTime for Script {
    fn answered_at_ms(&self) -> u64 {
        NOW_MS.get()
    }

    fn now_ms(&self) -> u64 {
        NOW_MS.get()
    }
}

impl ReadStructures for Script {
    async fn structure(&self, _shard: u32, id: StructureId) -> Result<Option<StructureItem>, TableError> {
        let Response::Structure(item) = self.ask(Request::Structure(id)).await else { unreachable!("as asked") };
        Ok(item)
    }
}

impl PublishStats for Script {
    async fn put_structure(&self, _shard: u32, id: StructureId, structure: &StructureItem) -> Result<(), TableError> {
        self.write(Request::PutStructure(id, structure.clone())).await?;
        Ok(())
    }

    async fn put_snapshot(
        &self,
        snapshot: &Snapshot,
        condition: PutCondition,
    ) -> Result<PutOutcome<Encoded>, TableError> {
        let request = Request::PutSnapshot(snapshot.clone(), condition);
        let Response::Put(outcome) = self.ask(request).await else { unreachable!("as asked") };
        Ok(outcome)
    }

    async fn grave(&self, _writer: WriterId) -> Result<Option<Encoded>, TableError> {
        unreachable!("a publish reads it by its port")
    }

    async fn announce_shards(&self, _shards: u32) -> Result<(), TableError> {
        unreachable!("there is one shard")
    }
}

impl ReadStats for Script {
    async fn shards(&self) -> Result<u32, TableError> {
        Ok(1)
    }

    async fn snapshot_page(&self, _shard: u32, _after: Option<&Cursor>) -> Result<SnapshotPage, TableError> {
        let Response::Snapshots(snapshots) = self.ask(Request::Snapshots).await else { unreachable!("as asked") };
        Ok(SnapshotPage { snapshots: snapshots.into_iter().map(Ok).collect(), next: None })
    }

    async fn part(&self, _shard: u32, id: PartId) -> Result<Option<Part>, TableError> {
        let Response::Part(part) = self.ask(Request::Part(id)).await else { unreachable!("as asked") };
        Ok(part)
    }

    async fn base(&self, _shard: u32) -> Result<Option<Base>, TableError> {
        let Response::Base(base) = self.ask(Request::Base).await else { unreachable!("as asked") };
        Ok(base)
    }
}

impl CompactStats for Script {
    async fn seal(&self, snapshot: &Snapshot, at_ms: u64) -> Result<bool, TableError> {
        self.write(Request::Seal(snapshot.clone(), at_ms)).await
    }

    async fn parts(&self, _shard: u32) -> Result<Listed<StoredPart>, TableError> {
        let Response::Parts(parts) = self.ask(Request::Parts).await else { unreachable!("as asked") };
        Ok(parts.into_iter().map(Ok).collect())
    }

    async fn put_part(&self, _shard: u32, part: &Part) -> Result<bool, TableError> {
        self.write(Request::PutPart(part.clone())).await
    }

    async fn note_unnamed(&self, _shard: u32, id: PartId, at_ms: u64) -> Result<bool, TableError> {
        self.write(Request::NoteUnnamed(id, at_ms)).await
    }

    async fn delete_part(&self, _shard: u32, id: PartId) -> Result<bool, TableError> {
        self.write(Request::DeletePart(id)).await
    }

    async fn structures(&self, _shard: u32) -> Result<Listed<StoredStructure>, TableError> {
        if !self.structures {
            return Ok(Vec::new());
        }
        let Response::Structures(structures) = self.ask(Request::Structures).await else { unreachable!("as asked") };
        Ok(structures.into_iter().map(Ok).collect())
    }

    async fn delete_structure(&self, _shard: u32, id: StructureId, renewed_at_ms: u64) -> Result<bool, TableError> {
        self.write(Request::DeleteStructure(id, renewed_at_ms)).await
    }

    async fn put_base(&self, _shard: u32, base: &Base) -> Result<bool, TableError> {
        self.write(Request::PutBase(base.clone())).await
    }

    async fn put_grave(&self, snapshot: &Snapshot, _at_ms: u64) -> Result<bool, TableError> {
        self.write(Request::PutGrave(snapshot.clone())).await
    }

    async fn delete_snapshot(&self, snapshot: &Snapshot) -> Result<bool, TableError> {
        self.write(Request::Delete(snapshot.clone())).await
    }
}

/// Step of a publish that waits for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum PublishStep {
    Put { writer: WriterId, seq: u64, condition: PutCondition, sealed: bool, content: u64 },
    Grave(WriterId),
}

/// Answer to a step of a publish.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum PublishAnswer {
    Put(PutOutcome<u64>),
    Grave(Option<u64>),
}

/// Access of a publish to its environment, with the answers so far.
#[derive(Debug)]
pub(super) struct Publishing<'a> {
    pub answers: std::slice::Iter<'a, PublishAnswer>,
    pub counted: u64,
    pub now_ms: u64,
    /// Number of ids that the environment has had. The function `id` returns them by their numbers.
    pub ids: u8,
    pub id: fn(u8) -> WriterId,
    pub waiting: Option<PublishStep>,
}

impl Publishing<'_> {
    async fn ask(&mut self, step: PublishStep) -> PublishAnswer {
        match self.answers.next() {
            Some(answer) => answer.clone(),
            None => {
                self.waiting = Some(step);
                std::future::pending().await
            }
        }
    }

    /// Publishes as far as the answers go, and returns the step that waits for the next answer, if any. The writer is
    /// then in the state that it keeps if that answer never comes.
    pub(super) fn publish(&mut self, writer: &mut Writer<u64>) -> Option<PublishStep> {
        self.waiting = None;
        let _ = pin!(publish(writer, self)).poll(&mut Context::from_waker(Waker::noop()));
        self.waiting
    }
}

impl PublishPort<u64> for Publishing<'_> {
    type Error = std::convert::Infallible;

    fn now_ms(&self) -> u64 {
        self.now_ms
    }

    fn fresh_id(&mut self) -> WriterId {
        self.ids += 1;
        (self.id)(self.ids - 1)
    }

    fn current(&mut self, baseline: &u64) -> Result<u64, Self::Error> {
        Ok(self.counted - baseline)
    }

    async fn put(&mut self, put: Put<'_, u64>) -> Result<PutOutcome<u64>, Self::Error> {
        let Put { writer, seq, condition, sealed, content } = put;
        let step = PublishStep::Put { writer, seq, condition, sealed, content: *content };
        let PublishAnswer::Put(outcome) = self.ask(step).await else { unreachable!("as asked") };
        Ok(outcome)
    }

    async fn grave(&mut self, writer: WriterId) -> Result<Option<u64>, Self::Error> {
        let PublishAnswer::Grave(grave) = self.ask(PublishStep::Grave(writer)).await else { unreachable!("as asked") };
        Ok(grave)
    }
}
