//! The publisher, which publishes an execution environment's registries as its item of the stats table.

mod image;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::time;

use crate::clock::now_ms;
use crate::elapsed::ElapsedClock;
use crate::families::Families;
use crate::protocol::publish::{PublishPort, Put, publish};
use crate::protocol::writer::{PutOutcome, Writer};
use crate::publish::budget::LONGEST_HOLD;
use crate::publish::content::{Content, content};
use crate::publish::encoder::Encoder;
use crate::publish::environment::EnvironmentMetrics;
use crate::publish::error::{Fault, PublishError};
use crate::publish::failure_log::FailureLog;
use crate::publish::gather::{CollectorPanicked, Sources};
use crate::publish::gathered::Gathered;
use crate::publish::ledger::Ledger;
use crate::publish::schedule::{Arm, By, OnTimer, Schedule};
use crate::scrape::RESERVED;
use crate::settings::WriterSettings;
use crate::structures::Structures;
use crate::table::item::{Encoded, Snapshot, WriterId};
use crate::table::wire;
use crate::table::{DynamoDbStatsTable, PublishStats};

/// Longest time that the last publish may take: what Lambda leaves between SIGTERM and SIGKILL, less what the runtime needs.
const LAST_PUBLISH: Duration = Duration::from_millis(400);

/// Publishes an environment's metrics. Clones share one publisher.
///
/// A process needs only one. Of several publishers to one table, only the first has the metrics of the environment and
/// of the process, even once it is dropped, so that these are not counted twice.
#[derive(Debug)]
pub struct Publisher<T = DynamoDbStatsTable> {
    inner: Arc<Inner<T>>,
}

#[derive(Debug)]
struct Inner<T> {
    table: T,
    settings: WriterSettings,
    sources: Sources,
    metrics: EnvironmentMetrics,
    started_at: Instant,
    timing: Mutex<Timing>,
    /// Signal that wakes the timer if it has something to do before its sleep ends.
    wake_timer: Notify,
    /// State that is locked while a publish is under way, so that a later snapshot always has the greater `seq`.
    publishing: tokio::sync::Mutex<Publishing>,
    closed: watch::Sender<bool>,
}

#[derive(Debug)]
struct Timing {
    clock: ElapsedClock,
    schedule: Schedule,
    log: FailureLog,
}

#[derive(Debug)]
struct Publishing {
    /// Time at which the environment began, in milliseconds since the epoch.
    born_at_ms: u64,
    /// Writer under whose id the environment publishes. It is absent until the first publish: environments that are restored
    /// from one memory image after their init must not share an id.
    writer: Option<Writer<Content>>,
    ledger: Ledger,
    encoder: Encoder,
    /// `true` once readers are known to look under as many partition keys as this writer chooses from.
    shards_announced: bool,
}

