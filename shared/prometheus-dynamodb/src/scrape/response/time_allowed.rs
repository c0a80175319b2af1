//! Decides how long a scrape may take.

use std::time::Duration;

/// Time for a scrape that does not say when it gives up: Prometheus's default scrape time-out is 10 s.
const DEFAULT: Duration = Duration::from_secs(9);

/// Part of the scraper's time-out that is left for rendering and for the way back. A page that comes after the time-out
/// is useless.
const WAY_BACK: Duration = Duration::from_millis(500);

/// Part of the invocation's time that is left for rendering, so that a scrape that takes too long is answered and not
/// killed.
const RENDERING: Duration = Duration::from_secs(1);

/// Longest time-out that is believed. No deadline lies further ahead than a clock can tell.
const LONGEST: Duration = Duration::from_secs(3600);

/// Least time for reading, however soon the scraper gives up.
const LEAST: Duration = Duration::from_millis(100);

/// Returns how long reading the table may take: as long as the scraper waits, and no longer than the invocation lives.
///
/// A `scrape_timeout` that is not a positive number of seconds, up to an hour, is ignored.
pub(super) fn time_allowed(scrape_timeout: Option<&str>, time_left: Option<Duration>) -> Duration {
    let asked = scrape_timeout
        .and_then(|value| value.trim().parse().ok())
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|timeout| !timeout.is_zero() && *timeout <= LONGEST);
    let for_scraper = asked.map_or(DEFAULT, |timeout| timeout.saturating_sub(WAY_BACK));
    let for_lambda = time_left.map_or(Duration::MAX, |left| left.saturating_sub(RENDERING));
    for_scraper.min(for_lambda).max(LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scraper_and_the_invocation_bound_it() {
        let allowed = |timeout, left: Option<u64>| time_allowed(timeout, left.map(Duration::from_secs)).as_millis();
        assert_eq!(allowed(None, None), 9_000);
        assert_eq!(allowed(Some("5"), Some(15)), 4_500);
        assert_eq!(allowed(Some("2.5"), None), 2_000);
        assert_eq!(allowed(Some("30"), Some(15)), 14_000, "Lambda would end it");
        assert_eq!(allowed(Some("30"), None), 29_500);
        assert_eq!(allowed(Some("0.2"), None), 100);
        for odd in ["", "-1", "0", "NaN", "inf", "1e300", "1e19", "3601", "soon"] {
            assert_eq!(allowed(Some(odd), None), 9_000, "{odd}");
        }
    }
}
