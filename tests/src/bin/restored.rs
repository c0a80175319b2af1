//! An environment whose image is taken after its init and restored `RESTORES` times, by `fork`, which gives each
//! restored environment the memory as it was. As with SnapStart, no connection outlives the image. Each restored
//! environment handles `REQUESTS` requests, and then lives until it is killed.
//!
//! The init adds 1000 to `warmed_up_total`, and 7 more after the last moment at which anything can be published.

use std::convert::Infallible;
use std::future::pending;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, anyhow};
use env_settings::{EnvReader, parse};
use fork::{Fork, fork};
use function_runtime::aws::{Aws, Budget};
use harness::kit::lambda_event;
use lambda_runtime::{LambdaInvocation, SnapStartResource};
use prometheus::{IntCounter, Registry};
use prometheus_dynamodb::{DynamoDbStatsTable, Publisher, Sources};
use tokio::runtime::{Builder, Runtime};
use tower::{Layer, Service, service_fn};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let started_at = Instant::now();
    let mut env = EnvReader::from_process();
    let restores = env.required("RESTORES", parse::in_range(1..=1000_u32));
    let requests = env.required("REQUESTS", parse::in_range(1..=1000_u32));
    let settings = function_runtime::settings::writer(&mut env);
    let (restores, requests, settings) = env.finish(|| Some((restores?, requests?, settings?)))?;

    let registry = Registry::new();
    let warmed_up = IntCounter::new("warmed_up_total", "What was done during the init.")?;
    let handled = IntCounter::new("handled_total", "Requests.")?;
    registry.register(Box::new(warmed_up.clone()))?;
    registry.register(Box::new(handled.clone()))?;

    // The runtime has one thread, since `fork` copies only the thread that calls it.
    let init = one_thread()?;
    let table = init.block_on(Aws::from_env()).dynamodb(Budget::PUBLISH);
    let table = DynamoDbStatsTable::new(table, settings.table());
    let publisher = Publisher::new(table, Sources::new(registry), settings, started_at)?;
    let mut service = publisher.layer().layer(service_fn(move |_: LambdaInvocation| {
        handled.inc();
        async { Ok::<_, Infallible>(()) }
    }));
    warmed_up.inc_by(1000);
    init.block_on(publisher.before_snapshot()).map_err(|error| anyhow!(error))?;
    warmed_up.inc_by(7);
    drop(init);

    for _ in 0..restores {
        if let Fork::Child = fork()? {
            return one_thread()?.block_on(async {
                publisher.after_restore().await.map_err(|error| anyhow!(error))?;
                for _ in 0..requests {
                    service.call(lambda_event::invocation(0)).await?;
                }
                pending().await
            });
        }
    }
    one_thread()?.block_on(pending())
}

fn one_thread() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}
