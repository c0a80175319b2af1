//! Decides whether a put of a snapshot may replace the stored item.

/// The part of a stored snapshot that the condition of a put depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoredHead {
    /// The stored snapshot's `seq`.
    pub seq: u64,
    /// `true` if the stored snapshot is sealed.
    pub sealed: bool,
}

/// Condition of a put of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PutCondition {
    /// Nothing is stored. Only a writer's first put and its fence have this condition: with any other put, a writer
    /// that was buried would come back to life, and its counts with it.
    Absent,
    /// An unsealed snapshot with a smaller `seq` is stored. So a delayed put cannot undo a newer one, and no put can
    /// change a snapshot whose content may already be in the base.
    Older,
}

impl PutCondition {
    /// Returns whether a put with this `seq` may replace the stored item.
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
