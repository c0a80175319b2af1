//! The part `service`: measures encode and verify beside the same service built with Express.

use std::time::Instant;

use anyhow::{Context, Result};

use super::desk::Desk;
use super::express::Express;
use super::measurement::{CpuTime, milliseconds, peak_memory, quantile};
use super::report::{Report, Table};
use super::subject::{Subject, serve};
use super::work::Ledger;

/// Number of measured requests of each kind to each subject.
const REQUESTS: usize = 1000;

/// Number of requests that are not measured, during which Node compiles what runs often.
const WARM_UP: usize = 300;

/// Measures the part.
pub(super) async fn run() -> Result<Report> {
    let desk = Desk::start().await?;
    let mut table = Table::new(
        "Encode and verify beside Node with Express and prom-client",
        [("response, p50", "ms"), ("response, p99", "ms"), ("CPU time per request", "ms"), ("peak memory", "MB")],
    );
    let mut ledger = Ledger::default();
    for function in ["encode", "verify"] {
        let subject = Subject::artifact(function)?;
        let environment = desk.environment(&subject).await?;
        // One for each kind of request, as ours: otherwise the memory of the second kind would include the first.
        let express = Express::start(&desk.variables, &desk.logs.join(format!("express-{function}.log"))).await?;
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        let mut before = <(CpuTime, CpuTime)>::default();
        for request in 0..WARM_UP + REQUESTS {
            if request == WARM_UP {
                environment.api().asks_for_event().await;
                before = (CpuTime::of(environment.process())?, CpuTime::of(express.process())?);
            }
            let latency = serve(&subject, &environment, &mut ledger).await?;
            let event = subject.work.event(&ledger)?;
            let started = Instant::now();
            let outcome = express.invoke(&event).await?;
            let their_latency = started.elapsed();
            let checked = subject.work.check("Express", outcome, &mut ledger);
            checked.with_context(|| format!("Express does not serve:\n{}", express.process().log_tail(20)))?;
            if request >= WARM_UP {
                ours.push(latency);
                theirs.push(their_latency);
            }
        }
        environment.api().asks_for_event().await;
        let rows = [
            (function.to_owned(), &ours, CpuTime::of(environment.process())?.since(&before.0), environment.process()),
            (
                format!("{function} in Express"),
                &theirs,
                CpuTime::of(express.process())?.since(&before.1),
                express.process(),
            ),
        ];
        let mut numbers = Vec::new();
        for (name, latencies, used, process) in rows {
            let row = [
                milliseconds(quantile(latencies, 0.5)),
                milliseconds(quantile(latencies, 0.99)),
                milliseconds(used) / REQUESTS as f64,
                peak_memory(process)? as f64 / 1e6,
            ];
            table.row(name, row);
            numbers.push(row);
        }
        table.row(
            format!("*{function} in Express / {function}*"),
            numbers[1].iter().zip(&numbers[0]).map(|(theirs, ours)| theirs / ours),
        );
        environment.terminate().await?;
    }
    table.note(format!(
        "{REQUESTS} requests of each kind in turns, one at a time, after {WARM_UP} to warm up, against one DynamoDB Local; each verifies \
         what both have encoded. Ours runs under an emulator of Lambda's Runtime API, which hands an event over and takes the response \
         (two HTTP requests), and publishes its metrics once a second; Express is asked directly (one), and keeps its metrics for a \
         scraper that finds it."
    ));
    table.note(
        "Left out in Express: idempotency keys, naming a request's faults, I-JSON, revoking, counting retries, the circuit breaker, and \
         renewing keys.",
    );
    Ok(table.into())
}
