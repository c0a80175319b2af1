//! Checks the age of a request's signature.
//!
//! AWS refuses a request some time after it was signed, and DynamoDB Local does not. This limit bounds the time for
//! which a put can be under way: in a process that froze between signing and sending, in buffers, or on the network.

use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::primitives::{DateTime, DateTimeFormat};
use hyper::HeaderMap;

/// Returns an error in AWS's words if the request was signed longer than `validity` ago.
pub(super) fn check(headers: &HeaderMap, validity: Duration, now: SystemTime) -> Result<(), String> {
    let date = headers.get("x-amz-date").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let Some(signed_at) = parse(date) else { return Err(format!("Date must be in ISO-8601 basic format: {date:?}")) };
    // A date in the future counts as the present.
    let age = now.duration_since(signed_at).unwrap_or_default();
    if age <= validity { Ok(()) } else { Err(format!("Signature expired: {date} is now {age:?} old")) }
}

/// Parses a date such as `20150830T123600Z`: ISO 8601 without its separators.
fn parse(date: &str) -> Option<SystemTime> {
    let part = |from: usize, to: usize| date.get(from..to);
    if date.len() != 16 {
        return None;
    }
    let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
    let (hour, minute, second) = (part(8, 11)?, part(11, 13)?, part(13, 16)?);
    let date = format!("{year}-{month}-{day}{hour}:{minute}:{second}");
    let date = DateTime::from_str(&date, DateTimeFormat::DateTime).ok()?;
    SystemTime::try_from(date).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    #[test]
    fn dates_are_read_to_the_second() {
        for (date, seconds) in [
            ("19700101T000000Z", 0),
            ("20000229T235959Z", 951_868_799),
            ("20150830T123600Z", 1_440_938_160),
            ("20240301T000001Z", 1_709_251_201),
        ] {
            assert_eq!(parse(date), Some(UNIX_EPOCH + Duration::from_secs(seconds)), "{date}");
        }
        for wrong in ["", "20150830", "2015-08-30T12:36:00Z", "20150830T123600"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_request_is_taken_until_its_signature_expires() {
        let mut headers = HeaderMap::new();
        let at = |seconds: u64| UNIX_EPOCH + Duration::from_secs(1_440_938_160_u64 + seconds);
        let validity = Duration::from_secs(3);
        assert!(check(&headers, validity, at(0)).is_err(), "not signed");
        headers.insert("x-amz-date", "20150830T123600Z".parse().unwrap());
        assert!(check(&headers, validity, at(3)).is_ok());
        assert!(check(&headers, validity, at(4)).unwrap_err().starts_with("Signature expired"));
    }
}
