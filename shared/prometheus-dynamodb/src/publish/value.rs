//! Reads the value of a counter or gauge, whichever features `prometheus` is built with.
//!
//! The types of `prometheus` have the same names with its default feature `protobuf` and without it. But the value of a
//! counter or gauge is `value()` with the feature, and `get_value()` without it. A crate cannot tell which features another
//! crate has, since whoever depends on both may turn them on.

use prometheus::proto::{Counter, Gauge};

/// Gives both types both methods. A type's own method comes before a trait's. So each method here calls the one that the
/// type has, either at once or through the other method.
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
