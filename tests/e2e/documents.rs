//! Shows that what the documents refer to exists: files, sections, tests, and the variables that functions read.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use harness::kit::workspace;
use harness::template::cloudformation::{self, Expanded};

/// Links to other sites are not followed, since a test must not fail because a site is down.
#[test]
fn every_link_leads_to_a_file_and_a_section_that_exist() -> Result<()> {
    let mut broken = Vec::new();
    let mut links = 0;
    for document in documents()? {
        let text = std::fs::read_to_string(&document)?;
        for link in links_of(&text).filter(|link| !link.starts_with("http")) {
            links += 1;
            let (path, section) = link.split_once('#').map_or((link, None), |(path, section)| (path, Some(section)));
            let target = match path {
                "" => document.clone(),
                path => document.parent().context("it is in a folder")?.join(path),
            };
            if !leads_somewhere(&target, section)? {
                broken.push(format!("{} links to {link}", document.display()));
            }
        }
    }
    ensure!(broken.is_empty(), "{}", broken.join("\n"));
    ensure!(links > 50, "only {links} links were found");
    Ok(())
}

#[test]
fn every_variable_of_a_function_is_documented_for_it() -> Result<()> {
    let text = std::fs::read_to_string(workspace::root().join("docs/settings.md"))?;
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(" | ").collect()).collect();
    let template = Expanded::of(&cloudformation::source()?)?;
    for function in ["encode", "verify", "gc", "metrics"] {
        for variable in template.variables(function)? {
            let name = format!("`{variable}`");
            let row = rows.iter().find(|cells| cells.len() == 4 && cells[0].contains(&name));
            let row = row.with_context(|| format!("docs/settings.md has no {variable}"))?;
            let holds = row[1] == "all" || row[1].split(", ").any(|one| one == function);
            ensure!(holds, "docs/settings.md says that {} reads {variable}, and {function} does", row[1]);
        }
    }
    Ok(())
}

#[test]
fn every_promise_of_reliability_names_tests_that_exist() -> Result<()> {
    let text = std::fs::read_to_string(workspace::root().join("docs/reliability.md"))?;
    // The first table holds the promises; the others are of runs.
    let table = text.lines().skip_while(|line| !line.starts_with("| ")).take_while(|line| line.starts_with("|"));
    let promises: Vec<&str> = table.skip(2).collect();
    ensure!(promises.len() >= 15, "{} promises", promises.len());
    for promise in promises {
        let shown_by = promise.trim_end_matches(" |").rsplit(" | ").next().context("a row has cells")?;
        for test in shown_by.split(", ") {
            let named = test.trim_matches('`').split_once("::");
            let (file, function) = named.with_context(|| format!("{test:?} is no test: {promise}"))?;
            let source = std::fs::read_to_string(workspace::root().join(file)).with_context(|| file.to_owned())?;
            ensure!(has_test(&source, function), "{test} is no test: {promise}");
        }
    }
    Ok(())
}

/// Returns whether the source has a test of this name that is run: a function with a test attribute among the attributes
/// and comments above it. Other functions of this name, such as one of another module, do not count.
fn has_test(source: &str, function: &str) -> bool {
    let begins = format!("fn {function}(");
    let lines: Vec<&str> = source.lines().map(str::trim_start).collect();
    let is_above = |line: &&&str| line.starts_with("#[") || line.starts_with("//");
    lines.iter().enumerate().any(|(at, line)| {
        let above = || lines[..at].iter().rev().take_while(is_above);
        line.trim_start_matches("async ").starts_with(&begins)
            && above().any(|line| is_test_attribute(line))
            && !above().any(|line| line.starts_with("#[ignore"))
    })
}

fn is_test_attribute(line: &str) -> bool {
    line.starts_with("#[test]") || line.starts_with("#[tokio::test]") || line.starts_with("#[tokio::test(")
}

#[test]
fn a_function_is_a_test_only_with_the_attribute_above_it() {
    let source = "fn helper() {}\n#[test]\nfn other() {}\nmod tests {\n    #[tokio::test(flavor = \"multi_thread\")]\n    \
                  // Why.\n    async fn helper() {}\n    fn fixture() {}\n    #[test]\n    #[ignore]\n    fn never() {}\n}\n";
    assert!(has_test(source, "helper"), "the second one is");
    assert!(has_test(source, "other"));
    assert!(!has_test(source, "fixture"));
    assert!(!has_test(source, "never"));
    assert!(!has_test(source, "missing"));
}

/// Returns every Markdown file, except those of packages, of build output and of hidden folders.
fn documents() -> Result<Vec<PathBuf>> {
    let mut documents = Vec::new();
    let mut folders = vec![workspace::root().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let entry = entry?;
            let name = entry.file_name().into_string().unwrap_or_default();
            let is_hidden = name.starts_with('.') && name != ".github";
            let is_others = is_hidden || ["target", "node_modules"].contains(&name.as_str());
            match entry.file_type()? {
                kind if kind.is_dir() && !is_others => folders.push(entry.path()),
                kind if kind.is_file() && name.ends_with(".md") => documents.push(entry.path()),
                _ => {}
            }
        }
    }
    Ok(documents)
}

/// Returns the targets of all `[text](target)` outside blocks of code.
fn links_of(text: &str) -> impl Iterator<Item = &str> {
    let blocks = text.split("```").step_by(2);
    blocks.flat_map(|prose| prose.split("](").skip(1)).filter_map(|rest| Some(rest.split_once(')')?.0))
}

fn leads_somewhere(target: &Path, section: Option<&str>) -> Result<bool> {
    let Some(section) = section else { return Ok(target.exists()) };
    if !target.is_file() {
        return Ok(false);
    }
    let text = std::fs::read_to_string(target)?;
    let headings = text.split("```").step_by(2).flat_map(str::lines).filter(|line| line.starts_with('#'));
    let anchors: BTreeSet<String> = headings.map(anchor).collect();
    Ok(anchors.contains(section))
}

/// Returns a heading's anchor as GitHub makes it: in lower case, with hyphens for spaces and without other punctuation.
fn anchor(heading: &str) -> String {
    let kept = |c: char| c.is_alphanumeric() || "-_ ".contains(c);
    heading
        .trim_start_matches('#')
        .trim()
        .to_lowercase()
        .chars()
        .filter(|c| kept(*c))
        .collect::<String>()
        .replace(' ', "-")
}
