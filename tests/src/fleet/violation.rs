//! Rules that a run must keep, and their violations.

use std::fmt;

/// A rule that must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// No counter, bucket, sum or count is lower than at the scrape before.
    Fell,
    /// A page does not contradict itself.
    Inconsistent,
    /// The page shows everything that was published.
    Lost,
    /// The page shows nothing that was not published.
    CountedTwice,
    /// An environment publishes what it has done, nothing else, and all of it if it lives to do so.
    Misreported,
    /// Functions respond as they should, and end only when they are ended.
    Misbehaved,
    /// After compaction there are as many snapshots as environments.
    Items,
}

/// One case of a rule that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The rule that did not hold.
    pub rule: Rule,
    /// The series or the environment for which it did not hold.
    pub subject: String,
    /// The case in which the rule did not hold, in words.
    pub case: String,
}

impl Rule {
    /// Returns a violation of this rule.
    pub fn broken(self, subject: impl Into<String>, case: impl Into<String>) -> Violation {
        Violation { rule: self, subject: subject.into(), case: case.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {} {}", self.rule, self.subject, self.case)
    }
}
