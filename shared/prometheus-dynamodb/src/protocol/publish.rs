//! One publish: what the [`Writer`] decides, done step by step.

use std::future::Future;

use crate::protocol::condition::PutCondition;
use crate::protocol::writer::{Content, PutOutcome, Step, Writer};
use crate::table::item::WriterId;

/// What a publish needs of the environment and of the table.
pub trait PublishPort<C>: Send {
    /// Why a publish can fail.
    type Error;

    /// Returns the time, in milliseconds since the epoch.
    fn now_ms(&self) -> u64;

    /// Returns an id that no writer has had.
    fn fresh_id(&mut self) -> WriterId;

    /// Returns the present values, less this baseline.
    fn current(&mut self, baseline: &C) -> Result<C, Self::Error>;

    /// Puts a snapshot. With [`PutCondition::Absent`] it is sent once and not repeated by the layers below: a repetition
    /// much later could bring a buried writer back.
    fn put(&mut self, put: Put<'_, C>) -> impl Future<Output = Result<PutOutcome<C>, Self::Error>> + Send;

    /// Reads the writer's grave.
    fn grave(&mut self, writer: WriterId) -> impl Future<Output = Result<Option<C>, Self::Error>> + Send;
}

/// A snapshot to be put.
#[derive(Debug, Clone, Copy)]
pub struct Put<'a, C> {
    /// Whose it is.
    pub writer: WriterId,
    /// Counts the writer's publishes, from 1.
    pub seq: u64,
    /// When it may be stored.
    pub condition: PutCondition,
    /// Whether it is sealed from the start: a fence is.
    pub sealed: bool,
    /// What was counted.
    pub content: &'a C,
}

/// Publishes the present values. An error in between leaves it to the next publish to find out what was done.
pub async fn publish<C, P>(writer: &mut Writer<C>, port: &mut P) -> Result<(), P::Error>
where
    C: Content + Send + Sync,
    P: PublishPort<C>,
{
    let mut step = writer.begin(port.now_ms());
    loop {
        step = match step {
            Step::Put { seq, condition } => {
                let content = port.current(writer.baseline())?;
                let id = *writer.id();
                let content = writer.sending(content);
                let outcome = port.put(Put { writer: id, seq, condition, sealed: false, content }).await?;
                writer.after_put(outcome)
            }
            Step::Fence { seq } => {
                let (id, condition, content) = (*writer.id(), PutCondition::Absent, &C::default());
                let outcome = port.put(Put { writer: id, seq, condition, sealed: true, content }).await?;
                writer.after_fence(outcome)
            }
            Step::ReadGrave => {
                let grave = port.grave(*writer.id()).await?;
                writer.after_grave(grave, port.now_ms(), port.fresh_id())
            }
            Step::Done => return Ok(()),
        };
    }
}
