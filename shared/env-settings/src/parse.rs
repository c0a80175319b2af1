//! Parsers for the values of settings.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use crate::Expected;

/// Accepts any text. The reader itself refuses a blank one.
pub fn non_empty(text: &str) -> Result<String, Expected> {
    Ok(text.to_owned())
}

/// Parses a whole number within `range`.
pub fn in_range<N>(range: RangeInclusive<N>) -> impl FnOnce(&str) -> Result<N, Expected>
where
    N: FromStr + PartialOrd + Display,
{
    move |text| {
        text.parse()
            .ok()
            .filter(|number| range.contains(number))
            .ok_or_else(|| format!("a whole number from {} to {} is needed", range.start(), range.end()))
    }
}

/// Parses a duration with its unit, such as `500ms`, `1s` or `15m`, within `range`.
pub fn duration(range: RangeInclusive<Duration>) -> impl FnOnce(&str) -> Result<Duration, Expected> {
    move |text| {
        humantime::parse_duration(text).ok().filter(|duration| range.contains(duration)).ok_or_else(|| {
            format!(
                "a duration with its unit from {} to {} is needed, such as 500ms, 1s or 15m",
                humantime::format_duration(*range.start()),
                humantime::format_duration(*range.end()),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_needs_its_unit() {
        let minute_at_most = || duration(Duration::ZERO..=Duration::from_secs(60));
        assert_eq!(minute_at_most()("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(minute_at_most()("0s"), Ok(Duration::ZERO));
        for refused in ["5", "2m", "-1s", "soon"] {
            assert!(minute_at_most()(refused).unwrap_err().contains("from 0s to 1m"), "{refused}");
        }
    }
}
