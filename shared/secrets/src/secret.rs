//! Keeps a value and renews it while it is in use.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use prometheus::IntCounter;
use tokio::sync::Mutex;

use crate::due_time::DueTime;
use crate::error::SecretError;

/// Age at which a value is read again. A rotation takes at most this long to reach an environment that can read the
/// secret.
pub const MAX_AGE: Duration = Duration::from_secs(60);

/// Age at which a value is no longer used while another request renews it. An environment that was idle for hours must not
/// accept what has been revoked meanwhile, only because two requests arrive at once.
const MAX_AGE_MEANWHILE: Duration = Duration::from_secs(120);

/// Pause after a failed renewal. A renewal can make a request wait for as long as the client's time-outs allow, so
/// while Secrets Manager is out of reach, at most one request waits in each such pause.
pub const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(15);

/// Shortest time between two renewals that requests caused. Anybody can send an unknown token, and must not be able to
/// cause many calls to Secrets Manager.
pub const PAUSE_BETWEEN_MISSES: Duration = Duration::from_secs(5);

/// A secret as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading<T> {
    /// The value.
    pub value: T,
    /// Parts that could not be read and were left out, as sentences that repeat nothing of the secret. They are logged
    /// when they change.
    pub skipped: Vec<String>,
}

type ReadingFuture<T> = Pin<Box<dyn Future<Output = Result<Reading<T>, SecretError>> + Send>>;
type Read<T> = Box<dyn Fn(Option<Arc<T>>) -> ReadingFuture<T> + Send + Sync>;

/// Current value of a secret. Clones share the value.
///
/// The request that finds the value too old renews it. There is no renewal in the background, because an environment is
/// frozen between requests, which would cut off a call under way.
pub struct Secret<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    held: RwLock<Held<T>>,
    renewal: Option<Renewal<T>>,
}

/// A value, as it is held between two renewals.
struct Held<T> {
    value: Arc<T>,
    /// Time from which a request waits for the renewal that another one has begun.
    stale_from: DueTime,
}

impl<T> Held<T> {
    fn new(value: T) -> Self {
        Self { value: Arc::new(value), stale_from: DueTime::after(MAX_AGE_MEANWHILE) }
    }
}

struct Renewal<T> {
    read: Read<T>,
    failures: IntCounter,
    due: Mutex<Due>,
}

struct Due {
    /// Time at which the value becomes too old.
    by_age: DueTime,
    /// Time from which a miss may renew the value.
    after_miss: DueTime,
    /// Complaints of the last reading. A complaint is logged only once, because a busy environment would repeat it a
    /// million times a month.
    complaints: Vec<String>,
}

/// Creates the counter of failed renewals. Register it with the metrics that are published.
pub fn failures() -> IntCounter {
    let help = "Renewals of a secret that failed; the value before it stayed in use.";
    IntCounter::new("secret_renewal_failures_total", help).expect("the name is valid")
}

impl<T: Send + Sync> Secret<T> {
    /// Creates a value that never changes.
    pub fn fixed(value: T) -> Self {
        Self { shared: Arc::new(Shared { held: RwLock::new(Held::new(value)), renewal: None }) }
    }

    /// Creates a value that `read` returns, now and at each renewal. `read` is given the value in use, if there is one.
    /// `failures` counts failed renewals.
    ///
    /// # Errors
    ///
    /// If the first reading fails, since there is no value to use then.
    pub async fn load<F>(
        read: impl Fn(Option<Arc<T>>) -> F + Send + Sync + 'static,
        failures: IntCounter,
    ) -> Result<Self, SecretError>
    where
        F: Future<Output = Result<Reading<T>, SecretError>> + Send + 'static,
    {
        let Reading { value, skipped } = read(None).await?;
        let mut due =
            Due { by_age: DueTime::after(MAX_AGE), after_miss: DueTime::after(Duration::ZERO), complaints: Vec::new() };
        due.complain(skipped);
        let renewal = Renewal { read: Box::new(move |held| Box::pin(read(held))), failures, due: Mutex::new(due) };
        Ok(Self { shared: Arc::new(Shared { held: RwLock::new(Held::new(value)), renewal: Some(renewal) }) })
    }

    /// Returns the value, renewed if it is too old.
    pub async fn get(&self) -> Arc<T> {
        if let Some(renewal) = &self.shared.renewal {
            let due = match renewal.due.try_lock() {
                Ok(due) => Some(due),
                // Another request renews the value.
                Err(_) if self.shared.is_stale() => Some(renewal.due.lock().await),
                Err(_) => None,
            };
            if let Some(mut due) = due
                && due.by_age.has_come()
            {
                self.shared.renew(renewal, &mut due).await;
            }
        }
        self.shared.value()
    }

    /// Returns the value, renewed because a request presented something that the value does not contain, such as a
    /// token from after a rotation. Misses in quick succession do not renew it again.
    pub async fn get_after_miss(&self) -> Arc<T> {
        if let Some(renewal) = &self.shared.renewal {
            let mut due = renewal.due.lock().await;
            if due.after_miss.has_come() {
                let next_miss = DueTime::after(PAUSE_BETWEEN_MISSES);
                self.shared.renew(renewal, &mut due).await;
                due.after_miss = due.after_miss.max(next_miss);
            }
        }
        self.shared.value()
    }
}

