//! Runs production code against a table that the model answers for, one request at a time.
//!
//! A model's state must be plain data, and a future is not. But the production code does nothing that does not follow from
//! the answers it is given, so the answers given so far *are* its state: to find out what it asks next it is run again
//! from its start.

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::{cell::Cell, future::poll_fn};

use crate::table::item::{Base, Snapshot};
use crate::table::{CompactStats, ReadStats, TableError, UnreadableItem};

/// What a run asks of the table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Request {
    Snapshots,
    Base,
    Seal(Snapshot, u64),
    PutBase(Base),
    PutGrave(Snapshot),
    Delete(Snapshot),
}

/// What the table answers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Response {
    Snapshots(Vec<Snapshot>),
    Base(Option<Base>),
    Written(bool),
}

/// A request, its answer, and when it was answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Exchange {
    pub request: Request,
    pub response: Response,
    pub at_ms: u64,
}

/// How far a run has come.
#[derive(Debug, Clone)]
pub enum Progress<R> {
    /// It waits for answers to these.
    Waiting(Vec<Request>),
    Ended(R),
}

thread_local! {
    static NOW_MS: Cell<u64> = const { Cell::new(0) };
}

/// The model's clock, as it stands at the exchange that is being replayed.
pub fn now_ms() -> u64 {
    NOW_MS.get()
}

/// Runs `run` through these exchanges.
pub fn replay<F: Future>(exchanges: &[Exchange], run: impl FnOnce(Script) -> F) -> Progress<F::Output> {
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

/// A table that answers what it is told to.
#[derive(Debug, Clone, Default)]
pub struct Script {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<(Request, Waker)>,
    answered: Vec<(Request, Response)>,
}

impl Script {
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

impl ReadStats for Script {
    async fn shards(&self) -> Result<u32, TableError> {
        Ok(1)
    }

    async fn snapshots(&self, _shard: u32) -> Result<Vec<Result<Snapshot, UnreadableItem>>, TableError> {
        let Response::Snapshots(snapshots) = self.ask(Request::Snapshots).await else { unreachable!("as asked") };
        Ok(snapshots.into_iter().map(Ok).collect())
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
