//! Shows that no outage costs a client what it was promised, and that the page counts what clients saw.

use anyhow::Result;
use harness::kit::functions;
use harness::soak::{self, Settings};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_outlasts_every_trouble() -> Result<()> {
    let report = soak::soak("tests/soak", Settings::from_env(Settings::SHORT)?, functions::build().await?).await?;
    println!("{report}");
    assert!(report.violations.is_empty(), "{report}");

    // The run proves something only if enough has happened in it.
    assert!(report.sigils >= 50 && report.seen.errors() >= 30, "{report}");
    for reason in ["throttled", "unavailable", "invalid", "unknown"] {
        assert!(report.seen.errors_by_reason().contains_key(reason), "no {reason}: {report}");
    }
    assert!(report.lost >= 8 && report.seen.unheard >= 1, "{report}");
    assert!(report.pages.failed_scrapes > 0 && report.pages.scrapes >= 10, "{report}");
    assert!(report.pages.runs >= 2, "{report}");
    Ok(())
}
