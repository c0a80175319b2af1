//! One value of a registry.

use crate::publish::counted::Reading;

/// One series as the program has it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Sample<'a> {
    /// The numbers of a counter or histogram.
    Counted(Reading<'a>),
    /// The value of a gauge.
    Gauge(f64),
}

impl Sample<'_> {
    /// Returns whether the sample can go into a sum of all environments. Gauges always can.
    pub(crate) fn is_summable(&self) -> bool {
        !matches!(self, Self::Counted(reading) if !reading.is_summable())
    }
}
