//! Writes canonical JSON: one text for all spellings of the same data (RFC 8785, the JSON Canonicalization Scheme).
//!
//! Two different documents must not have the same canonical text, or a digest could not tell them apart. So data must
//! be I-JSON (RFC 7493): duplicate names, lone surrogates, and numbers that the canonical form would change are
//! refused.

mod number;
mod writer;

use std::fmt;

use serde_json::value::RawValue;

/// Length of the longest canonical text, in bytes: DynamoDB takes no larger item (see
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>), so no record holds a longer one.
pub const MAX_BYTES: usize = 400 * 1024;

/// Maximum depth to which arrays and objects may be nested.
pub const MAX_DEPTH: usize = 64;

/// Maximum number of faults of a document that are named. Further faults are only counted. A response names as many; a
/// test of `sigil-http`, which knows both limits, compares them.
const MAX_FAULTS: usize = 16;

/// Length of a path to a fault after which no further name is appended, in bytes. Also the largest number of characters
/// that is shown of one name, since names can have any length.
const MAX_POINTER_CHARACTERS: usize = 256;

/// A JSON document in its canonical text.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CanonicalJson(String);

impl CanonicalJson {
    /// Parses any spelling of a document.
    pub fn from_json(text: &str) -> Result<Self, CanonicalError> {
        let raw: &RawValue =
            serde_json::from_str(text).map_err(|error| CanonicalError::Syntax(Position::of(&error)))?;
        Self::from_raw(raw)
    }

    /// Parses a document that is known to be JSON.
    pub fn from_raw(raw: &RawValue) -> Result<Self, CanonicalError> {
        let written = writer::write(raw);
        if !written.faults.is_empty() {
            return Err(CanonicalError::NotIJson { faults: written.faults, more: written.more });
        }
        if written.text.len() > MAX_BYTES {
            return Err(CanonicalError::TooLong);
        }
        Ok(Self(written.text))
    }

    /// Returns the canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the document as JSON, without parsing it again.
    pub fn to_raw(&self) -> Box<RawValue> {
        RawValue::from_string(self.0.clone()).expect("canonical text is JSON")
    }
}

impl fmt::Debug for CanonicalJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The text can be long, and is the client's own data.
        write!(f, "CanonicalJson({} bytes)", self.0.len())
    }
}

/// Error of a text that has no canonical form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CanonicalError {
    /// It is not JSON.
    #[error("it is not JSON: {0}")]
    Syntax(Position),
    /// It is JSON but not I-JSON.
    #[error("it is not I-JSON (RFC 7493): {}", sentence(faults, *more))]
    NotIJson {
        /// The first faults.
        faults: Vec<CanonicalFault>,
        /// The number of further faults.
        more: usize,
    },
    /// Its canonical text is longer than [`MAX_BYTES`]. What follows after so much text has not been read.
    #[error("its canonical form has more than {MAX_BYTES} bytes")]
    TooLong,
}

fn sentence(faults: &[CanonicalFault], more: usize) -> String {
    let named = faults.iter().map(ToString::to_string);
    let others = (more > 0).then(|| format!("and {more} more"));
    named.chain(others).collect::<Vec<_>>().join("; ")
}

/// Position at which a text stops being JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("see line {line}, column {column}")]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, or 0 for the end of the line before.
    pub column: usize,
}

impl Position {
    fn of(error: &serde_json::Error) -> Self {
        Self { line: error.line(), column: error.column() }
    }
}

/// A fault that makes a document not I-JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{pointer:?}: {reason}")]
pub struct CanonicalFault {
    /// Place of the fault, as a JSON Pointer (RFC 6901). Only the first 256 characters of a name are shown, and nothing
    /// follows once the pointer has more than 256 bytes.
    pub pointer: String,
    /// Rule that the document breaks there.
    pub reason: CanonicalReason,
}

