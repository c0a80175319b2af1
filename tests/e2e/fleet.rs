//! Shows that no increment is counted twice, no published increment is lost, and no counter goes down, whatever happens to the
//! processes.

use anyhow::Result;
use harness::fleet::violation::Rule;
use harness::fleet::{self, Settings};
use harness::kit::tables;
use tokio::sync::Mutex;

/// Keeps the tests from running two fleets at once, which would only slow each other down.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_is_counted_exactly() -> Result<()> {
    let _only = ONE_AT_A_TIME.lock().await;
    let report = fleet::run("fleet", Settings::from_env(Settings::SHORT)?).await?;
    println!("{report}");
    assert!(report.violations.is_empty(), "{report}");

    // The run proves something only if enough has happened in it.
    let Settings { requests, environments, .. } = report.settings;
    assert!(report.requests >= requests.into(), "{report}");
    assert_eq!(report.environments, environments as usize, "{report}");
    assert!(report.several_at_once as u32 >= environments / 8, "{report}");
    assert!(report.timed_out as u32 >= environments / 20, "{report}");
    let disturbed = report.killed as u32 + report.frozen_past_folding;
    assert!(disturbed >= environments / 2, "{report}");
    assert!(report.fresh_ids as u32 >= report.frozen_past_folding / 2, "{report}");
    assert!(report.faulty_share() >= 0.05 && report.traffic.faults.len() == 6, "{report}");
    assert!(report.traffic.unanswered == 0, "{report}");
    assert!(report.scrapes >= 30, "{report}");
    let all = report.formats.values().sum::<u64>();
    let of = |format: &str| report.formats.get(format).copied().unwrap_or_default();
    assert!(of("1") >= all / 10 && of("2") >= all / 10, "{report}");

    let mut by_metrics = report.traffic.calls.keys().filter(|(caller, _, _)| caller == "metrics");
    let reads = |(_, operation, table): &(String, String, String)| {
        ["GetItem", "Query"].contains(&operation.as_str()) && table == tables::STATS
    };
    assert!(by_metrics.all(reads), "the metrics function only reads: {:?}", report.traffic.calls);
    Ok(())
}

/// Shows that the run fails without the publish condition. An environment that thaws after its snapshot was folded then goes on
/// under its old id: as long as the base names the id, what it adds is lost, and from then on what is in the base counts twice.
#[tokio::test(flavor = "multi_thread")]
async fn without_its_condition_publishing_is_not_exact() -> Result<()> {
    let _only = ONE_AT_A_TIME.lock().await;
    let few = Settings { requests: 400, environments: 24, blind_puts: true, ..Settings::from_env(Settings::SHORT)? };
    let report = fleet::run("fleet-blind", few).await?;
    println!("{report}");
    assert!(report.breaks(Rule::Lost) || report.breaks(Rule::CountedTwice), "{report}");
    Ok(())
}
