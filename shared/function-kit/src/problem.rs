//! Error responses: problem details (RFC 9457).

use std::time::Duration;

use lambda_http::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use lambda_http::http::{HeaderName, HeaderValue, StatusCode};
use lambda_http::{Body, Response};
use serde::Serialize;

/// An error response. What it says is for clients: never the message of a library or of AWS.
#[derive(Debug, Clone)]
pub struct Problem {
    status: StatusCode,
    error: &'static str,
    detail: String,
    faults: Vec<Fault>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// One member of a request that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The member, as a JSON Pointer (RFC 6901) into the request's body.
    pub field: String,
    /// What is wrong with it, and what is allowed.
    pub detail: String,
}

/// The members of a problem, in the order in which they are written. Its type is `about:blank` (RFC 9457, section 4.2.1),
/// so its title is the status's own phrase.
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
}

impl Problem {
    /// A problem of this status. `error` is a stable word for programs, `detail` a sentence for people.
    pub fn new(status: StatusCode, error: &'static str, detail: impl Into<String>) -> Self {
        Self { status, error, detail: detail.into(), faults: Vec::new(), headers: Vec::new() }
    }

    /// The path is right, but it takes only the methods that `allowed` lists.
    pub fn method_not_allowed(allowed: &'static str) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", format!("{allowed} is needed"))
            .with_header(ALLOW, HeaderValue::from_static(allowed))
    }

    /// Names what is wrong in the request.
    #[must_use]
    pub fn with_faults(mut self, faults: Vec<Fault>) -> Self {
        self.faults = faults;
        self
    }

    /// Says after what time the same request may succeed, in whole seconds and at least one.
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

    /// The response.
    pub fn into_response(self) -> Response<Body> {
        let members = Members {
            problem_type: "about:blank",
            title: self.status.canonical_reason().unwrap_or_default(),
            status: self.status.as_u16(),
            error: self.error,
            detail: &self.detail,
            faults: &self.faults,
        };
        let body = serde_json::to_string(&members).expect("text and numbers are always JSON");
        let mut response = Response::new(Body::Text(body));
        *response.status_mut() = self.status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response.headers_mut().extend(self.headers);
        response
    }
}
