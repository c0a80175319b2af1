//! Publishing: an execution environment's registries into its item of the stats table.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use tokio::time;

use crate::clock::now_ms;
use crate::families::Families;
use crate::families::merge::subtract;
use crate::protocol::publish::{PublishPort, Put, publish};
use crate::protocol::writer::{PutOutcome, Writer};
use crate::publish::environment::EnvironmentMetrics;
use crate::publish::gather::Sources;
use crate::publish::layer::PublishLayer;
use crate::publish::schedule::{AfterResponse, OnTimer, Schedule};
use crate::publish::series_cap::SeriesCap;
use crate::settings::WriterSettings;
use crate::table::item::{Encoded, Snapshot, WriterId};
use crate::table::wire::{self, DecodeError, TooLarge};
use crate::table::{PublishStats, TableError};

/// Publishes an environment's metrics. Clones are the same publisher.
#[derive(Debug)]
pub struct Publisher<T> {
    inner: Arc<Inner<T>>,
}

#[derive(Debug)]
struct Inner<T> {
    table: T,
    settings: WriterSettings,
    sources: Sources,
    metrics: EnvironmentMetrics,
    started_at: Instant,
    born_at_ms: u64,
    schedule: Mutex<Schedule>,
    /// Held while a publish is on its way, so that a later snapshot always has the greater `seq`.
    publishing: tokio::sync::Mutex<Publishing>,
    closed: AtomicBool,
}

#[derive(Debug)]
struct Publishing {
    /// Absent until the first publish: environments that are restored from one memory image after their init must not
    /// share an id.
    writer: Option<Writer<Families>>,
    cap: SeriesCap,
    /// Whether readers are known to look under as many partition keys as this writer chooses from.
    shards_announced: bool,
}

impl<T> Clone for Publisher<T> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<T: PublishStats> Publisher<T> {
    /// A publisher of these sources, and of the metrics that every environment has: invocations, cold starts, the process,
    /// and publishing itself.
    ///
    /// `started_at` is when the program started, for `lambda_init_duration_seconds`: take it in the first line of `main`.
    ///
    /// # Errors
    ///
    /// If the function's name cannot be a label's value.
    pub fn new(
        table: T,
        sources: Sources,
        settings: WriterSettings,
        started_at: Instant,
    ) -> Result<Self, prometheus::Error> {
        let metrics = EnvironmentMetrics::new(&settings.function)?;
        let schedule = Schedule::new(settings.pace, time::Instant::now());
        let cap = SeriesCap::new(settings.max_series);
        let inner = Inner {
            table,
            sources: metrics.add_to(sources),
            settings,
            metrics,
            started_at,
            born_at_ms: now_ms(),
            schedule: Mutex::new(schedule),
            publishing: tokio::sync::Mutex::new(Publishing { writer: None, cap, shards_announced: false }),
            closed: AtomicBool::new(false),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The layer that publishes after each response. Add it last, so that it is outermost:
    /// `lambda_http::runtime(handler).layer(publisher.layer())`.
    pub fn layer(&self) -> PublishLayer<T> {
        self.inner.metrics.ready(self.inner.started_at.elapsed());
        PublishLayer::new(self.clone())
    }

    /// Publishes a last time and marks the snapshot closed: this environment ends. To be called on SIGTERM, which Lambda
    /// follows with SIGKILL after 500 ms.
    pub async fn close(&self) {
        self.inner.closed.store(true, Ordering::SeqCst);
        if self.inner.metrics.invocations.get() > 0 {
            self.publish().await;
        }
    }

    pub(crate) fn begin_request(&self) -> RequestInFlight<T> {
        self.inner.metrics.invocations.inc();
        self.schedule().begin_request();
        RequestInFlight { publisher: Some(self.clone()) }
    }

    async fn after_response(&self) {
        let decision = self.schedule().end_request(time::Instant::now());
        match decision {
            AfterResponse::Publish => self.publish().await,
            AfterResponse::StartTimer(at) => self.start_timer(at),
            AfterResponse::Wait => {}
        }
    }

    fn start_timer(&self, first: time::Instant) {
        let publisher = self.clone();
        tokio::spawn(async move {
            let mut at = first;
            loop {
                time::sleep_until(at).await;
                let decision = publisher.schedule().on_timer(time::Instant::now());
                match decision {
                    OnTimer::Publish => {
                        publisher.publish().await;
                        at = time::Instant::now();
                    }
                    OnTimer::SleepUntil(later) => at = later,
                    OnTimer::End => break,
                }
            }
        });
    }

    /// Publishes now. A failure is logged and counted, and the next publish carries what this one would have; it never
    /// fails a request.
    async fn publish(&self) {
        let result = self.try_publish().await;
        if let Err(error) = &result {
            self.inner.metrics.failed(error);
            tracing::warn!(error = error as &dyn std::error::Error, "the metrics could not be published");
        }
        let timer = self.schedule().published(result.is_ok(), time::Instant::now());
        if let Some(at) = timer {
            self.start_timer(at);
        }
    }

    async fn try_publish(&self) -> Result<(), PublishError> {
        let inner = &*self.inner;
        let mut publishing = inner.publishing.lock().await;
        let publishing = &mut *publishing;
        if !publishing.shards_announced {
            // A reader looks under one key unless told otherwise, and must be told before anything stands elsewhere.
            if inner.settings.shards > 1 {
                inner.table.announce_shards(inner.settings.shards).await?;
            }
            publishing.shards_announced = true;
        }
        let writer = publishing.writer.get_or_insert_with(|| Writer::new(WriterId::random()));
        let mut attempt = Attempt { inner, cap: &mut publishing.cap, bytes: 0 };
        publish(writer, &mut attempt).await?;
        inner.metrics.published(attempt.bytes);
        Ok(())
    }

    fn schedule(&self) -> MutexGuard<'_, Schedule> {
        self.inner.schedule.lock().expect("no one panics while holding the lock")
    }
}

/// One attempt to publish.
struct Attempt<'a, T> {
    inner: &'a Inner<T>,
    cap: &'a mut SeriesCap,
    /// The size of the families that were put last.
    bytes: usize,
}

