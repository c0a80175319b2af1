//! Lets all HTTP functions answer any event, and any body as a request to encode and to verify.

#![no_main]

mod functions;

use std::cell::RefCell;

use functions::{Functions, request};
use libfuzzer_sys::fuzz_target;
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
