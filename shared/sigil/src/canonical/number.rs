//! Numbers that a double keeps exactly, as far as their canonical spelling tells.
//!
//! `0.1` is not a double, but the double next to it is spelled `0.1` again, so nothing is lost. `9007199254740993` comes
//! out as `9007199254740992`: another number.

use std::borrow::Cow;

/// The most digits of a whole number that is certainly exact: 10^15 is below 2^53.
const EXACT_DIGITS: usize = 15;

/// The most significant digits in the canonical spelling of a double (RFC 8785, section 3.2.2.3).
const SPELLED_DIGITS: usize = 17;

/// Returns the canonical spelling of a JSON number, if it has the same decimal value.
pub(super) fn canonical(spelling: &str) -> Option<Cow<'_, str>> {
    let digits = spelling.strip_prefix('-').unwrap_or(spelling);
    if digits.len() <= EXACT_DIGITS && digits != "0" && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Cow::Borrowed(spelling));
    }
    let decimal = Decimal::of(spelling)?;
    let number = decimal.to_double()?;
    // Not Rust's own shortest spelling: of two equally short ones, it can be another than ECMAScript's.
    let canonical = serde_json_canonicalizer::to_string(&number).ok()?;
    (decimal == Decimal::of(&canonical)?).then_some(Cow::Owned(canonical))
}

/// A decimal number: its significant digits without zeros at either end, and the exponent of the last one. Zero has no
/// digits and, whatever its sign, the exponent 0.
#[derive(Debug, PartialEq, Eq)]
struct Decimal {
    negative: bool,
    digits: String,
    exponent: i64,
}

impl Decimal {
    /// Reads the JSON spelling of a number. `None` when its exponent is beyond all reason and its digits are not zero, or
    /// when it has more digits than any double is spelled with.
    fn of(spelling: &str) -> Option<Self> {
        let (negative, spelling) = match spelling.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, spelling),
        };
        let (mantissa, exponent) = spelling.split_once(['e', 'E']).unwrap_or((spelling, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut digits: String = whole.chars().chain(fraction.chars()).skip_while(|digit| *digit == '0').collect();
        let significant = digits.trim_end_matches('0').len();
        if significant == 0 {
            return Some(Self { negative: false, digits: String::new(), exponent: 0 });
        }
        if significant > SPELLED_DIGITS {
            return None;
        }
        let zeros = digits.len() - significant;
        digits.truncate(significant);
        let exponent = exponent.parse::<i64>().ok()?;
        let shift = i64::try_from(zeros).ok()? - i64::try_from(fraction.len()).ok()?;
        Some(Self { negative, digits, exponent: exponent.checked_add(shift)? })
    }

    /// Returns the nearest double, if it is finite. Read from few digits and not from the spelling: a long one that lies
    /// between two doubles takes a thousand times as long to read.
    fn to_double(&self) -> Option<f64> {
        let sign = if self.negative { "-" } else { "" };
        let digits = if self.digits.is_empty() { "0" } else { &self.digits };
        let number: f64 = format!("{sign}{digits}e{}", self.exponent).parse().ok()?;
        number.is_finite().then_some(number)
    }
}
