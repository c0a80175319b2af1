//! The troubles that DynamoDB has in a round.

use std::time::Duration;

use crate::kit::fault_proxy::Fault;
use crate::kit::tables;

/// Longer than an attempt of a publish waits, and shorter than a request may take.
const SLOW: Duration = Duration::from_millis(600);

/// One trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Every call to this table meets this fault.
    Table(&'static str, Fault),
    /// Some calls to any table meet some fault, among them lost responses and calls that arrive twice.
    Mixed,
    /// The database's process ends, and another one starts with the stored data.
    Restart,
}

impl Trouble {
    /// Returns all troubles, in an order that the seed and the round's number decide.
    pub fn round(seed: u64, round: u64) -> Vec<Self> {
        let mut all = vec![Self::Mixed, Self::Restart];
        for table in [tables::SIGILS, tables::STATS] {
            let faults = [Fault::Delay(SLOW), Fault::Throttle, Fault::InternalError, Fault::Drop];
            all.extend(faults.map(|fault| Self::Table(table, fault)));
        }
        fastrand::Rng::with_seed(seed.wrapping_mul(1_000_003).wrapping_add(round)).shuffle(&mut all);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_the_order_and_leaves_nothing_out() {
        let first = Trouble::round(7, 0);
        assert_eq!(first, Trouble::round(7, 0));
        assert_ne!(first, Trouble::round(7, 1));
        assert_eq!(first.len(), 10);
        assert!(Trouble::round(8, 0).iter().all(|trouble| first.contains(trouble)));
    }
}
