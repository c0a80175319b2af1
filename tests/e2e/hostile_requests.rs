//! Shows that the HTTP functions answer whatever they are sent: without a panic, a 5xx or a large refusal, and in bounded time.
//! Events and tokens are damaged at random from a seed; `make fuzz` searches further, guided by coverage.
//!
//! `HOSTILE_REQUESTS` is the number of requests of each kind, and `HOSTILE_SEED` the first seed.

#[path = "../fuzz/damage.rs"]
mod damage;
#[path = "../fuzz/functions.rs"]
mod functions;

use std::fs;

use anyhow::{Context, Result};
use damage::{damaged, damaged_json};
use env_settings::{EnvReader, parse};
use fastrand::Rng;
use functions::{Functions, request};
use harness::kit::workspace;
use serde_json::value::RawValue;

const REQUESTS: u64 = 4000;

#[test]
fn every_event_is_answered() -> Result<()> {
    let seeds = seeds("events")?;
    let mut functions = Functions::new();
    for_each_seed(|rng| {
        let seed = one_of(rng, &seeds);
        let text = if rng.bool() { damaged(rng, seed) } else { damaged_json(rng, seed).expect("an event is JSON") };
        // The text is the whole event if it still is JSON, and otherwise the body of a request.
        match RawValue::from_string(text.clone()) {
            Ok(event) => functions.event(&event),
            Err(_) => {
                let below = if rng.bool() { "" } else { "/verify" };
                functions.event(&request("POST", below, &text));
            }
        }
    })
}

#[test]
fn no_damaged_token_is_worth_anything() -> Result<()> {
    let mut functions = Functions::new();
    let valid = functions.valid_token().to_owned();
    functions.token(&valid);
    // The valid token has a random number, so what a seed makes of it would be different in each run.
    let seeds = [seeds("tokens")?, vec!["e30.e30.e30".to_owned()]].concat();
    for_each_seed(|rng| {
        let seed = one_of(rng, &seeds);
        functions.token(&damaged(rng, seed));
    })
}

#[test]
fn the_seeds_are_answered_as_they_are() -> Result<()> {
    let mut functions = Functions::new();
    for seed in seeds("events")? {
        functions.event(&RawValue::from_string(seed)?);
    }
    for token in seeds("tokens")? {
        functions.token(&token);
    }
    Ok(())
}

fn for_each_seed(mut run: impl FnMut(&mut Rng)) -> Result<()> {
    let mut env = EnvReader::from_process();
    let requests = env.with_default("HOSTILE_REQUESTS", REQUESTS, parse::in_range(1..=u64::from(u32::MAX)));
    let first = env.with_default("HOSTILE_SEED", 0, parse::in_range(0..=u64::from(u32::MAX)));
    let (requests, first) = env.finish(|| Some((requests?, first?)))?;
    for seed in first..first + requests {
        let shown = Shown(seed);
        run(&mut Rng::with_seed(seed));
        std::mem::forget(shown);
    }
    Ok(())
}

/// Prints the failing seed when dropped. A run that succeeds forgets the value instead.
struct Shown(u64);

impl Drop for Shown {
    fn drop(&mut self) {
        eprintln!("it failed with HOSTILE_SEED={} HOSTILE_REQUESTS=1", self.0);
    }
}

fn seeds(folder: &str) -> Result<Vec<String>> {
    let folder = workspace::root().join("tests/fuzz/seeds").join(folder);
    let mut files: Vec<_> = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.sort();
    files.iter().map(|file| fs::read_to_string(file).with_context(|| file.display().to_string())).collect()
}

fn one_of<'a>(rng: &mut Rng, seeds: &'a [String]) -> &'a str {
    &seeds[rng.usize(..seeds.len())]
}
