//! Compacts a table after bad days: thousands of environments end without a word between one gc run and the next, three
//! times in a row. `make soak` sets `DEAD_ENVIRONMENTS=50000`.

mod support;

use std::process::Command;
use std::time::{Duration, Instant};

use futures::stream::{self, TryStreamExt};
use prometheus_dynamodb::internals::compact;
use prometheus_dynamodb::internals::item::{Snapshot, WriterId};
use prometheus_dynamodb::internals::protocol::condition::PutCondition;
use prometheus_dynamodb::internals::table::{CompactStats, PublishStats, ReadStats};
use prometheus_dynamodb::{DynamoDbStatsTable, MemoryStatsTable, TableSettings};
use support::dynamodb_local::{DynamoDbLocal, TABLE};
use support::{Environment, page, value};

/// Number of environments that die between two runs. Three times as many outgrow a base that is one item.
const DEAD: u32 = 3000;
const TIMES: u32 = 3;
/// Time that the template gives a gc run.
const RUN: Duration = Duration::from_secs(60);
/// Number of runs that are needed after the last death if each run finishes: fold, bury, note, forget, delete the
/// parts.
const RUNS: usize = 5;
/// Maximum number of runs if deadlines cut some of them off.
const RUNS_CUT_OFF: usize = 30;
/// Memory that a run may use at its peak, in KB.
const MEMORY_KB: u64 = 128 * 1024;

/// Variable that makes this program a gc run on the DynamoDB at the given address, instead of a test.
const RUN_ON: &str = "COMPACTION_MASS_RUN_ON";

#[tokio::test]
async fn environments_that_die_by_the_thousand_are_compacted_in_little_memory() {
    if let Ok(endpoint) = std::env::var(RUN_ON) {
        return run(&endpoint).await;
    }
    let dead =
        std::env::var("DEAD_ENVIRONMENTS").map_or(DEAD, |dead| dead.parse().expect("DEAD_ENVIRONMENTS is a number"));
    let dynamodb = DynamoDbLocal::start().await;
    let table = dynamodb.table();
    let exact = async |died: u32| assert_eq!(value(&page(&table).await, "requests_total", &[]), f64::from(died));

    let mut parts = 0;
    for time in 1..=TIMES {
        die(&table, dead).await;
        exact(time * dead).await;
        run_in_a_process_of_its_own(&dynamodb).await;
        exact(time * dead).await;
        parts = parts.max(table.base(0).await.unwrap().unwrap().parts.len());
    }
    assert!(parts > 1, "the base has never outgrown an item");
    let mut runs = 0;
    let mut finished = 0;
    while finished < RUNS && runs < RUNS_CUT_OFF {
        finished += usize::from(run_in_a_process_of_its_own(&dynamodb).await);
        runs += 1;
        exact(TIMES * dead).await;
    }
    let base = table.base(0).await.unwrap().unwrap();
    assert_eq!((base.folded.len(), base.parts.len()), (0, 0));
    assert!(base.families.bytes.len() < 4096, "{}", base.families.bytes.len());
    assert_eq!(table.snapshots(0).await.unwrap(), []);
    assert_eq!(table.parts(0).await.unwrap(), []);
}

/// Ends `dead` environments without a word, each after one request.
async fn die(table: &DynamoDbStatsTable, dead: u32) {
    let memory = MemoryStatsTable::default();
    Environment::new(memory.clone(), 1, 1).requests(1).await;
    let snapshot = memory.snapshots(0).await.unwrap().remove(0).unwrap();
    let long_ago = snapshot.updated_at_ms - 2 * 15 * 60 * 1000;
    stream::iter((0..dead).map(Ok))
        .try_for_each_concurrent(32, |_| {
            let snapshot = Snapshot { writer: WriterId::random(), updated_at_ms: long_ago, ..snapshot.clone() };
            async move { table.put_snapshot(&snapshot, PutCondition::Absent).await.map(drop) }
        })
        .await
        .unwrap();
}

/// Runs gc in its own process, whose memory is then its own. Returns whether the run finished.
async fn run_in_a_process_of_its_own(dynamodb: &DynamoDbLocal) -> bool {
    // The graces are not under test here. With a grace of zero, each step is due as soon as the table's time, which has
    // whole seconds, has advanced.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("--nocapture").env(RUN_ON, dynamodb.url());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{printed} {}", String::from_utf8_lossy(&output.stderr));
    let line =
        |name: &str| printed.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{printed}"));
    let peak_kb: u64 = line("VmHWM:").trim().trim_end_matches("kB").trim().parse().unwrap();
    println!("{peak_kb} KB {}", line("report: "));
    assert!(peak_kb < MEMORY_KB, "{peak_kb} KB");
    line("report: ").contains("finished: true")
}

async fn run(endpoint: &str) {
    let table = DynamoDbStatsTable::new(DynamoDbLocal::client_of(endpoint), TABLE);
    let begun = Instant::now();
    let report = run_until(&table, begun + RUN).await;
    println!("\nreport: {:.1} s {report}", begun.elapsed().as_secs_f64());
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    println!("{}", status.lines().find(|line| line.starts_with("VmHWM:")).unwrap());
}

async fn run_until<T: CompactStats>(table: &T, deadline: Instant) -> String {
    let hasty = TableSettings::builder("stats").grace(Duration::ZERO).build().unwrap();
    let (report, result) = compact(table, &hasty, deadline).await;
    result.unwrap();
    format!("{report:?}")
}