impl<T> Clone for Publisher<T> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<T: PublishStats> Publisher<T> {
    /// Makes a publisher of these sources, and of the metrics that every environment has: invocations, cold starts, the process,
    /// and publishing itself.
    ///
    /// `started_at` is the time at which the program started, for `lambda_init_duration_seconds`: take it in the first line
    /// of `main`.
    ///
    /// # Errors
    ///
    /// If a gauge that [`Sources::gauge`] names is not registered.
    pub fn new(
        table: T,
        sources: Sources,
        settings: WriterSettings,
        started_at: Instant,
    ) -> Result<Self, prometheus::Error> {
        sources.check_gauges()?;
        let metrics = EnvironmentMetrics::new(&settings.function, &settings.table)?;
        let mut clock = ElapsedClock::new();
        let schedule = Schedule::new(settings.pace, clock.now());
        let ledger = Ledger::new(settings.max_series as usize, &RESERVED);
        let encoder = Encoder::new(settings.format);
        let inner = Inner {
            table,
            sources: metrics.add_to(sources),
            settings,
            metrics,
            started_at,
            timing: Mutex::new(Timing { clock, schedule, log: FailureLog::default() }),
            wake_timer: Notify::new(),
            publishing: tokio::sync::Mutex::new(Publishing {
                born_at_ms: now_ms(),
                writer: None,
                ledger,
                encoder,
                shards_announced: false,
            }),
            closed: watch::Sender::new(false),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Publishes now, whatever the pace. Call it from a loop that has no [`layer`](Self::layer). A publish that takes longer
    /// than a second is given up.
    ///
    /// # Errors
    ///
    /// If the publish failed: see [`PublishError`]. The failure is also logged and counted, and the next publish
    /// carries all that this one would have, so a loop may ignore the error. If the environment ends meanwhile, the
    /// failure is neither logged nor counted, because [`close`](Self::close) publishes the counts. After `close`, it is
    /// refused.
    pub async fn publish(&self) -> Result<(), PublishError> {
        self.giving_way(self.publish_now(LONGEST_HOLD, Contents::Requested)).await.map_err(PublishError)
    }

    /// Publishes a last time and marks the snapshot as closed, since this environment ends. Call it on SIGTERM, which Lambda
    /// follows with SIGKILL after 500 ms: it takes 400 ms at most. An environment that has neither received a request nor
    /// published is not worth an item, and publishes nothing. Afterwards [`publish`](Self::publish) is refused.
    pub async fn close(&self) {
        self.set_closed(true);
        let metrics = &self.inner.metrics;
        if metrics.invocations.get() > 0 || metrics.has_published() {
            let _ = self.publish_now(LAST_PUBLISH, Contents::All).await;
        }
    }

    /// Notes that the init is over.
    pub(crate) fn init_is_over(&self) {
        self.inner.metrics.ready(self.inner.started_at.elapsed());
    }

    /// Marks snapshots as closed, or no longer as closed, and stops or allows the timer's publishes. If the timer published
    /// for an environment that has ended, the item might be sealed by then, and a second item would be needed.
    fn set_closed(&self, is_closed: bool) {
        self.inner.closed.send_replace(is_closed);
        self.schedule(|schedule, _| schedule.set_closed(is_closed));
    }

    /// Publishes, unless the environment ends meanwhile. The last publish carries everything, and has little time. It must not
    /// wait for long for another one, which can hang on a connection from before a freeze.
    async fn giving_way(&self, publish: impl Future<Output = Result<(), Fault>>) -> Result<(), Fault> {
        let is_closed = *self.inner.closed.borrow();
        let ending = async {
            // The sender lives in this publisher, so waiting cannot fail.
            let _ = self.inner.closed.subscribe().wait_for(|closed| *closed).await;
            time::sleep(LAST_PUBLISH / 4).await;
        };
        tokio::select! {
            result = publish => result,
            () = ending, if !is_closed => Err(Fault::GaveWay),
        }
    }

    /// Gathers all that a publish gathers.
    pub(crate) fn gathered(&self) -> Result<Gathered, CollectorPanicked> {
        self.inner.sources.gathered()
    }

    /// Returns a number that tells this publisher from others of the process.
    pub(crate) fn address(&self) -> usize {
        Arc::as_ptr(&self.inner).addr()
    }

    /// Notes that a request has arrived, which Lambda ends at `deadline_ms`, in milliseconds since the epoch.
    pub(crate) fn begin_request(&self, deadline_ms: u64) -> RequestInFlight<T> {
        self.inner.metrics.invocations.inc();
        let left = time_left(deadline_ms, now_ms());
        let number = self.schedule(|schedule, now| schedule.begin_request(now, left.map(|left| now + left)));
        self.arm_timer();
        RequestInFlight { publisher: self.clone(), number, is_out: false }
    }

    /// Ensures that the timer runs, and does not sleep too long, if it has something to do.
    fn arm_timer(&self) {
        match self.schedule(Schedule::arm_timer) {
            Arm::Nothing => {}
            Arm::Wake => self.inner.wake_timer.notify_one(),
            Arm::Start => {
                let running = TimerRunning { publisher: self.clone(), has_nothing_left: false };
                // A publish that is dropped after its runtime has ended needs no timer any more.
                drop(Handle::try_current().map(|runtime| runtime.spawn(self.clone().run_timer(running))));
            }
        }
    }

    async fn run_timer(self, mut running: TimerRunning<T>) {
        loop {
            let (decision, now) = self.schedule(|schedule, now| (schedule.on_timer(now), now));
            match decision {
                OnTimer::Publish => self.publish_scheduled(By::Timer, Contents::Pending).await,
                OnTimer::PublishChanges => self.publish_scheduled(By::Timer, Contents::Changes).await,
                OnTimer::SleepUntil(later) => tokio::select! {
                    () = time::sleep(later.saturating_duration_since(now)) => {}
                    () = self.inner.wake_timer.notified() => {}
                },
                OnTimer::End => {
                    running.has_nothing_left = true;
                    break;
                }
            }
        }
    }

    /// Publishes when the schedule says so. A failure is logged and counted, and never fails a request. The next publish
    /// carries what this one would have.
    async fn publish_scheduled(&self, by: By, contents: Contents) {
        let mut begun = Begun { publisher: self, by, succeeded: false };
        begun.succeeded = self.giving_way(self.publish_within(LONGEST_HOLD, contents)).await.is_ok();
    }

    /// Publishes whatever the schedule says, and tells the schedule. Otherwise the timer would publish the same again, and
    /// if the environment has ended and its item was sealed meanwhile, as a second item.
    async fn publish_now(&self, limit: Duration, contents: Contents) -> Result<(), Fault> {
        self.schedule(Schedule::begin_publish);
        let mut begun = Begun { publisher: self, by: By::Caller, succeeded: false };
        let result = self.publish_within(limit, contents).await;
        begun.succeeded = result.is_ok();
        result
    }

    /// Publishes, and gives up after `limit`.
    async fn publish_within(&self, limit: Duration, contents: Contents) -> Result<(), Fault> {
        // A publish that is given up in the middle is like a request whose response was lost, which the writer is made for.
        let deadline = time::Instant::now() + limit;
        let result = time::timeout_at(deadline, self.try_publish(contents, deadline)).await;
        let result = result.unwrap_or(Err(Fault::TimedOut(limit)));
        // What gives way to the last publish is carried by it.
        if !matches!(result, Err(Fault::GaveWay)) {
            if let Err(error) = &result {
                self.inner.metrics.failed(error);
            }
            self.log(&result);
        }
        result
    }

    fn log(&self, result: &Result<(), Fault>) {
        let mut timing = self.inner.timing.lock().expect("no one panics while holding the lock");
        let now = timing.clock.now();
        match result {
            Ok(()) if timing.log.succeeded() => tracing::info!("publishing works again"),
            Ok(()) => {}
            Err(error) => {
                if let Some(failures) = timing.log.failed(&error.to_string(), now) {
                    let error: &dyn std::error::Error = error;
                    tracing::warn!(error, failures, "the metrics could not be published");
                }
            }
        }
    }

    async fn try_publish(&self, contents: Contents, deadline: time::Instant) -> Result<(), Fault> {
        let inner = &*self.inner;
        let mut publishing = inner.publishing.lock().await;
        let publishing = &mut *publishing;
        // The last publish took the lock first.
        if *inner.closed.borrow() {
            match contents {
                Contents::All => {}
                Contents::Requested => return Err(Fault::GaveWay),
                Contents::Pending | Contents::Changes => return Ok(()),
            }
        }
        if contents == Contents::Changes {
            inner.sources.gather(&mut publishing.ledger, inner.table.now_ms())?;
            if !publishing.ledger.has_changed() {
                return Ok(());
            }
        }
        if !publishing.shards_announced {
            // A reader looks under one key unless told otherwise, so it must be told before anything is stored under another
            // key.
            if inner.settings.shards > 1 {
                inner.table.announce_shards(inner.settings.shards).await?;
            }
            publishing.shards_announced = true;
        }
        let writer = publishing.writer.get_or_insert_with(|| Writer::new(WriterId::random()));
        let Publishing { born_at_ms, ledger, encoder, .. } = publishing;
        let mut attempt = Attempt { inner, born_at_ms: *born_at_ms, ledger, encoder, deadline, bytes: 0 };
        publish(writer, &mut attempt).await?;
        inner.metrics.published(attempt.bytes);
        publishing.ledger.published();
        Ok(())
    }

    fn schedule<R>(&self, decide: impl FnOnce(&mut Schedule, time::Instant) -> R) -> R {
        let mut timing = self.inner.timing.lock().expect("no one panics while holding the lock");
        let now = timing.clock.now();
        decide(&mut timing.schedule, now)
    }
}

/// One attempt to publish.
struct Attempt<'a, T> {
    inner: &'a Inner<T>,
    born_at_ms: u64,
    ledger: &'a mut Ledger,
    encoder: &'a mut Encoder,
    /// Time at which the publish is given up.
    deadline: time::Instant,
    /// Size of the families that were put last, in bytes.
    bytes: usize,
}

impl<T: PublishStats> PublishPort<Content> for Attempt<'_, T> {
    type Error = Fault;

