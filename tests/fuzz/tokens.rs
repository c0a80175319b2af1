//! Has any text verified as a token.

#![no_main]

mod harness;

use std::cell::RefCell;

use harness::Functions;
use libfuzzer_sys::fuzz_target;

thread_local!(static FUNCTIONS: RefCell<Functions> = RefCell::new(Functions::new()));

fuzz_target!(|text: &str| {
    FUNCTIONS.with_borrow_mut(|functions| functions.token(text));
});
