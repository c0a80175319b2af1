//! Lets all HTTP functions answer any event, and any body as a request to encode and to verify.

#![no_main]

mod damage;
mod functions;

use std::cell::RefCell;

use damage::damaged_json;
use fastrand::Rng;
use functions::{Functions, request};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use serde_json::value::RawValue;

thread_local!(static FUNCTIONS: RefCell<Functions> = RefCell::new(Functions::new()));

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    FUNCTIONS.with_borrow_mut(|functions| {
        // Lambda passes on only JSON.
        if let Ok(event) = RawValue::from_string(text.to_owned()) {
            functions.event(&event);
        } else {
            functions.event(&request("POST", "", text));
            functions.event(&request("POST", "/verify", text));
        }
    });
});

// Changes half of the events as JSON: nearly everything that the fuzzer changes by itself is JSON no more.
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut rng = Rng::with_seed(seed.into());
    let changed = std::str::from_utf8(&data[..size]).ok().and_then(|text| damaged_json(&mut rng, text));
    match changed {
        Some(text) if rng.bool() && text.len() <= max_size => {
            data[..text.len()].copy_from_slice(text.as_bytes());
            text.len()
        }
        _ => fuzzer_mutate(data, size, max_size),
    }
});