    fn now_ms(&self) -> u64 {
        self.inner.table.now_ms()
    }

    fn fresh_id(&mut self) -> WriterId {
        let fresh = WriterId::random();
        tracing::info!(writer = %fresh, "this environment publishes under a fresh id");
        fresh
    }

    fn current(&mut self, baseline: &Content) -> Result<Content, Fault> {
        let (inner, born_at_ms) = (self.inner, self.born_at_ms);
        let baseline = baseline.families();
        let gather = |ledger: &mut Ledger| content(&inner.sources, ledger, &baseline, born_at_ms, inner.table.now_ms());
        let gathered = gather(self.ledger)?;
        // The counts of series that are refused for the first time are published now, and not only with the next publish.
        Ok(if inner.metrics.left_out(self.ledger) { gather(self.ledger)? } else { gathered })
    }

    async fn put(&mut self, put: Put<'_, Content>) -> Result<PutOutcome<Content>, Fault> {
        let inner = self.inner;
        let shard = put.writer.shard(inner.settings.shards);
        // A fence is empty.
        let families = if put.sealed {
            wire::encode(&put.content.families(), 0)?
        } else {
            self.encoder.encode(&inner.table, (shard, put.writer), put.content, self.deadline).await?
        };
        self.bytes = families.bytes.len();
        let snapshot = Snapshot {
            writer: put.writer,
            shard,
            seq: put.seq,
            function: inner.settings.function.clone(),
            version: inner.settings.version.clone(),
            updated_at_ms: inner.table.now_ms(),
            sealed_at_ms: put.sealed.then(|| inner.table.answered_at_ms()),
            closed: *inner.closed.borrow(),
            families,
        };
        Ok(match inner.table.put_snapshot(&snapshot, put.condition).await? {
            PutOutcome::Stored => PutOutcome::Stored,
            PutOutcome::Refused(None) => PutOutcome::Refused(None),
            PutOutcome::Refused(Some((head, stored))) => {
                // The content matters only if the stored snapshot is sealed.
                let families = if head.sealed { self.decode(shard, &stored).await? } else { Families::new() };
                PutOutcome::Refused(Some((head, Content::Families(families))))
            }
        })
    }

