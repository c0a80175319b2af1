//! Damages texts and JSON at random.

use fastrand::Rng;
use serde_json::{Value, json};

/// Texts that break parsers, and texts that the functions look for.
const FRAGMENTS: [&str; 45] = [
    "\"",
    "\\",
    "\\\"",
    "\\u0000",
    "\\ud800",
    "\\\\ud800",
    "\\udc00\\ud800",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "null",
    "true",
    "1e400",
    "-0",
    "1e-999999999999999999999",
    "9007199254740993",
    "0.1000000000000000055",
    "[[[[[[[[",
    "{\"a\":{\"a\":",
    "{\"a\":1,\"a\":2}",
    " ",
    "\\n",
    "é",
    "\u{10ffff}",
    "\u{0}",
    "\r\n",
    "//",
    "/../",
    "?",
    "#",
    "@",
    "%",
    "%zz%00",
    "=;q=,*/*",
    "\"data\":",
    "\"token\":",
    "\"requestContext\":",
    "\"isBase64Encoded\":true",
    "/api/consciousness/sigils",
    "/verify",
    "Idempotency-Key",
    "HEAD",
];

/// Names of members that events and bodies have.
const NAMES: [&str; 12] = [
    "",
    "body",
    "cookies",
    "data",
    "headers",
    "isBase64Encoded",
    "pathParameters",
    "rawPath",
    "rawQueryString",
    "requestContext",
    "token",
    "version",
];

/// Returns the text with one to eight random changes.
pub(super) fn damaged(rng: &mut Rng, text: &str) -> String {
    let mut text: Vec<char> = text.chars().collect();
    for _ in 0..=rng.usize(..8) {
        let (from, to) = (rng.usize(..=text.len()), rng.usize(..=text.len()));
        let range = from.min(to)..from.max(to).min(from.min(to) + 40);
        let fragment: Vec<char> = FRAGMENTS[rng.usize(..FRAGMENTS.len())].chars().collect();
        match rng.u8(..6) {
            0 => drop(text.drain(range)),
            1 => drop(text.splice(range, fragment)),
            2 => drop(text.splice(from..from, fragment)),
            3 => {
                let many = fragment.repeat(rng.usize(..200));
                text.splice(from..from, many);
            }
            4 => {
                let copied = text[range].to_vec();
                text.splice(from..from, copied);
            }
            _ => {
                if let Some(character) = text.get_mut(from) {
                    *character = rng.char(..);
                }
            }
        }
    }
    text.into_iter().collect()
}

/// Returns the JSON with one to four of its values or members changed, or `None` if the text is not JSON.
///
/// Nearly every change of a text ends its being JSON. What stays JSON gets past the parser, to the code that reads events.
pub(super) fn damaged_json(rng: &mut Rng, text: &str) -> Option<String> {
    let mut root: Value = serde_json::from_str(text).ok()?;
    for _ in 0..=rng.usize(..4) {
        let other = pick(rng, &mut root).clone();
        let value = pick(rng, &mut root);
        *value = match std::mem::take(value) {
            Value::String(text) if rng.u8(..8) != 0 => Value::String(match damaged_json(rng, &text) {
                // A body is JSON in a string.
                Some(json) if rng.bool() => json,
                _ => damaged(rng, &text),
            }),
            Value::Object(mut members) if rng.u8(..4) != 0 => {
                let names: Vec<_> = members.keys().cloned().collect();
                let name = if names.is_empty() || rng.bool() {
                    NAMES[rng.usize(..NAMES.len())].to_owned()
                } else {
                    names[rng.usize(..names.len())].clone()
                };
                match rng.u8(..3) {
                    0 => drop(members.remove(&name)),
                    1 => drop(members.insert(name, other)),
                    _ => drop(members.insert(damaged(rng, &name), other)),
                }
                Value::Object(members)
            }
            _ => match rng.u8(..8) {
                0 => Value::Null,
                1 => json!(rng.bool()),
                2 => json!(rng.i64(..)),
                3 => json!(f64::from_bits(rng.u64(..))),
                4 => json!([other]),
                5 => json!("a".repeat(rng.usize(..5000))),
                6 => (0..rng.usize(..100)).fold(other, |inner, _| json!({ "a": inner })),
                _ => other,
            },
        };
    }
    Some(root.to_string())
}

/// Returns any of the values in `root`, or the root.
fn pick<'a>(rng: &mut Rng, root: &'a mut Value) -> &'a mut Value {
    let inner = match &mut *root {
        Value::Array(values) => values.len(),
        Value::Object(members) => members.len(),
        _ => 0,
    };
    // The values at the top of an event are as interesting as those further down.
    if inner == 0 || rng.u8(..4) == 0 {
        return root;
    }
    let at = rng.usize(..inner);
    let value = match root {
        Value::Array(values) => &mut values[at],
        Value::Object(members) => members.values_mut().nth(at).unwrap(),
        _ => unreachable!("it has values"),
    };
    pick(rng, value)
}
