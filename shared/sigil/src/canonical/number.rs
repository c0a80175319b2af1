//! Decides whether a double holds a number exactly, by comparing decimal spellings.
//!
//! `0.1` is not a double, but the double nearest to it is spelled `0.1` again, so nothing is lost. `9007199254740993`
//! becomes `9007199254740992`, which is another number.

use std::borrow::Cow;

/// Number of digits up to which every whole number is exact: 10^15 is below 2^53.
const EXACT_DIGITS: usize = 15;

/// Maximum number of significant digits in the canonical spelling of a double (RFC 8785, section 3.2.2.3).
const SPELLED_DIGITS: usize = 17;

/// Returns the canonical spelling of a JSON number, if that has the same decimal value.
pub(super) fn canonical(spelling: &str) -> Option<Cow<'_, str>> {
    let digits = spelling.strip_prefix('-').unwrap_or(spelling);
    if digits.len() <= EXACT_DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        // Zero has no sign.
        return Some(Cow::Borrowed(if digits == "0" { digits } else { spelling }));
    }
    let decimal = Decimal::of(spelling)?;
    let number = decimal.to_double()?;
    // Rust's own shortest spelling will not do: of two equally short spellings, it may choose another than ECMAScript.
    let canonical = serde_json_canonicalizer::to_string(&number).ok()?;
    (decimal == Decimal::of(&canonical)?).then_some(Cow::Owned(canonical))
}

/// A decimal number: the significant digits without zeros at either end, and the exponent of the last digit. Zero has
/// no digits, exponent 0, and no sign.
#[derive(Debug, PartialEq, Eq)]
struct Decimal {
    negative: bool,
    digits: String,
    exponent: i64,
}

impl Decimal {
    /// Parses the JSON spelling of a number. Returns `None` if the number is not zero and its exponent does not fit
    /// into 64 bits, or if it has more significant digits than the spelling of any double.
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

    /// Returns the nearest double, if it is finite. Parses the few significant digits and not the original spelling: a
    /// long spelling between two doubles takes a thousand times as long to parse.
    fn to_double(&self) -> Option<f64> {
        let sign = if self.negative { "-" } else { "" };
        let digits = if self.digits.is_empty() { "0" } else { &self.digits };
        let number: f64 = format!("{sign}{digits}e{}", self.exponent).parse().ok()?;
        number.is_finite().then_some(number)
    }
}
