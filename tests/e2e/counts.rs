//! Shows that the counters equal what was done, to the last request: with one client, and with eight at once.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::kit::bundle::{Bundle, Options};
use harness::kit::client::{Client, Sigil};
use harness::kit::exposition::Exposition;
use harness::kit::wait::{self, not_yet};
use serde_json::{Value, json};
use tokio::task::JoinSet;

const ENCODES: usize = 50;
const VERIFIES: usize = 30;
const TAMPERED: usize = 10;
const REVOCATIONS: usize = 5;

/// Longest time until everything is on the page. A busy environment publishes with a lag of at most a second.
const PATIENCE: Duration = Duration::from_secs(20);

type Labels = &'static [(&'static str, &'static str)];

/// Series by name and labels, each with the number by which it must rise.
const RISES: [(&str, Labels, usize); 6] = [
    ("sigil_encode_total", &[], ENCODES),
    ("sigil_encode_duration_seconds_count", &[], ENCODES),
    ("sigil_verify_total", &[], VERIFIES),
    ("sigil_verify_total", &[("verdict", "tampered")], TAMPERED),
    ("sigil_revoke_total", &[], REVOCATIONS),
    ("sigil_gc_total", &[], 1),
];

#[tokio::test(flavor = "multi_thread")]
async fn one_client_after_another() -> Result<()> {
    let bundle = Bundle::start(&Options::for_test("counts-one")).await?;
    counts_exactly(bundle, 1).await
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_clients_at_once() -> Result<()> {
    let bundle = Bundle::start(&Options::for_test("counts-eight").concurrency(4)).await?;
    counts_exactly(bundle, 8).await
}

async fn counts_exactly(bundle: Bundle, clients: usize) -> Result<()> {
    let client = &bundle.client().clone();
    let before = client.metrics().await?;

    let data: Vec<Value> = (0..ENCODES).map(|number| json!({ "number": number })).collect();
    let sigils =
        in_parallel(client, clients, data.clone(), |client, data| async move { client.encode(&data).await }).await?;
    let verifies: Vec<(usize, Sigil, Value)> = (0..VERIFIES)
        .map(|number| {
            let (sigil, own) = &sigils[number];
            (number, sigil.clone(), if number < TAMPERED { json!("something else") } else { own.clone() })
        })
        .collect();
    in_parallel(client, clients, verifies, |client, (number, sigil, data)| async move {
        let verdict = client.verdict(&sigil.token, Some(&data)).await?;
        let expected = if number < TAMPERED { "tampered" } else { "valid" };
        ensure!(verdict == expected, "the verdict is {verdict}, not {expected}");
        Ok(())
    })
    .await?;
    let revoked: Vec<Sigil> = sigils.iter().take(REVOCATIONS).map(|(sigil, _)| sigil.clone()).collect();
    in_parallel(client, clients, revoked, |client, sigil| async move { client.revoke(&sigil.id).await?.expect(200) })
        .await?;
    client.gc().await?;

    wait::until("everything is counted", PATIENCE, async || {
        let now = client.metrics().await?;
        match RISES.iter().find(|(name, labels, by)| rise(&before, &now, name, labels) < *by as f64) {
            None => Ok(()),
            Some((name, labels, by)) => {
                not_yet(format!("{name}{labels:?} has risen by {}, not {by}", rise(&before, &now, name, labels)))
            }
        }
    })
    .await?;
    // Once every environment has ended, nothing can be published any more. So a rise that is exact now had no count twice.
    let bundle = bundle.restart_functions().await?;
    let after = bundle.client().metrics().await?;
    for (name, labels, by) in RISES {
        assert_eq!(rise(&before, &after, name, labels), by as f64, "the rise of {name}{labels:?}");
    }
    Ok(())
}

fn rise(before: &Exposition, after: &Exposition, name: &str, labels: &[(&str, &str)]) -> f64 {
    after.sum(name, labels) - before.sum(name, labels)
}

/// Deals the jobs out to `clients` clients, each of which does its jobs one after another. Returns each result with its job.
async fn in_parallel<J, T, F, W>(client: &Client, clients: usize, jobs: Vec<J>, work: F) -> Result<Vec<(T, J)>>
where
    J: Clone + Send + 'static,
    T: Send + 'static,
    F: Fn(Client, J) -> W + Clone + Send + 'static,
    W: Future<Output = Result<T>> + Send,
{
    let mut tasks = JoinSet::new();
    for number in 0..clients {
        let own: Vec<J> = jobs.iter().skip(number).step_by(clients).cloned().collect();
        let (client, work) = (client.clone(), work.clone());
        tasks.spawn(async move {
            let mut results = Vec::new();
            for job in own {
                results.push((work(client.clone(), job.clone()).await?, job));
            }
            anyhow::Ok(results)
        });
    }
    let mut results = Vec::new();
    while let Some(finished) = tasks.join_next().await {
        results.extend(finished??);
    }
    Ok(results)
}
