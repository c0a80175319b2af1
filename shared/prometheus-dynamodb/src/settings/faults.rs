//! Collects the faults of settings.

use std::fmt::{self, Display};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use humantime::format_duration;

/// One wrong setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingFault {
    variable: &'static str,
    problem: String,
}

impl SettingFault {
    /// Returns the name of the variable.
    pub fn variable(&self) -> &'static str {
        self.variable
    }

    /// Returns what is wrong with the variable and what is allowed, as the rest of a sentence that begins with the variable.
    pub fn problem(&self) -> &str {
        &self.problem
    }
}

impl Display for SettingFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.variable, self.problem)
    }
}

/// Error with every wrong setting, each by its variable's name and with what is allowed.
#[derive(Clone, PartialEq, Eq)]
pub struct SettingsError {
    faults: Vec<SettingFault>,
}

/// Shows the text of `Display`, since a `main` that returns this error shows its `Debug` form.
impl fmt::Debug for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl SettingsError {
    /// Returns the faults, in the order in which the settings are read.
    pub fn faults(&self) -> &[SettingFault] {
        &self.faults
    }
}

impl Display for SettingsError {
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

impl std::error::Error for SettingsError {}

/// Faults that were found so far.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<SettingFault>);

impl Faults {
    pub(crate) fn add(&mut self, variable: &'static str, problem: impl Into<String>) {
        self.0.push(SettingFault { variable, problem: problem.into() });
    }

    /// Returns other settings, or notes the faults for which they were refused, each once.
    pub(crate) fn take<T>(&mut self, settings: Result<T, SettingsError>) -> Option<T> {
        let refused = match settings {
            Ok(settings) => return Some(settings),
            Err(refused) => refused,
        };
        for fault in refused.faults {
            if !self.0.contains(&fault) {
                self.0.push(fault);
            }
        }
        None
    }

    /// Returns a secret, unless it is not set. A fault of the secret does not repeat it.
    pub(crate) fn secret<T>(
        &mut self,
        find: &impl Fn(&str) -> Option<String>,
        variable: &'static str,
        parse: impl FnOnce(&str) -> Result<T, &'static str>,
    ) -> Option<T> {
        let text = self.text(find, variable)?;
        parse(&text).map_err(|expected| self.add(variable, format!("is set but wrong: {expected}"))).ok()
    }

    /// Returns a variable that must be set. If it is not, notes that and returns an empty text.
    pub(crate) fn required(&mut self, find: &impl Fn(&str) -> Option<String>, variable: &'static str) -> String {
        if find(variable).is_none() {
            self.add(variable, "is missing");
        }
        self.text(find, variable).unwrap_or_default()
    }

    /// Returns a variable, if it is set. A variable that is set to nothing is a fault, since it would silently mean a
    /// default.
    fn text(&mut self, find: &impl Fn(&str) -> Option<String>, variable: &'static str) -> Option<String> {
        let text = find(variable)?;
        if text.trim().is_empty() {
            self.add(variable, "is set but empty: give it a value, or do not set it");
            return None;
        }
        Some(text)
    }

    /// Replaces `value` by the variable, if that is set.
    pub(crate) fn number<N: FromStr + PartialOrd + Display>(
        &mut self,
        find: &impl Fn(&str) -> Option<String>,
        variable: &'static str,
        range: &RangeInclusive<N>,
        value: &mut N,
    ) {
        let Some(text) = self.text(find, variable) else { return };
        match text.parse() {
            Ok(number) if range.contains(&number) => *value = number,
            _ => self.add(variable, number_needed(&format!("{text:?}"), range)),
        }
    }

    /// Replaces `value` by the variable, if that is set.
    pub(crate) fn duration(
        &mut self,
        find: &impl Fn(&str) -> Option<String>,
        variable: &'static str,
        range: &RangeInclusive<Duration>,
        value: &mut Duration,
    ) {
        let Some(text) = self.text(find, variable) else { return };
        match humantime::parse_duration(&text) {
            Ok(duration) if range.contains(&duration) => *value = duration,
            _ => self.add(variable, duration_needed(&format!("{text:?}"), range)),
        }
    }

    /// Replaces `value` by the variable, if that is set.
    pub(crate) fn flag(&mut self, find: &impl Fn(&str) -> Option<String>, variable: &'static str, value: &mut bool) {
        let Some(text) = self.text(find, variable) else { return };
        match text.parse() {
            Ok(flag) => *value = flag,
            Err(_) => self.add(variable, format!("is {text:?}: true or false is needed")),
        }
    }

    pub(crate) fn check_text(&mut self, variable: &'static str, text: &str) {
        if text.trim().is_empty() {
            self.add(variable, format!("is {text:?}: a text that is not blank is needed"));
        }
    }

    pub(crate) fn check_number<N: PartialOrd + Display>(
        &mut self,
        variable: &'static str,
        value: N,
        range: &RangeInclusive<N>,
    ) {
        if !range.contains(&value) {
            self.add(variable, number_needed(&value, range));
        }
    }

    pub(crate) fn check_duration(&mut self, variable: &'static str, value: Duration, range: &RangeInclusive<Duration>) {
        if !range.contains(&value) {
            self.add(variable, duration_needed(&format_duration(value), range));
        }
    }

    pub(crate) fn finish<T>(self, settings: T) -> Result<T, SettingsError> {
        if self.0.is_empty() { Ok(settings) } else { Err(SettingsError { faults: self.0 }) }
    }
}

fn number_needed<N: Display>(value: &dyn Display, range: &RangeInclusive<N>) -> String {
    format!("is {value}: a whole number from {} to {} is needed", range.start(), range.end())
}

fn duration_needed(value: &dyn Display, range: &RangeInclusive<Duration>) -> String {
    let (from, to) = (format_duration(*range.start()), format_duration(*range.end()));
    format!("is {value}: a duration with its unit from {from} to {to} is needed, such as 500ms, 1s or 15m")
}
