//! What `docs/reliability.md` promises is shown by tests that exist.

use anyhow::{Context, Result, ensure};
use local_bundle::workspace;

#[test]
fn every_promise_names_tests_that_exist() -> Result<()> {
    let text = std::fs::read_to_string(workspace::root().join("docs/reliability.md"))?;
    // The first table is that of the promises; the others are of runs.
    let table = text.lines().skip_while(|line| !line.starts_with("| ")).take_while(|line| line.starts_with("|"));
    let promises: Vec<&str> = table.skip(2).collect();
    ensure!(promises.len() >= 15, "{} promises", promises.len());
    for promise in promises {
        let shown_by = promise.trim_end_matches(" |").rsplit(" | ").next().context("a row has cells")?;
        for test in shown_by.split(", ") {
            let named = test.trim_matches('`').split_once("::");
            let (file, function) = named.with_context(|| format!("{test:?} is no test: {promise}"))?;
            let source = std::fs::read_to_string(workspace::root().join(file)).with_context(|| file.to_owned())?;
            let mut lines = source.lines().map(|line| line.trim_start().trim_start_matches("async "));
            let begins = format!("fn {function}(");
            let at = lines.position(|line| line.starts_with(&begins)).with_context(|| format!("no {test}"))?;
            let before = source.lines().nth(at.saturating_sub(1)).unwrap_or_default().trim_start();
            ensure!(before.starts_with("#[test") || before.starts_with("#[tokio::test"), "{test} is no test: {before}");
        }
    }
    Ok(())
}
