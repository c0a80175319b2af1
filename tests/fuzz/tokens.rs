//! Verifies any text as a token.

#![no_main]

mod functions;

use std::cell::RefCell;

use functions::Functions;
use libfuzzer_sys::fuzz_target;

thread_local!(static FUNCTIONS: RefCell<Functions> = RefCell::new(Functions::new()));

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    FUNCTIONS.with_borrow_mut(|functions| functions.token(text));
});