/// A rule of I-JSON that a document breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CanonicalReason {
    /// A name that occurs twice in its object (RFC 7493, section 2.3).
    #[error("the name occurs twice in its object")]
    DuplicateName,
    /// A string with a lone surrogate (RFC 7493, section 2.1).
    #[error("a string holds a lone surrogate")]
    LoneSurrogate,
    /// A number whose canonical spelling (RFC 8785, section 3.2.2.3) would have another value. Either a double cannot
    /// hold it exactly (RFC 7493, section 2.2), or the shortest spelling of that double is rounded, as that of 2^55 is.
    #[error("the number has no canonical spelling (RFC 8785) of the same value; send it as a string")]
    InexactNumber,
    /// Nesting deeper than [`MAX_DEPTH`].
    #[error("arrays and objects are nested more than {MAX_DEPTH} deep")]
    TooDeep,
}

/// Appends a name or an index to a JSON Pointer as a reference token (RFC 6901, section 3). Cuts a long token to the
/// number of characters that is shown at most.
pub fn push_token(pointer: &mut String, token: &str) {
    pointer.push('/');
    for character in token.chars().take(MAX_POINTER_CHARACTERS) {
        match character {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            other => pointer.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn canonical(text: &str) -> String {
        CanonicalJson::from_json(text).unwrap_or_else(|error| panic!("{text}: {error}")).0
    }

    fn faults(text: &str) -> Vec<(String, CanonicalReason)> {
        match CanonicalJson::from_json(text) {
            Err(CanonicalError::NotIJson { faults, more: 0 }) => {
                faults.into_iter().map(|fault| (fault.pointer, fault.reason)).collect()
            }
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn all_spellings_of_the_same_data_have_one_text() {
        let expected = r#"{"a":[1,"é/"],"b":{"x":0.1,"y":null}}"#;
        for spelling in [
            r#"{"a":[1,"é/"],"b":{"x":0.1,"y":null}}"#,
            "{ \"b\" : {\"y\":null ,\"x\":1e-1},\n\t\"a\":[1.0,\"\\u00e9\\/\"] }",
            r#"{"b":{"x":0.10,"y":null},"a":[1e0,"\u00E9/"]}"#,
            r#"{"a":[10e-1,"é\u002f"],"b":{"y":null,"x":0.1000}}"#,
        ] {
            assert_eq!(canonical(spelling), expected, "{spelling}");
        }
    }

    #[test]
    fn rfc_8785_section_3_2_2() {
        let input = r#"{
            "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
            "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
            "literals": [null, true, false]
        }"#;
        // A double does not hold the first of the example's numbers exactly; section 3.2.2 prints the rounded number.
        assert_eq!(faults(input), [("/numbers/0".to_owned(), CanonicalReason::InexactNumber)]);
        let input = input.replace("333333333.33333329", "333333333.3333333");
        let expected = r#"{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}"#;
        assert_eq!(canonical(&input), expected);
    }

    #[test]
    fn rfc_8785_section_3_2_3_sorts_by_utf_16() {
        let input = r#"{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One","\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}"#;
        let text = canonical(input);
        let order = ["Carriage", "One", "Control", "Latin", "Euro", "Emoji", "Hebrew"];
        let found: Vec<_> = order.iter().map(|word| text.find(word).unwrap()).collect();
        assert!(found.is_sorted(), "{text}");
    }

    #[test]
    fn rfc_8785_appendix_b() {
        for (bits, expected) in [
            (0x0000000000000000, "0"),
            (0x8000000000000000, "0"),
            (0x0000000000000001, "5e-324"),
            (0x8000000000000001, "-5e-324"),
            (0x7fefffffffffffff, "1.7976931348623157e+308"),
            (0xffefffffffffffff, "-1.7976931348623157e+308"),
            (0x4340000000000000, "9007199254740992"),
            (0xc340000000000000, "-9007199254740992"),
            (0x4430000000000000, "295147905179352830000"),
            (0x44b52d02c7e14af5, "9.999999999999997e+22"),
            (0x44b52d02c7e14af6, "1e+23"),
            (0x44b52d02c7e14af7, "1.0000000000000001e+23"),
            (0x444b1ae4d6e2ef4e, "999999999999999700000"),
            (0x444b1ae4d6e2ef4f, "999999999999999900000"),
            (0x444b1ae4d6e2ef50, "1e+21"),
            (0x3eb0c6f7a0b5ed8c, "9.999999999999997e-7"),
            (0x3eb0c6f7a0b5ed8d, "0.000001"),
            (0x41b3de4355555553, "333333333.3333332"),
            (0x41b3de4355555554, "333333333.33333325"),
            (0x41b3de4355555555, "333333333.3333333"),
            (0x41b3de4355555556, "333333333.3333334"),
            (0x41b3de4355555557, "333333333.33333343"),
            (0xbecbf647612f3696, "-0.0000033333333333333333"),
            (0x43143ff3c1cb0959, "1424953923781206.2"),
        ] {
            let number = f64::from_bits(bits);
            assert_eq!(serde_json_canonicalizer::to_string(&number).unwrap(), expected);
            assert_eq!(canonical(expected), expected, "what is canonical stays as it is");
        }
    }

    #[test]
    fn what_is_not_i_json_is_refused_with_its_place() {
        use CanonicalReason::{DuplicateName, InexactNumber, LoneSurrogate};
        for (text, pointer, reason) in [
            (r#"{"a":1,"a":1}"#, "/a", DuplicateName),
            (r#"{"x":{"a":1,"\u0061":2}}"#, "/x/a", DuplicateName),
            (r#"["\ud800"]"#, "/0", LoneSurrogate),
            (r#"{"a":"\udc00\ud800"}"#, "/a", LoneSurrogate),
            (r#"{"a":{"\ud800":1}}"#, "/a", LoneSurrogate),
            ("[9007199254740993]", "/0", InexactNumber),
            ("[36028797018963968]", "/0", InexactNumber),
            (r#"{"a/b":{"~":1e400}}"#, "/a~1b/~0", InexactNumber),
            ("1e-400", "", InexactNumber),
            ("0.1000000000000000055", "", InexactNumber),
            ("1e99999999999999999999", "", InexactNumber),
        ] {
            assert_eq!(faults(text), [(pointer.to_owned(), reason)], "{text}");
        }
        assert_eq!(faults(r#"[1e400,{"a":1,"a":"\ud800"}]"#).len(), 3, "all at once");
        let double = CanonicalJson::from_json("36028797018963968").unwrap_err().to_string();
        assert!(double.contains("canonical spelling"), "2^55 is a double: {double}");
        for kept in [
            "0.1",
            "1.0",
            "1e0",
            "1E23",
            "-0",
            "0e99999999999999999999",
            "9007199254740992",
            "1e21",
            "-0.0",
            "\"\u{ffff}\"",
        ] {
            CanonicalJson::from_json(kept).unwrap();
        }
    }

    #[test]
    fn what_is_not_json_is_refused_with_its_position() {
        assert_eq!(
            CanonicalJson::from_json("{\"a\":\n }"),
            Err(CanonicalError::Syntax(Position { line: 2, column: 2 }))
        );
        for text in ["", "{", "[1,]", "nul", "01", "1.", "\"\u{1}\"", "{} {}", "'a'", "NaN"] {
            assert!(matches!(CanonicalJson::from_json(text), Err(CanonicalError::Syntax(_))), "{text}");
        }
    }

    #[test]
    fn nesting_is_bounded_and_a_hostile_depth_is_no_danger() {
        let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        canonical(&nested(MAX_DEPTH));
        assert_eq!(faults(&nested(MAX_DEPTH + 1))[0].1, CanonicalReason::TooDeep);
        assert_eq!(faults(&nested(200_000))[0].1, CanonicalReason::TooDeep);
    }

    #[test]
    fn many_faults_are_counted_and_long_names_cut() {
        let name = "é".repeat(100_000);
        let document = format!(r#"{{"{name}":{{"{name}":[{}0.5]}}}}"#, "1e400,".repeat(50_000));
        let Err(CanonicalError::NotIJson { faults, more }) = CanonicalJson::from_json(&document) else {
            panic!("it has faults")
        };
        assert_eq!((faults.len(), more), (MAX_FAULTS, 50_000 - MAX_FAULTS));
        assert!(faults.iter().all(|fault| fault.pointer.chars().count() <= 2 * (MAX_POINTER_CHARACTERS + 1)));
    }

    #[test]
    fn what_no_record_can_hold_is_not_read_to_its_end() {
        let text = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
        assert_eq!(canonical(&text(MAX_BYTES)).len(), MAX_BYTES);
        assert_eq!(CanonicalJson::from_json(&text(MAX_BYTES + 1)), Err(CanonicalError::TooLong));
        let list = |before: &str| format!("[{before}{}1e400]", "0,".repeat(MAX_BYTES));
        assert_eq!(CanonicalJson::from_json(&list("")), Err(CanonicalError::TooLong), "the fault is behind the limit");
        assert_eq!(faults(&list("1e400,")).len(), 2, "after a fault there is no text that could be too long");
        let members = format!("{{\"b\":{},\"a\":{}}}", text(MAX_BYTES / 2), text(MAX_BYTES / 2));
        assert_eq!(CanonicalJson::from_json(&members), Err(CanonicalError::TooLong));
    }

    #[test]
    fn faults_beyond_the_named_ones_are_told_only_if_there_are_any() {
        let told = |text: &str| CanonicalJson::from_json(text).unwrap_err().to_string();
        let one = r#"it is not I-JSON (RFC 7493): "/0": a string holds a lone surrogate"#;
        assert_eq!(told(r#"["\ud800"]"#), one);
        let many = told(&format!("[{}0]", "1e400,".repeat(MAX_FAULTS + 3)));
        assert!(many.ends_with("; and 3 more"), "{many}");
    }

    #[test]
    fn names_are_told_apart_and_sorted_however_they_are_spelled() {
        assert_eq!(
            canonical(r#"{"\u005c":1,"\u0022":2,"a\nb":3,"a":{}, "":[]}"#),
            r#"{"":[],"\"":2,"\\":1,"a":{},"a\nb":3}"#
        );
        assert_eq!(faults(r#"{"b":1,"a":{"x":1,"x":2},"b":{"y":1e400},"\u0062":3}"#).len(), 4);
        // These two are adjacent by code point and in UTF-8, but in the opposite order in UTF-16.
        assert_eq!(canonical("{\"\u{ffff}\":1,\"\u{10000}\":2}"), "{\"\u{10000}\":2,\"\u{ffff}\":1}");
    }

    /// Generates documents of any shape, whose numbers are exact.
    fn any_document() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i32>().prop_map(Into::into),
            any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(5, 60, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Into::into),
                prop::collection::hash_map(any::<String>(), inner, 0..8)
                    .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_is_what_a_canonicalizer_with_a_tree_writes(document in any_document()) {
            let expected = serde_json_canonicalizer::to_string(&document).unwrap();
            prop_assert_eq!(canonical(&document.to_string()), expected.as_str());
            prop_assert_eq!(canonical(&serde_json::to_string_pretty(&document).unwrap()), expected.as_str());
        }

        #[test]
        fn any_text_is_read_or_refused(text in any::<String>()) {
            let _ = CanonicalJson::from_json(&text);
        }

        #[test]
        fn canonical_text_is_a_fixed_point(text in r#"[\[\]{}:," 0-9a\\u.eE+-]{0,40}"#) {
            if let Ok(canonical_json) = CanonicalJson::from_json(&text) {
                prop_assert_eq!(canonical(canonical_json.as_str()), canonical_json.as_str());
            }
        }

        #[test]
        fn every_double_survives(number in any::<f64>().prop_filter("finite", |number| number.is_finite())) {
            let text = serde_json_canonicalizer::to_string(&number).unwrap();
            let read: f64 = canonical(&text).parse().unwrap();
            prop_assert_eq!(read.to_bits(), if number == 0.0 { 0 } else { number.to_bits() });
        }
    }
}
