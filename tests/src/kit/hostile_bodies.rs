//! Makes the data that are the most expensive to read for their length.

/// Lengths of the bodies, in bytes: the longest that is still read, and about the longest that fits into Lambda's 6 MB for an
/// event.
pub const LENGTHS: [usize; 2] = [3 * 400 * 1024, 5_900_000];

/// Returns named data of about this length, in bytes, each of which is expensive for a careless parser.
pub fn all(length: usize) -> Vec<(&'static str, String)> {
    let list = |element: &str| {
        let elements = vec![element; (length - 2) / (element.len() + 1)];
        format!("[{}]", elements.join(","))
    };
    let members = |name: &dyn Fn(usize) -> String, each: usize| {
        let members: Vec<_> = (0..(length - 2) / each).map(|number| format!("\"{}\":0", name(number))).collect();
        format!("{{{}}}", members.join(","))
    };
    let nested = |open: &str, inner: &str, close: &str, depth: usize| {
        format!("{}{inner}{}", open.repeat(depth), close.repeat(depth))
    };
    vec![
        ("small objects", list("{}")),
        ("zeros in nested arrays", nested("[0,", &list("0"), "]", 60)),
        ("blanks", format!("{}1", " ".repeat(length - 1))),
        ("escapes", format!("\"{}\"", "\\n".repeat((length - 2) / 3))),
        ("backslashes in Unicode", format!("\"{}\"", "\\u005c".repeat((length - 2) / 7))),
        ("a deep nest", nested("[", "", "]", length / 2)),
        ("a deep nest of objects", nested("{\"a\":", "0", "}", length / 8)),
        ("many members, the other way round", members(&|number| format!("{:07}", 9_999_999 - number), 12)),
        ("the same member", members(&|_| "a".to_owned(), 6)),
        ("members that begin alike", members(&|number| format!("{}{:07}", "é".repeat(500), 9_999_999 - number), 1012)),
        ("members within members", nested("{\"b\":0,\"a\":", &list("{}"), "}", 60)),
        ("zeros within members", nested("{\"b\":0,\"a\":", &list("0"), "}", 63)),
        ("a long number", "1".repeat(length)),
        ("small numbers", list("1.5e-300")),
        ("short numbers", list("1e0")),
        ("short numbers after a fault", format!("[1e400,{}]", list("1e0"))),
        ("numbers that are none", list("1e999")),
        ("numbers between two doubles", list("1.00000000000000011102230246251565404e-300")),
        ("long zeros", list(&format!("0.{}1", "0".repeat(300)))),
        ("numbers with many zeros", list(&format!("1{}", "0".repeat(290)))),
    ]
}