impl<T: PublishStats> PublishPort<Families> for Attempt<'_, T> {
    type Error = PublishError;

    fn now_ms(&self) -> u64 {
        self.inner.table.now_ms()
    }

    fn fresh_id(&mut self) -> WriterId {
        let fresh = WriterId::random();
        tracing::info!(is = %fresh, "this environment publishes under a fresh id");
        fresh
    }

    fn current(&mut self, baseline: &Families) -> Result<Families, PublishError> {
        let inner = self.inner;
        let mut families = inner.sources.gather(inner.born_at_ms, inner.table.now_ms(), self.cap);
        inner.metrics.dropped(self.cap.refused());
        subtract(&mut families, baseline);
        Ok(families)
    }

    async fn put(&mut self, put: Put<'_, Families>) -> Result<PutOutcome<Families>, PublishError> {
        let inner = self.inner;
        let families = wire::encode(put.content, 0)?;
        self.bytes = families.bytes.len();
        let snapshot = Snapshot {
            writer: put.writer,
            shard: put.writer.shard(inner.settings.shards),
            seq: put.seq,
            function: inner.settings.function.clone(),
            version: inner.settings.version.clone(),
            updated_at_ms: inner.table.now_ms(),
            sealed_at_ms: put.sealed.then(|| inner.table.answered_at_ms()),
            closed: inner.closed.load(Ordering::SeqCst),
            families,
        };
        Ok(decoded(inner.table.put_snapshot(&snapshot, put.condition).await?)?)
    }

    async fn grave(&mut self, writer: WriterId) -> Result<Option<Families>, PublishError> {
        let grave = self.inner.table.grave(writer).await?;
        Ok(grave.as_ref().map(wire::decode).transpose()?)
    }
}

/// Why a publish failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PublishError {
    #[error(transparent)]
    Table(#[from] TableError),
    /// What was sealed under this writer's id cannot be decoded, so it is not known what was counted already.
    #[error("what was published before cannot be decoded")]
    Sealed(#[from] DecodeError),
    /// It does not fit into an item.
    #[error("the snapshot is too large: set STATS_MAX_SERIES lower")]
    TooLarge(#[from] TooLarge),
}

fn decoded(outcome: PutOutcome<Encoded>) -> Result<PutOutcome<Families>, DecodeError> {
    match outcome {
        PutOutcome::Stored => Ok(PutOutcome::Stored),
        PutOutcome::Refused(None) => Ok(PutOutcome::Refused(None)),
        PutOutcome::Refused(Some((head, families))) => Ok(PutOutcome::Refused(Some((head, wire::decode(&families)?)))),
    }
}

/// A request that was received and whose response is not out yet.
#[derive(Debug)]
pub struct RequestInFlight<T: PublishStats> {
    publisher: Option<Publisher<T>>,
}

impl<T: PublishStats> RequestInFlight<T> {
    /// The response is out: publishes, if it is time.
    pub(crate) async fn response_is_out(mut self) {
        if let Some(publisher) = self.publisher.take() {
            publisher.after_response().await;
        }
    }
}

impl<T: PublishStats> Drop for RequestInFlight<T> {
    fn drop(&mut self) {
        if let Some(publisher) = self.publisher.take() {
            publisher.schedule().abandon_request();
        }
    }
}
