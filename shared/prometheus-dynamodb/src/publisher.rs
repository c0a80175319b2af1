//! Publishing: an execution environment's registries into its item of the stats table.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use tokio::time;

use crate::clock::now_ms;
use crate::environment::EnvironmentMetrics;
use crate::gather::Sources;
use crate::item::{Snapshot, WriterId};
use crate::layer::PublishLayer;
use crate::protocol::{Published, WriterState};
use crate::schedule::{AfterResponse, OnTimer, Schedule};
use crate::settings::WriterSettings;
use crate::table::{PutSnapshot, TableError};
use crate::wire;

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
    writer: tokio::sync::Mutex<Writer>,
    closed: AtomicBool,
}

#[derive(Debug)]
struct Writer {
    /// Absent until the first publish: environments that are restored from one memory image after their init must not
    /// share an id.
    state: Option<WriterState>,
    /// Whether readers are known to look under as many partition keys as this writer chooses from.
    shards_announced: bool,
}

impl<T> Clone for Publisher<T> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<T: PutSnapshot> Publisher<T> {
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
        let inner = Inner {
            table,
            sources: metrics.add_to(sources),
            settings,
            metrics,
            started_at,
            born_at_ms: now_ms(),
            schedule: Mutex::new(schedule),
            writer: tokio::sync::Mutex::new(Writer { state: None, shards_announced: false }),
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
        let result = self.put().await;
        if let Err(error) = &result {
            self.inner.metrics.failed(error);
            tracing::warn!(error = error as &dyn std::error::Error, "the metrics could not be published");
        }
        if let Ok(Published::Superseded) = result {
            self.inner.metrics.superseded();
            tracing::warn!("this environment was silent for so long that its metrics are closed to it");
        }
        let timer = self.schedule().published(result.is_ok(), time::Instant::now());
        if let Some(at) = timer {
            self.start_timer(at);
        }
    }

    async fn put(&self) -> Result<Published, TableError> {
        let inner = &*self.inner;
        let mut writer = inner.writer.lock().await;
        if !writer.shards_announced {
            // A reader looks under one key unless told otherwise, and must be told before anything stands elsewhere.
            if inner.settings.shards > 1 {
                inner.table.announce_shards(inner.settings.shards).await?;
            }
            writer.shards_announced = true;
        }
        let now_ms = now_ms();
        let families = wire::encode(&inner.sources.gather(inner.born_at_ms, now_ms));
        let bytes = families.len();
        let state = writer.state.get_or_insert_with(|| WriterState::new(WriterId::random()));
        let (seq, condition) = state.begin();
        let snapshot = Snapshot {
            writer: state.id().clone(),
            shard: state.id().shard(inner.settings.shards),
            seq,
            function: inner.settings.function.clone(),
            version: inner.settings.version.clone(),
            updated_at_ms: now_ms,
            sealed: false,
            closed: inner.closed.load(Ordering::SeqCst),
            format: wire::FORMAT,
            families,
        };
        let outcome = inner.table.put_snapshot(&snapshot, condition).await?;
        let published = state.settle(seq, outcome);
        if published == Published::Yes {
            inner.metrics.published(bytes);
        }
        Ok(published)
    }

    fn schedule(&self) -> MutexGuard<'_, Schedule> {
        self.inner.schedule.lock().expect("no one panics while holding the lock")
    }
}

/// A request that was received and whose response is not out yet.
pub(crate) struct RequestInFlight<T: PutSnapshot> {
    publisher: Option<Publisher<T>>,
}

impl<T: PutSnapshot> RequestInFlight<T> {
    /// The response is out: publishes, if it is time.
    pub(crate) async fn response_is_out(mut self) {
        if let Some(publisher) = self.publisher.take() {
            publisher.after_response().await;
        }
    }
}

impl<T: PutSnapshot> Drop for RequestInFlight<T> {
    fn drop(&mut self) {
        if let Some(publisher) = self.publisher.take() {
            publisher.schedule().abandon_request();
        }
    }
}
