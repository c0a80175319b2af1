//! Reads settings from environment variables and reports **every** fault at once, each by the variable's name.
//!
//! A deployment with three wrong variables should take one correction, not three. So a reader collects faults while the
//! settings are read, and [`EnvReader::finish`] returns either the settings or all faults:
//!
//! ```
//! use env_settings::{EnvReader, parse};
//!
//! struct Settings { table: String, shards: u32 }
//!
//! fn read(mut env: EnvReader) -> Result<Settings, env_settings::SettingsError> {
//!     let table = env.required("STATS_TABLE", parse::non_empty);
//!     let shards = env.with_default("STATS_SHARDS", 1, parse::in_range(1..=256));
//!     env.finish(|| Some(Settings { table: table?, shards: shards? }))
//! }
//!
//! let error = read(EnvReader::from_pairs([("STATS_SHARDS", "many")])).err().unwrap();
//! assert_eq!(
//!     error.to_string(),
//!     "2 settings are wrong:\n  \
//!      STATS_TABLE is missing\n  \
//!      STATS_SHARDS is \"many\": a whole number from 1 to 256 is needed",
//! );
//! ```

pub mod parse;

use std::collections::HashMap;
use std::fmt;

/// Description of the values that a parser accepts, for the error about a refused value: a sentence that follows a
/// colon.
pub type Expected = String;

/// Reads variables one after another and collects their faults.
pub struct EnvReader {
    variables: HashMap<String, String>,
    faults: Vec<Fault>,
}

/// Shows names but no values, because some are secrets.
impl fmt::Debug for EnvReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.variables.keys().collect();
        f.debug_struct("EnvReader").field("variables", &names).field("faults", &self.faults).finish()
    }
}

impl EnvReader {
    /// Reads the process's environment. A name or value that is not valid Unicode is read with replacement characters.
    pub fn from_process() -> Self {
        Self::from_pairs(
            std::env::vars_os()
                .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())),
        )
    }

    /// Reads the given variables instead of the process's.
    pub fn from_pairs<N: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let variables = pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { variables, faults: Vec::new() }
    }

    /// Reads a variable that is required. `None` means that a fault was recorded.
    pub fn required<T>(&mut self, name: &'static str, parse: impl FnOnce(&str) -> Result<T, Expected>) -> Option<T> {
        let value = self.read(name, parse, Shown::Value)?;
        self.present(name, value)
    }

    /// Reads a secret as [`required`](Self::required) reads other values. A fault never repeats the value.
    pub fn required_secret<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, Expected>,
    ) -> Option<T> {
        let value = self.read(name, parse, Shown::Redacted)?;
        self.present(name, value)
    }

    /// Reads a variable that may be absent. The outer `None` means that a fault was recorded, the inner `None` that the
    /// variable is not set.
    pub fn optional<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, Expected>,
    ) -> Option<Option<T>> {
        self.read(name, parse, Shown::Value)
    }

    /// Reads a secret as [`optional`](Self::optional) reads other values. A fault never repeats the value.
    pub fn optional_secret<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, Expected>,
    ) -> Option<Option<T>> {
        self.read(name, parse, Shown::Redacted)
    }

    /// Reads a variable that has a default. `None` means that a fault was recorded.
    pub fn with_default<T>(
        &mut self,
        name: &'static str,
        default: T,
        parse: impl FnOnce(&str) -> Result<T, Expected>,
    ) -> Option<T> {
        self.optional(name, parse).map(|value| value.unwrap_or(default))
    }

    /// Records a fault that shows only if several variables are checked together. `expected` says what is allowed.
    pub fn refuse(&mut self, name: &'static str, expected: impl Into<Expected>) {
        let value = Some(self.variables.get(name).cloned().unwrap_or_default());
        self.faults.push(Fault::Refused { name, value, expected: expected.into() });
    }

    /// Records a fault of a secret as [`refuse`](Self::refuse) does. The fault does not repeat the value.
    pub fn refuse_secret(&mut self, name: &'static str, expected: impl Into<Expected>) {
        self.faults.push(Fault::Refused { name, value: None, expected: expected.into() });
    }

    /// Records that neither of two variables is set, one of which is required.
    pub fn missing_either(&mut self, name: &'static str, alternative: &'static str) {
        self.faults.push(Fault::MissingEither { name, alternative });
    }

    /// Reads settings that their library checks itself. `read` is given access to the variables. The faults that it
    /// returns are recorded with the others: each is a variable's name and the rest of a sentence about that variable.
    /// `None` means that a fault was recorded.
    pub fn delegate<T>(
        &mut self,
        read: impl FnOnce(&dyn Fn(&str) -> Option<String>) -> Result<T, Vec<(&'static str, String)>>,
    ) -> Option<T> {
        let refused = match read(&|name| self.variables.get(name).cloned()) {
            Ok(settings) => return Some(settings),
            Err(refused) => refused,
        };
        self.faults.extend(refused.into_iter().map(|(name, problem)| Fault::Told { name, problem }));
        None
    }

    /// Returns the settings that `build` puts together, or every fault that was recorded.
    ///
    /// # Panics
    ///
    /// If `build` returns `None` although no fault was recorded: it used a value that this reader did not read.
    pub fn finish<T>(self, build: impl FnOnce() -> Option<T>) -> Result<T, SettingsError> {
        if self.faults.is_empty() {
            Ok(build().expect("a setting is absent only when a fault was noted"))
        } else {
            Err(SettingsError { faults: self.faults })
        }
    }

    /// Reads a variable. The outer `None` means that a fault was recorded, the inner `None` that the variable is not
    /// set.
    fn read<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, Expected>,
        shown: Shown,
    ) -> Option<Option<T>> {
        let Some(text) = self.variables.get(name) else { return Some(None) };
        // An empty variable does not count as unset: someone who empties a variable may mean "none" where the default
        // is something else, and an empty token would open access that it should restrict.
        if text.trim().is_empty() {
            self.faults.push(Fault::Empty { name });
            return None;
        }
        match parse(text) {
            Ok(value) => Some(Some(value)),
            Err(expected) => {
                let value = match shown {
                    Shown::Value => Some(text.clone()),
                    Shown::Redacted => None,
                };
                self.faults.push(Fault::Refused { name, value, expected });
                None
            }
        }
    }

    fn present<T>(&mut self, name: &'static str, value: Option<T>) -> Option<T> {
        if value.is_none() {
            self.faults.push(Fault::Missing { name });
        }
        value
    }
}