impl<T> Shared<T> {
    fn value(&self) -> Arc<T> {
        Arc::clone(&self.held.read().unwrap_or_else(PoisonError::into_inner).value)
    }

    fn is_stale(&self) -> bool {
        self.held.read().unwrap_or_else(PoisonError::into_inner).stale_from.has_come()
    }

    async fn renew(&self, renewal: &Renewal<T>, due: &mut Due) {
        // The pause is set before the reading begins: a caller that gives up waiting drops this future, and the next
        // caller must not have to wait as long again.
        due.pause();
        match (renewal.read)(Some(self.value())).await {
            Ok(Reading { value, skipped }) => {
                *self.held.write().unwrap_or_else(PoisonError::into_inner) = Held::new(value);
                (due.by_age, due.after_miss) = (DueTime::after(MAX_AGE), DueTime::after(Duration::ZERO));
                due.complain(skipped);
            }
            Err(error) => {
                // Waiting for the next renewal gains nothing while they fail.
                self.held.write().unwrap_or_else(PoisonError::into_inner).stale_from =
                    DueTime::after(MAX_AGE_MEANWHILE);
                renewal.failures.inc();
                due.pause();
                due.complain(vec![format!("{error}; the value before it stays in use")]);
            }
        }
    }
}

impl Due {
    /// Postpones the next renewal.
    fn pause(&mut self) {
        let later = DueTime::after(PAUSE_AFTER_FAILURE);
        (self.by_age, self.after_miss) = (later, later);
    }

    /// Logs complaints that differ from the last ones.
    fn complain(&mut self, complaints: Vec<String>) {
        if complaints == self.complaints {
            return;
        }
        for complaint in &complaints {
            tracing::error!("{complaint}");
        }
        if complaints.is_empty() {
            tracing::info!("the secret is in order again");
        }
        self.complaints = complaints;
    }
}

