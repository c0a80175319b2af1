//! The value of a counter or gauge, whichever features `prometheus` is built with.
//!
//! Its types are called alike with its default feature `protobuf` and without, but a counter's and a gauge's value is `value()`
//! with it and `get_value()` without. A crate cannot tell which features another one has: whoever depends on both may turn them
//! on.

use prometheus::proto::{Counter, Gauge};

/// Gives both types both methods. A type's own method comes before a trait's, so each of these reads by the one that the type
/// has, either at once or through the other.
#[allow(dead_code, reason = "one of the two is the type's own")]
pub(super) trait Value {
    /// Returns the value.
    fn value(&self) -> f64;

    /// Returns the value.
    fn get_value(&self) -> f64;
}

impl Value for Counter {
    fn value(&self) -> f64 {
        self.get_value()
    }

    fn get_value(&self) -> f64 {
        self.value()
    }
}

impl Value for Gauge {
    fn value(&self) -> f64 {
        self.get_value()
    }

    fn get_value(&self) -> f64 {
        self.value()
    }
}