enum Shown {
    Value,
    Redacted,
}

/// One wrong variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// A required variable is not set.
    Missing {
        /// The variable's name.
        name: &'static str,
    },
    /// Neither of two variables is set, and one of them is needed.
    MissingEither {
        /// The variable that is read first.
        name: &'static str,
        /// The other variable.
        alternative: &'static str,
    },
    /// A variable is set, but empty or blank.
    Empty {
        /// The variable's name.
        name: &'static str,
    },
    /// A variable has a value that is not allowed.
    Refused {
        /// The variable's name.
        name: &'static str,
        /// The value, which is absent for a secret.
        value: Option<String>,
        /// Description of what is allowed.
        expected: Expected,
    },
    /// A library refuses a variable.
    Told {
        /// The variable's name.
        name: &'static str,
        /// Description of what is wrong and what is allowed, as the rest of a sentence that begins with the name.
        problem: String,
    },
}

impl Fault {
    /// Returns the variable's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Missing { name }
            | Self::MissingEither { name, .. }
            | Self::Empty { name }
            | Self::Refused { name, .. }
            | Self::Told { name, .. } => name,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { name } => write!(f, "{name} is missing"),
            Self::MissingEither { name, alternative } => {
                write!(f, "{name} is missing, and so is {alternative}: one of them is needed")
            }
            Self::Empty { name } => write!(f, "{name} is set but empty: give it a value, or do not set it"),
            // A default that does not fit another variable's value.
            Self::Refused { name, value: Some(value), expected } if value.is_empty() => {
                write!(f, "{name} is not set: {expected}")
            }
            Self::Refused { name, value: Some(value), expected } => write!(f, "{name} is {value:?}: {expected}"),
            Self::Refused { name, value: None, expected } => write!(f, "{name} is set but wrong: {expected}"),
            Self::Told { name, problem } => write!(f, "{name} {problem}"),
        }
    }
}

/// Faults of all variables, in the order in which the variables were read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct SettingsError {
    faults: Vec<Fault>,
}

impl SettingsError {
    /// Returns the faults, in the order in which the variables were read.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.faults.as_slice() {
            [only] => write!(f, "a setting is wrong: {only}"),
            faults => {
                write!(f, "{} settings are wrong:", faults.len())?;
                faults.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_is_a_fault_of_its_own() {
        for empty in ["", " ", "\t\n"] {
            let names = ["A", "B", "C", "D", "E"];
            let mut env = EnvReader::from_pairs(names.map(|name| (name, empty)));
            assert_eq!(env.with_default("A", 1, parse::in_range(1..=256)), None);
            assert_eq!(env.required("B", parse::non_empty), None);
            assert_eq!(env.required_secret("C", parse::non_empty), None);
            assert_eq!(env.optional("D", parse::non_empty), None);
            assert_eq!(env.optional_secret("E", parse::non_empty), None);
            let error = env.finish(|| Some(())).unwrap_err();
            assert_eq!(error.faults(), names.map(|name| Fault::Empty { name }));
            assert!(error.to_string().contains("D is set but empty"), "{error}");
        }
    }

    #[test]
    fn a_wrong_secret_is_not_repeated() {
        let mut env = EnvReader::from_pairs([("METRICS_TOKEN", "hunter2")]);
        let token: Option<String> = env.required_secret("METRICS_TOKEN", |_| Err("16 characters are needed".into()));
        assert!(!format!("{env:?}").contains("hunter2"));
        let error = env.finish(|| token).unwrap_err();
        assert_eq!(error.to_string(), "a setting is wrong: METRICS_TOKEN is set but wrong: 16 characters are needed");
    }
}
