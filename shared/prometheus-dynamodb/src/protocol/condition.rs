//! When a put of a snapshot may replace what is stored.

/// What a put's condition looks at in the stored item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoredHead {
    /// The stored snapshot's `seq`.
    pub seq: u64,
    /// Whether it is sealed.
    pub sealed: bool,
}

/// The condition of putting a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PutCondition {
    /// Nothing is stored: for a writer's first put, and for no other. A writer that was buried would come to life again,
    /// and its counts with it.
    Absent,
    /// A snapshot of a smaller `seq` is stored, and it is not sealed. So a delayed put does not undo a newer one, and
    /// nothing changes a snapshot whose content may already be in the base.
    Older,
}

impl PutCondition {
    /// Whether a put of `seq` may replace what is stored.
    pub fn admits(self, stored: Option<StoredHead>, seq: u64) -> bool {
        match (self, stored) {
            (Self::Absent, stored) => stored.is_none(),
            (Self::Older, stored) => stored.is_some_and(|stored| !stored.sealed && stored.seq < seq),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_first_put_creates_and_only_a_newer_one_replaces() {
        let stored = |seq, sealed| Some(StoredHead { seq, sealed });
        for (condition, stored, admitted) in [
            (PutCondition::Absent, None, true),
            (PutCondition::Absent, stored(1, false), false),
            (PutCondition::Absent, stored(1, true), false),
            (PutCondition::Older, None, false),
            (PutCondition::Older, stored(1, false), true),
            (PutCondition::Older, stored(2, false), false),
            (PutCondition::Older, stored(3, false), false),
            (PutCondition::Older, stored(1, true), false),
        ] {
            assert_eq!(condition.admits(stored, 2), admitted, "{condition:?} {stored:?}");
        }
    }
}