impl<T> Clone for Secret<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arn::SecretArn;
    use std::sync::atomic::{AtomicU32, Ordering};

    // The times that the documents promise.
    const MAX_AGE: Duration = Duration::from_secs(60);
    const MAX_AGE_MEANWHILE: Duration = Duration::from_secs(120);
    const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(15);
    const PAUSE_BETWEEN_MISSES: Duration = Duration::from_secs(5);

    /// Returns a secret whose reads give 0, 1, 2 …, and those listed in `failing` fail; with the number of reads and
    /// the counter of failures.
    async fn counting(failing: &'static [u32]) -> (Secret<u32>, Arc<AtomicU32>, IntCounter) {
        let (reads, failures) = (Arc::new(AtomicU32::new(0)), failures());
        let counter = Arc::clone(&reads);
        let read = move |_held| {
            let read = counter.fetch_add(1, Ordering::Relaxed);
            let arn = SecretArn::parse("arn:aws:secretsmanager:eu-central-1:1:secret:a").unwrap();
            let failed = SecretError::Unavailable { arn, reason: "it is out of reach".into() };
            async move {
                if failing.contains(&read) { Err(failed) } else { Ok(Reading { value: read, skipped: Vec::new() }) }
            }
        };
        (Secret::load(read, failures.clone()).await.unwrap(), reads, failures)
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_read_again_only_when_it_is_too_old() {
        let (secret, reads, _) = counting(&[]).await;
        tokio::time::advance(MAX_AGE - Duration::from_millis(1)).await;
        assert_eq!((*secret.get().await, reads.load(Ordering::Relaxed)), (0, 1));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!((*secret.get().await, *secret.get().await, reads.load(Ordering::Relaxed)), (1, 1, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn while_another_request_renews_it_it_is_used_unless_it_is_very_old() {
        let reads = Arc::new(AtomicU32::new(0));
        let read = move |_held| {
            let read = reads.fetch_add(1, Ordering::Relaxed);
            async move {
                tokio::time::sleep(Duration::from_millis(500)).await;
                Ok(Reading { value: read, skipped: Vec::new() })
            }
        };
        let secret = Secret::load(read, failures()).await.unwrap();
        for (idle, values) in [(MAX_AGE, (1, 0)), (MAX_AGE_MEANWHILE, (2, 2)), (MAX_AGE * 180, (3, 3))] {
            tokio::time::advance(idle).await;
            let (one, other) = tokio::join!(secret.get(), secret.get());
            assert_eq!((*one, *other), values, "{idle:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn while_renewals_fail_one_request_waits_for_each_and_no_other() {
        let reads = Arc::new(AtomicU32::new(0));
        let read = move |_held| {
            let is_first = reads.fetch_add(1, Ordering::Relaxed) == 0;
            async move {
                tokio::time::sleep(Duration::from_millis(500)).await;
                let arn = SecretArn::parse("arn:aws:secretsmanager:eu-central-1:1:secret:a").unwrap();
                let failed = SecretError::Unavailable { arn, reason: "it is out of reach".into() };
                if is_first { Ok(Reading { value: 0, skipped: Vec::new() }) } else { Err(failed) }
            }
        };
        let secret = Secret::load(read, failures()).await.unwrap();
        tokio::time::advance(MAX_AGE_MEANWHILE * 2).await;
        secret.get().await;
        tokio::time::advance(PAUSE_AFTER_FAILURE).await;
        let waited = async || {
            let start = tokio::time::Instant::now();
            secret.get().await;
            start.elapsed()
        };
        assert_eq!(tokio::join!(waited(), waited()), (Duration::from_millis(500), Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn a_freeze_makes_it_older() {
        let (secret, reads, _) = counting(&[]).await;
        let freeze = async |length| {
            let mut due = secret.shared.renewal.as_ref().unwrap().due.lock().await;
            due.by_age = due.by_age.after_freeze(length);
        };
        let half = MAX_AGE / 2;
        freeze(half).await;
        assert_eq!((*secret.get().await, reads.load(Ordering::Relaxed)), (0, 1));
        freeze(half).await;
        assert_eq!((*secret.get().await, *secret.get().await, reads.load(Ordering::Relaxed)), (1, 1, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_that_fails_leaves_the_value_and_is_counted_and_tried_again() {
        let (secret, _, failures) = counting(&[1]).await;
        tokio::time::advance(MAX_AGE).await;
        assert_eq!((*secret.get().await, failures.get()), (0, 1));
        tokio::time::advance(PAUSE_AFTER_FAILURE - Duration::from_millis(1)).await;
        assert_eq!((*secret.get().await, failures.get()), (0, 1));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!((*secret.get().await, failures.get()), (2, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_failure_no_miss_waits_for_another_one() {
        let (secret, reads, _) = counting(&[1]).await;
        tokio::time::advance(MAX_AGE).await;
        assert_eq!((*secret.get().await, *secret.get_after_miss().await), (0, 0));
        assert_eq!(reads.load(Ordering::Relaxed), 2);
        tokio::time::advance(PAUSE_AFTER_FAILURE).await;
        assert_eq!(*secret.get_after_miss().await, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_that_is_given_up_is_not_begun_again_by_the_next_request() {
        let reads = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&reads);
        let read = move |_held| {
            let read = counter.fetch_add(1, Ordering::Relaxed);
            async move {
                if read == 1 {
                    std::future::pending::<()>().await;
                }
                Ok(Reading { value: read, skipped: Vec::new() })
            }
        };
        let secret = Secret::load(read, failures()).await.unwrap();
        tokio::time::advance(MAX_AGE).await;
        assert!(tokio::time::timeout(Duration::from_secs(1), secret.get()).await.is_err(), "it never ends");
        assert_eq!((*secret.get().await, *secret.get_after_miss().await), (0, 0));
        tokio::time::advance(PAUSE_AFTER_FAILURE).await;
        assert_eq!(*secret.get().await, 2);
    }

    #[tokio::test]
    async fn what_was_skipped_is_logged_when_it_changes() {
        let now = DueTime::after(Duration::ZERO);
        let mut due = Due { by_age: now, after_miss: now, complaints: Vec::new() };
        let logged = |due: &mut Due, complaints: &[&str]| {
            let log = Log::default();
            let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish();
            let complaints = complaints.iter().map(|&complaint| complaint.to_owned()).collect();
            tracing::subscriber::with_default(subscriber, || due.complain(complaints));
            let bytes = log.0.lock().unwrap().clone();
            String::from_utf8(bytes).unwrap()
        };
        assert_eq!(logged(&mut due, &[]), "");
        assert!(logged(&mut due, &["the old one is wrong"]).contains("the old one is wrong"));
        assert_eq!(logged(&mut due, &["the old one is wrong"]), "");
        assert!(logged(&mut due, &["the new one is wrong"]).contains("the new one is wrong"));
        assert!(logged(&mut due, &[]).contains("in order again"));
    }

    #[derive(Clone, Default)]
    struct Log(Arc<std::sync::Mutex<Vec<u8>>>);

    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl tracing_subscriber::fmt::MakeWriter<'_> for Log {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_miss_renews_at_once_but_many_misses_do_not() {
        let (secret, reads, _) = counting(&[]).await;
        assert_eq!(*secret.get_after_miss().await, 1);
        for _ in 0..100 {
            assert_eq!(*secret.get_after_miss().await, 1);
        }
        tokio::time::advance(PAUSE_BETWEEN_MISSES - Duration::from_millis(1)).await;
        assert_eq!((*secret.get_after_miss().await, reads.load(Ordering::Relaxed)), (1, 2));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(*secret.get_after_miss().await, 2);
    }

    #[tokio::test]
    async fn a_fixed_value_stays() {
        let secret = Secret::fixed(7);
        assert_eq!((*secret.get().await, *secret.get_after_miss().await), (7, 7));
    }
}