    async fn grave(&mut self, writer: WriterId) -> Result<Option<Content>, Fault> {
        let grave = self.inner.table.grave(writer).await?;
        Ok(grave.as_ref().map(wire::decode).transpose()?.map(Content::Families))
    }
}

impl<T: PublishStats> Attempt<'_, T> {
    async fn decode(&self, shard: u32, encoded: &Encoded) -> Result<Families, Fault> {
        let Some(id) = wire::structure_of(encoded)? else { return Ok(wire::decode(encoded)?) };
        let structure = Structures::default().get(&self.inner.table, shard, id).await?;
        Ok(wire::decode_with(encoded, &structure.map_err(|source| Fault::Structure { id, source })?)?)
    }
}

/// Content that is to be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contents {
    /// Everything, also once the environment has ended.
    All,
    /// Everything, or [`Fault::GaveWay`] if the environment has ended meanwhile. After that, an image of the environment may
    /// have been taken, and whatever a copy of it then publishes is published by every copy.
    Requested,
    /// Everything, or nothing if the environment has ended meanwhile.
    Pending,
    /// Everything, or nothing if there is no change since the last publish, or the environment has ended meanwhile.
    Changes,
}

/// Returns the time that Lambda still gives a request, if that is known. `cargo lambda` sends a constant deadline in the
/// past, which says nothing. A deadline more than a day ahead does not either, and could not be added to every clock.
fn time_left(deadline_ms: u64, now_ms: u64) -> Option<Duration> {
    const LONGEST: Duration = Duration::from_hours(24);
    let left = Duration::from_millis(deadline_ms.checked_sub(now_ms)?);
    (Duration::ZERO < left && left <= LONGEST).then_some(left)
}

