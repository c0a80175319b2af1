//! Numbers that a double keeps exactly, as far as their canonical spelling tells.
//!
//! `0.1` is not a double, but the double next to it is spelled `0.1` again, so nothing is lost. `9007199254740993` comes
//! out as `9007199254740992`: another number.

/// The double that this JSON number stands for, if its canonical spelling has the same decimal value.
pub fn exact(spelling: &str) -> Option<f64> {
    let number: f64 = spelling.parse().ok().filter(|number: &f64| number.is_finite())?;
    // Not Rust's own shortest spelling: of two equally short ones, it can be another than ECMAScript's.
    let canonical = serde_json_canonicalizer::to_string(&number).ok()?;
    (Decimal::of(spelling)? == Decimal::of(&canonical)?).then_some(number)
}

/// A decimal number: its significant digits without zeros at either end, and the exponent of the last one. Zero has no
/// digits and, whatever its sign, the exponent 0.
#[derive(Debug, PartialEq, Eq)]
struct Decimal {
    negative: bool,
    digits: Vec<u8>,
    exponent: i64,
}

impl Decimal {
    /// Reads the JSON spelling of a number; `None` when its exponent is beyond all reason and its digits are not zero.
    fn of(spelling: &str) -> Option<Self> {
        let (negative, spelling) = match spelling.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, spelling),
        };
        let (mantissa, exponent) = spelling.split_once(['e', 'E']).unwrap_or((spelling, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).skip_while(|digit| *digit == b'0').collect();
        let significant = digits.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1);
        let zeros = digits.len() - significant;
        digits.truncate(significant);
        if digits.is_empty() {
            return Some(Self { negative: false, digits, exponent: 0 });
        }
        let exponent = exponent.parse::<i64>().ok()?;
        let shift = i64::try_from(zeros).ok()? - i64::try_from(fraction.len()).ok()?;
        Some(Self { negative, digits, exponent: exponent.checked_add(shift)? })
    }
}
