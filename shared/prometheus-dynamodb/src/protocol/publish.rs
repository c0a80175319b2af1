//! Carries out one publish: the steps that the [`Writer`] decides on, one after another.

use std::future::Future;

use crate::protocol::condition::PutCondition;
use crate::protocol::writer::{Content, PutOutcome, Step, Writer};
use crate::table::item::WriterId;

/// Access of a publish to its environment and to the table.
pub trait PublishPort<C>: Send {
    /// Error with which a publish can fail.
    type Error;

    /// Returns the time, in milliseconds since the epoch.
    fn now_ms(&self) -> u64;

    /// Returns an id that no writer has had.
    fn fresh_id(&mut self) -> WriterId;

    /// Returns the present values minus the baseline.
    fn current(&mut self, baseline: &C) -> Result<C, Self::Error>;

    /// Puts a snapshot.
    ///
    /// With [`PutCondition::Absent`], the layers below must send the put once and never repeat it: a much later
    /// repetition could bring a buried writer back.
    fn put(&mut self, put: Put<'_, C>) -> impl Future<Output = Result<PutOutcome<C>, Self::Error>> + Send;

    /// Reads the writer's grave.
    fn grave(&mut self, writer: WriterId) -> impl Future<Output = Result<Option<C>, Self::Error>> + Send;
}

/// A snapshot to be put.
#[derive(Debug, Clone, Copy)]
pub struct Put<'a, C> {
    /// Writer of the snapshot.
    pub writer: WriterId,
    /// Sequence number among the writer's puts, from 1.
    pub seq: u64,
    /// Condition of the put.
    pub condition: PutCondition,
    /// Set if the snapshot is sealed from the start, as a fence is.
    pub sealed: bool,
    /// Content of the snapshot.
    pub content: &'a C,
}

/// Publishes the present values. If a step fails, the next publish finds out how far this one came.
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
