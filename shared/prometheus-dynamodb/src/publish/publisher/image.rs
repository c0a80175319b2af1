//! Handles environments that are restored from an image of an initialized one, as SnapStart does it.
//!
//! The image holds what was counted during the init, and each restored environment would count that again. So the
//! environment of which the image is taken publishes it and is closed. Each restored environment begins from there: with its
//! own id, birth and cold start, and with nothing counted.

use std::sync::Arc;

use lambda_runtime::{BoxFuture, Error, SnapStartResource};

use super::{Contents, LONGEST_HOLD, Publisher};
use crate::clock::now_ms;
use crate::protocol::writer::Writer;
use crate::publish::content::Content;
use crate::table::PublishStats;
use crate::table::item::WriterId;

/// Number of attempts to publish before the image is taken. Counts that are not published by then are lost.
const ATTEMPTS: u32 = 3;

/// The hooks that a runtime calls around an image: `runtime.register_snapstart_resource(Arc::new(publisher.clone()))`.
///
/// Register the publisher before all other resources. Its hooks are then called last before the image is taken, and first
/// after an environment was restored, and so cover what the hooks of others count. A publish that fails fails neither hook:
/// what was counted before the image may be lost, but is never there twice. A collector that panics fails the restore, since
/// it is not known then what was counted before.
impl<T: PublishStats> SnapStartResource for Publisher<T> {
    fn before_snapshot(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async {
            self.set_closed(true);
            for _ in 0..ATTEMPTS {
                if self.publish_now(LONGEST_HOLD, Contents::All).await.is_ok() {
                    return Ok(());
                }
            }
            tracing::warn!("the counts from before the image could not be published and are lost");
            Ok(())
        })
    }

    fn after_restore(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async {
            let inner = &*self.inner;
            let mut publishing = inner.publishing.lock().await;
            // Gathers only now, so that nothing that was counted between the last publish and the image is counted in each
            // copy.
            inner.sources.gather(&mut publishing.ledger, inner.table.now_ms())?;
            let values = publishing.ledger.values(publishing.born_at_ms, inner.table.now_ms());
            let counted_before = Content::Gathered { structure: Arc::clone(publishing.ledger.structure()), values };
            publishing.ledger.continue_in_copy();
            publishing.born_at_ms = now_ms();
            publishing.writer = Some(Writer::of_copy(WriterId::random(), counted_before));
            self.set_closed(false);
            inner.metrics.restored();
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use prometheus::{IntCounter, Registry};

    use super::*;
    use crate::families::exact_sum::ExactSum;
    use crate::families::{Families, Series, Value};
    use crate::publish::gather::Sources;
    use crate::settings::WriterSettings;
    use crate::table::item::Snapshot;
    use crate::table::wire;
    use crate::table::{MemoryStatsTable, ReadStats};

    fn series<'a>(families: &'a Families, name: &str) -> &'a Series {
        let (_, family) = families.iter().find(|(key, _)| key.name == name).unwrap();
        family.series.values().next().unwrap()
    }

    async fn snapshots(table: &MemoryStatsTable) -> Vec<(Snapshot, Families)> {
        let snapshots = table.snapshots(0).await.unwrap().into_iter().map(Result::unwrap);
        snapshots.map(|snapshot| (snapshot.clone(), wire::decode(&snapshot.families).unwrap())).collect()
    }

    #[tokio::test]
    async fn what_is_restored_counts_what_comes_from_then_on() {
        let table = MemoryStatsTable::default();
        let registry = Registry::new();
        let jobs = IntCounter::new("jobs_total", "Jobs.").unwrap();
        registry.register(Box::new(jobs.clone())).unwrap();
        let settings = WriterSettings::builder("image", "encode", "1").format(wire::FORMAT).build().unwrap();
        let publisher = Publisher::new(table.clone(), Sources::new(registry), settings, Instant::now()).unwrap();
        let _layer = publisher.layer();

        jobs.inc_by(5);
        publisher.before_snapshot().await.unwrap();
        let before = snapshots(&table).await;
        assert!(before[0].0.closed);
        assert_eq!(series(&before[0].1, "jobs_total").value, Value::Sum(ExactSum::of([5.0])));

        jobs.inc_by(2);
        std::thread::sleep(Duration::from_millis(2));
        let restored_at_ms = now_ms();
        publisher.after_restore().await.unwrap();
        jobs.inc();
        publisher.begin_request(0).response_is_out().await;
        let after = snapshots(&table).await;
        let image = before[0].0.writer;
        let (restored, families) = after.iter().find(|(snapshot, _)| snapshot.writer != image).unwrap();
        assert!(!restored.closed);
        for name in ["jobs_total", "lambda_cold_starts_total", "lambda_invocations_total"] {
            let series = series(families, name);
            assert_eq!(series.value, Value::Sum(ExactSum::of([1.0])), "{name}");
            assert!(series.created_at_ms >= restored_at_ms, "{name}");
        }
    }
}
