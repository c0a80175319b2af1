//! Runs the work whose instructions `make guard` counts: the work that makes up this project's cost, without a
//! database.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use prometheus_dynamodb::MemoryStatsTable;
use secrets::Secret;
use sigil::canonical::CanonicalJson;
use sigil::encode::{EncodeRequest, Encoder, Lifetimes};
use sigil::keys::{self, SigningKeys};
use sigil::store::MemoryStore;
use sigil::timestamp::Timestamp;

use super::population::{self, Environment, SERIES, Shape};
use super::sigils::document;

/// Number of environments that the counted scrape reads.
const ENVIRONMENTS: usize = 50;

const USAGE: &str = "usage: harness count scrape|publish|encode <times>";

/// Does the named work a number of times. The difference between two runs of different numbers is the cost of the work
/// alone.
pub async fn run(arguments: &[String]) -> Result<()> {
    let [work, times] = arguments else { bail!(USAGE) };
    let (work, times) = (work.clone(), times.parse::<u32>().context(USAGE)?);
    // The work runs on a separate thread, so that no other thread takes part in it.
    tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        runtime.block_on(async {
            match work.as_str() {
                "scrape" => scrape(times).await,
                "publish" => publish(times).await,
                "encode" => encode(times).await,
                _ => bail!(USAGE),
            }
        })
    })
    .await?
}

async fn scrape(times: u32) -> Result<()> {
    let stats = MemoryStatsTable::default();
    population::populate(&stats, 0..ENVIRONMENTS, Shape::of(SERIES), 1).await?;
    for _ in 0..times {
        std::hint::black_box(population::page(&stats).await?);
    }
    Ok(())
}

async fn publish(times: u32) -> Result<()> {
    let mut environment = Environment::new(MemoryStatsTable::default(), Shape::of(SERIES).registry(7)?, 1)?;
    environment.settle().await;
    for _ in 0..times {
        environment.request().await;
    }
    Ok(())
}

async fn encode(times: u32) -> Result<()> {
    let keys = SigningKeys::parse(&keys::generate("bench"))?;
    let hour = Duration::from_secs(3600).as_secs();
    let lifetimes = Lifetimes { max_ttl_seconds: hour, retention_seconds: hour };
    let encoder = Encoder::new(MemoryStore::default(), Secret::fixed(keys), lifetimes);
    let text = document(1000);
    for _ in 0..times {
        let data = CanonicalJson::from_json(&text)?;
        let request = EncodeRequest { data, metadata: None, ttl_seconds: None, idempotency_key: None };
        std::hint::black_box(encoder.encode(request, Timestamp::now()).await?);
    }
    Ok(())
}