/// A publish that has begun. However it ends, even by being dropped, it tells the schedule, which otherwise would begin no
/// other.
struct Begun<'a, T: PublishStats> {
    publisher: &'a Publisher<T>,
    by: By,
    succeeded: bool,
}

impl<T: PublishStats> Drop for Begun<'_, T> {
    fn drop(&mut self) {
        let (by, succeeded, jitter) = (self.by, self.succeeded, random_fraction());
        self.publisher.schedule(|schedule, now| schedule.published(by, succeeded, now, jitter));
        self.publisher.arm_timer();
    }
}

/// Returns a random number from 0 to 1. It comes from the system, since environments that were restored from one image must
/// not draw the same number.
fn random_fraction() -> f64 {
    let random = getrandom::u64().expect("the operating system has random numbers");
    random as f64 / u64::MAX as f64
}

/// A request that was received and whose response is not out yet.
#[derive(Debug)]
pub(crate) struct RequestInFlight<T: PublishStats> {
    publisher: Publisher<T>,
    number: u64,
    is_out: bool,
}

impl<T: PublishStats> RequestInFlight<T> {
    /// Notes that the response is out, and publishes if it is time.
    pub(crate) async fn response_is_out(mut self) {
        self.is_out = true;
        let number = self.number;
        if self.publisher.schedule(|schedule, now| schedule.end_request(number, now)) {
            self.publisher.publish_scheduled(By::Response, Contents::All).await;
        } else {
            self.publisher.arm_timer();
        }
    }
}

impl<T: PublishStats> Drop for RequestInFlight<T> {
    fn drop(&mut self) {
        if !self.is_out {
            let number = self.number;
            self.publisher.schedule(|schedule, _| schedule.abandon_request(number));
        }
    }
}

/// The timer's task. If it ends before the schedule says so, with its runtime, the schedule hears of it, or it would start no
/// other.
struct TimerRunning<T: PublishStats> {
    publisher: Publisher<T>,
    /// `true` once the schedule has ended the timer. It may have started another one since.
    has_nothing_left: bool,
}

