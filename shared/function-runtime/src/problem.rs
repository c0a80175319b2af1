//! Creates error responses: problem details (RFC 9457).

use std::time::Duration;

use lambda_http::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use lambda_http::http::{HeaderName, HeaderValue, StatusCode};
use lambda_http::{Body, Response};
use serde::Serialize;

use crate::http::UnsupportedEvent;

/// An error response. Its text is for clients, and never contains a message of a library or of AWS.
#[derive(Debug, Clone)]
pub struct Problem {
    status: StatusCode,
    error: &'static str,
    detail: String,
    faults: Faults,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// Maximum number of faults that a response names.
const MAX_FAULTS: usize = 16;

/// Maximum length of a field's name, in bytes. Lambda gets a response as JSON within JSON, where a byte can become
/// seven; with [`MAX_FAULTS`], this limit keeps every problem below 16 KB.
const MAX_FIELD_BYTES: usize = 100;

/// Faults of a request: the first ones, and the number of the others. A client controls the number of faults and the
/// length of their names, and must not be able to cause a response that is too large.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    first: Vec<Fault>,
    more: usize,
}

/// A member of a request that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The member, as a JSON Pointer (RFC 6901) into the request's body, or the name of a header. A long name is cut,
    /// and then ends with `…`.
    pub field: String,
    /// Description of what is wrong and what is allowed.
    pub detail: String,
}

impl Faults {
    /// Adds a fault. `detail` must not contain anything of the request.
    pub fn push(&mut self, mut field: String, detail: impl Into<String>) {
        if self.first.len() == MAX_FAULTS {
            self.more += 1;
            return;
        }
        if field.len() > MAX_FIELD_BYTES {
            field.truncate(field.floor_char_boundary(MAX_FIELD_BYTES));
            field.push('…');
        }
        self.first.push(Fault { field, detail: detail.into() });
    }

    /// Adds `count` faults of which nothing else is known.
    pub fn push_unnamed(&mut self, count: usize) {
        self.more += count;
    }

    /// Adds the faults of another list.
    pub fn append(&mut self, other: Self) {
        for fault in other.first {
            self.push(fault.field, fault.detail);
        }
        self.more += other.more;
    }

    /// Returns `true` if there are no faults.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty() && self.more == 0
    }

    /// Returns the faults that are named.
    pub fn named(&self) -> &[Fault] {
        &self.first
    }

    /// Returns the number of faults that are not named.
    pub fn more(&self) -> usize {
        self.more
    }
}

/// Members of a problem, in the order in which they are written. The type is `about:blank` (RFC 9457, section 4.2.1),
/// so the title is the phrase of the status.
#[derive(Serialize)]
struct Members<'a> {
    #[serde(rename = "type")]
    problem_type: &'static str,
    title: &'a str,
    status: u16,
    error: &'a str,
    detail: &'a str,
    #[serde(skip_serializing_if = "<[Fault]>::is_empty")]
    faults: &'a [Fault],
    /// Number of faults besides those that are named.
    #[serde(skip_serializing_if = "is_zero")]
    more_faults: usize,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl Problem {
    /// Creates a problem with this status. `error` is a stable word for programs, `detail` a sentence for people.
    pub fn new(status: StatusCode, error: &'static str, detail: impl Into<String>) -> Self {
        Self { status, error, detail: detail.into(), faults: Faults::default(), headers: Vec::new() }
    }

    /// Creates the problem for an event that is not a request.
    pub fn unsupported_event(event: &UnsupportedEvent) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "unsupported_event", event.to_string())
    }

    /// Creates the problem for a path that takes only the methods in `allowed`.
    pub fn method_not_allowed(allowed: &'static str) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", format!("allowed methods: {allowed}"))
            .with_header(ALLOW, HeaderValue::from_static(allowed))
    }

    /// Adds the faults of the request.
    #[must_use]
    pub fn with_faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// Adds the time after which the same request may succeed, in whole seconds and at least one.
    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Self {
        let seconds = wait.as_millis().div_ceil(1000).max(1);
        self.with_header(RETRY_AFTER, HeaderValue::from_str(&seconds.to_string()).expect("digits are allowed"))
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Returns the response.
    pub fn into_response(self) -> Response<Body> {
        let members = Members {
            problem_type: "about:blank",
            title: self.status.canonical_reason().unwrap_or_default(),
            status: self.status.as_u16(),
            error: self.error,
            detail: &self.detail,
            faults: self.faults.named(),
            more_faults: self.faults.more(),
        };
        let body = serde_json::to_string(&members).expect("text and numbers are always JSON");
        let mut response = Response::new(Body::Text(body));
        *response.status_mut() = self.status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response.headers_mut().extend(self.headers);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_problem_is_small_and_says_what_it_left_out() {
        let mut faults = Faults::default();
        for _ in 0..100_000 {
            faults.push("\u{1}".repeat(10_000), "x".repeat(100));
        }
        faults.push_unnamed(1);
        let response = Problem::new(StatusCode::BAD_REQUEST, "invalid", "x".repeat(200)).with_faults(faults);
        let response = response.into_response();
        let Body::Text(text) = response.body() else { panic!("a problem is a text") };
        assert!(serde_json::to_string(text).unwrap().len() < 15 * 1024, "{}", text.len());
        let problem: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(problem["more_faults"], 100_001 - MAX_FAULTS);
    }

    #[test]
    fn a_problem_has_only_the_members_that_say_something() {
        let mut faults = Faults::default();
        faults.push("/a".to_owned(), "it is missing");
        let problem = || Problem::new(StatusCode::BAD_REQUEST, "invalid", "It is.");
        for (problem, members) in [
            (problem(), &["detail", "error", "status", "title", "type"][..]),
            (problem().with_faults(faults), &["detail", "error", "faults", "status", "title", "type"]),
        ] {
            let response = problem.into_response();
            let Body::Text(text) = response.body() else { panic!("a problem is a text") };
            let mut names: Vec<_> = serde_json::from_str::<serde_json::Map<_, _>>(text)
                .unwrap()
                .into_iter()
                .map(|(name, _)| name)
                .collect();
            names.sort();
            assert_eq!(names, members);
        }
    }

    #[test]
    fn a_name_is_cut_between_characters() {
        let mut faults = Faults::default();
        faults.push(format!("/{}", "é".repeat(60)), "");
        faults.push("é".repeat(50), "");
        let fields: Vec<_> = faults.named().iter().map(|fault| fault.field.clone()).collect();
        assert_eq!(fields, [format!("/{}…", "é".repeat(49)), "é".repeat(50)]);
    }
}
