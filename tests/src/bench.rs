//! `make bench`: the release artifacts under the Runtime API, beside a function for Node that does what encode does, all
//! in one run against one DynamoDB Local.
//!
//! ```text
//! subject      what is measured
//! work         what a subject is asked for, and whether its response is right
//! measurement  what was measured of it
//! table        all of it, as Markdown
//! ```
//!
//! Subjects take turns, invocation by invocation, so that whatever else the machine does hits all of them alike.

pub mod measurement;
mod subject;
mod table;
mod work;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::signal::unix::{SignalKind, signal};

use crate::dynamodb_local::DynamoDbLocal;
use crate::environment::Environment;
use crate::execution_environment::ExecutionEnvironment;
use crate::settings::DEFAULT_METRICS_TOKEN;
use crate::{tables, workspace};

use measurement::Measurement;
use subject::Subject;
use table::Table;
use work::Ledger;

/// How often each subject is started.
const COLD_STARTS: usize = 11;

/// How often each subject is invoked once it runs.
const INVOCATIONS: usize = 300;

/// How many invocations are not measured, in which the database warms up as well.
const WARM_UP: usize = 20;

/// The longest that a run may take.
const LIMIT: Duration = Duration::from_secs(180);

/// Measures, and prints the table. A function that does not serve is a failure; Ctrl-C and SIGTERM are, too.
pub async fn run() -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        table = tokio::time::timeout(LIMIT, measure()) => {
            println!("{}", table.with_context(|| format!("the run took longer than {LIMIT:?}"))??);
            Ok(())
        }
        _ = interrupt.recv() => bail!("interrupted"),
        _ = terminate.recv() => bail!("interrupted"),
    }
}

async fn measure() -> Result<Table> {
    let started = Instant::now();
    let logs = workspace::local("logs/bench");
    std::fs::create_dir_all(&logs).with_context(|| logs.display().to_string())?;
    let dynamodb = DynamoDbLocal::start_in_memory(&logs.join("dynamodb.log")).await?;
    tables::create(&dynamodb.client()).await?;
    let mut variables = Environment::new(&dynamodb.url(), &sigil::keys::generate("bench"), DEFAULT_METRICS_TOKEN);
    // At each start, the SDK for Node would warn of a version of Node that it is about to drop.
    variables.set("AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED", "true");
    let start = async |subject: &Subject| {
        let log = logs.join(format!("{}.log", subject.name));
        ExecutionEnvironment::start(&subject.function, &variables, &log).await
    };

    let mut ledger = Ledger::default();
    let mut rows: Vec<(Subject, Measurement)> =
        subject::all()?.into_iter().map(|subject| (subject, Measurement::default())).collect();
    println!("starting each function {COLD_STARTS} times");
    for _ in 0..COLD_STARTS {
        for (subject, measurement) in &mut rows {
            let environment = start(subject).await?;
            measurement.starts.push(environment.init_duration());
            measurement.first_responses.push(serve(subject, &environment, &mut ledger).await?);
            environment.api().asks_for_event().await;
            environment.terminate().await?;
        }
    }

    println!("invoking each function {INVOCATIONS} times");
    let mut environments = Vec::new();
    for (subject, _) in &rows {
        environments.push(start(subject).await?);
    }
    for invocation in 0..WARM_UP + INVOCATIONS {
        for ((subject, measurement), environment) in rows.iter_mut().zip(&environments) {
            let latency = serve(subject, environment, &mut ledger).await?;
            if invocation >= WARM_UP {
                measurement.latencies.push(latency);
            }
        }
    }
    for ((_, measurement), environment) in rows.iter_mut().zip(&environments) {
        measurement.peak_memory = measurement::peak_memory(environment.process())?;
    }
    for environment in environments {
        environment.terminate().await?;
    }

    // All environments have published a last time, so that nothing is missing any more.
    let metrics = rows.iter().find(|(subject, _)| subject.name == "metrics").context("metrics is measured")?;
    let environment = start(&metrics.0).await?;
    serve(&metrics.0, &environment, &mut ledger).await?;
    let (counted, encoded) = (ledger.counted(), ledger.encoded());
    ensure!(counted == encoded, "encode has made {encoded} sigils, and {counted} are counted");
    environment.terminate().await?;
    Table::new(rows, started.elapsed()).await
}

/// One invocation, once the environment waits for one. How long it took until there was the response, which is right.
async fn serve(subject: &Subject, environment: &ExecutionEnvironment, ledger: &mut Ledger) -> Result<Duration> {
    let event = subject.work.event(ledger)?;
    let api = environment.api();
    api.asks_for_event().await;
    let started = Instant::now();
    let outcome = api.invoke(&event).await;
    let latency = started.elapsed();
    let checked = outcome.and_then(|outcome| subject.work.check(subject.name, outcome, ledger));
    checked.with_context(|| format!("{} does not serve:\n{}", subject.name, environment.process().log_tail(20)))?;
    Ok(latency)
}