impl<T: PublishStats> Drop for TimerRunning<T> {
    fn drop(&mut self) {
        if !self.has_nothing_left {
            self.publisher.schedule(|schedule, _| schedule.timer_was_lost());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use prometheus::core::{Collector, Desc};
    use prometheus::proto::MetricFamily;

    use super::*;
    use crate::table::{MemoryStatsTable, ReadStats};

    #[test]
    fn the_time_that_is_left_is_known_if_it_can_be_true() {
        const DAY_MS: u64 = 24 * 60 * 60 * 1000;
        for (deadline_ms, left_ms) in [
            (0, None),
            (4999, None),
            (5000, None),
            (5001, Some(1)),
            (5000 + DAY_MS, Some(DAY_MS)),
            (5001 + DAY_MS, None),
            (u64::MAX, None),
        ] {
            assert_eq!(time_left(deadline_ms, 5000), left_ms.map(Duration::from_millis), "{deadline_ms}");
        }
    }

    #[test]
    fn environments_draw_different_fractions() {
        let mut drawn = [(); 100].map(|()| random_fraction());
        assert!(drawn.iter().all(|fraction| (0.0..=1.0).contains(fraction)), "{drawn:?}");
        drawn.sort_by(f64::total_cmp);
        assert!(drawn[0] < 0.25 && drawn[99] > 0.75 && drawn.windows(2).all(|pair| pair[0] < pair[1]), "{drawn:?}");
    }

    /// A runtime can end before the process does.
    #[test]
    fn a_timer_that_was_lost_is_started_again() {
        let table = MemoryStatsTable::default();
        let settings = WriterSettings::builder("lost", "encode", "1").build().unwrap();
        let sources = Sources::new(prometheus::Registry::new());
        let publisher = Publisher::new(table.clone(), sources, settings, Instant::now()).unwrap();
        let runtime =
            || tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime().block_on(async { drop(publisher.begin_request(0)) });
        runtime().block_on(async {
            let _long = publisher.begin_request(0);
            time::sleep(Duration::from_secs(5)).await;
            assert_eq!(table.snapshots(0).await.unwrap().len(), 1);
        });
    }

    /// Panics when it is told to.
    #[derive(Clone, Default)]
    struct Touchy(Arc<AtomicBool>);

    impl Collector for Touchy {
        fn desc(&self) -> Vec<&Desc> {
            Vec::new()
        }

        fn collect(&self) -> Vec<MetricFamily> {
            assert!(!self.0.load(Ordering::SeqCst), "out of order");
            Vec::new()
        }
    }

    /// A collector can be the program's own code.
    #[tokio::test(start_paused = true)]
    async fn a_collector_that_panics_fails_a_publish_and_nothing_else() {
        let (table, registry, touchy) = (MemoryStatsTable::default(), prometheus::Registry::new(), Touchy::default());
        registry.register(Box::new(touchy.clone())).unwrap();
        let settings = WriterSettings::builder("panics", "encode", "1").build().unwrap();
        let publisher = Publisher::new(table.clone(), Sources::new(registry), settings, Instant::now()).unwrap();
        touchy.0.store(true, Ordering::SeqCst);
        let error = publisher.publish().await.unwrap_err();
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "a collector panicked: out of order");
        let request = publisher.begin_request(0);
        time::sleep(Duration::from_secs(5)).await;
        assert_eq!(table.snapshots(0).await.unwrap(), []);
        touchy.0.store(false, Ordering::SeqCst);
        time::sleep(Duration::from_secs(120)).await;
        // Besides, there is a fence: a writer that has begun takes its first put for sent.
        let unsealed = |snapshot: &Snapshot| snapshot.sealed_at_ms.is_none();
        let found = table.snapshots(0).await.unwrap();
        assert_eq!(found.iter().flatten().filter(|one| unsealed(one)).count(), 1, "the timer goes on");
        drop(request);
    }

    /// Environments that are restored from one memory image, taken after their init, must not share an id.
    #[tokio::test(start_paused = true)]
    async fn a_writer_has_no_id_before_its_first_publish() {
        let table = MemoryStatsTable::default();
        let settings = WriterSettings::builder("init", "encode", "1").build().unwrap();
        let sources = Sources::new(prometheus::Registry::new());
        let publisher = Publisher::new(table.clone(), sources, settings, Instant::now()).unwrap();
        let _layer = publisher.layer();
        assert!(publisher.inner.publishing.lock().await.writer.is_none());
        publisher.begin_request(0).response_is_out().await;
        let id = *publisher.inner.publishing.lock().await.writer.as_ref().unwrap().id();
        assert_eq!(table.snapshots(0).await.unwrap()[0].as_ref().unwrap().writer, id);
    }
}
