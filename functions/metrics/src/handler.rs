//! A request for the page.

use std::time::{Duration, Instant, SystemTime};

use function_kit::problem::Problem;
use lambda_http::http::header::{
    ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, VARY,
};
use lambda_http::http::{HeaderMap, HeaderValue, Method, StatusCode};
use lambda_http::{Body, Context, Request, RequestExt, Response};
use prometheus_dynamodb::exposition::{Format, accepts_gzip, gzip};
use prometheus_dynamodb::table::{ReadStats, TableError};
use prometheus_dynamodb::{ScrapeError, TableSettings, scrape};

use crate::access::Access;
use crate::scrape_deadline::time_allowed;
use crate::selection::Selection;

/// How long a scraper is told to wait after a failure.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The longest body that is sent, in bytes: Lambda's limit of 6 MB for a response, less room for what is around it. See
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>.
const MAX_PAYLOAD_BYTES: usize = 6 * 1024 * 1024 - 16 * 1024;

/// Answers scrapes.
#[derive(Debug)]
pub struct Metrics<T> {
    table: T,
    reader: TableSettings,
    access: Access,
}

impl<T: ReadStats> Metrics<T> {
    /// Answers scrapes from this table, for whoever has access.
    pub fn new(table: T, reader: TableSettings, access: Access) -> Self {
        Self { table, reader, access }
    }

    /// Answers one request.
    pub async fn handle(&self, request: &Request) -> Response<Body> {
        self.page(request).await.unwrap_or_else(Problem::into_response)
    }

    async fn page(&self, request: &Request) -> Result<Response<Body>, Problem> {
        if !request.uri().path().ends_with("/metrics") {
            return Err(Problem::new(StatusCode::NOT_FOUND, "not_found", "the page is at /metrics"));
        }
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return Err(Problem::method_not_allowed("GET, HEAD"));
        }
        // Before the table is read: what is refused costs nothing.
        self.access.check(request).await?;
        let selection = Selection::parse(request.uri().query().unwrap_or_default())?;
        let invocation_deadline = request.lambda_context_ref().map(Context::deadline);
        let allowed = time_allowed(request.headers(), invocation_deadline, SystemTime::now());
        let mut page =
            scrape(&self.table, &self.reader, Instant::now() + allowed).await.map_err(|error| problem(&error))?;
        selection.apply(&mut page);
        let accept = list(request.headers(), ACCEPT);
        let format = Format::of(&accept);
        let (body, compressed) = body(format.render(&page), format, Gzip::of(request.headers()))?;
        let mut response = Response::new(if request.method() == Method::HEAD { Body::Empty } else { body });
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, content_type(format, &accept));
        headers.insert(VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if compressed {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        Ok(response)
    }
}

/// The values of all headers of this name, as one list (RFC 9110, section 5.3).
fn list(headers: &HeaderMap, name: HeaderName) -> String {
    let values: Vec<_> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    values.join(",")
}

/// Returns the content type, with the scheme for escaping names that was asked for. No name here needs to be escaped, so
/// any scheme holds.
fn content_type(format: Format, accept: &str) -> HeaderValue {
    let content_type = match format.escaping(accept) {
        Some(escaping) => format!("{}; escaping={escaping}", format.content_type()),
        None => format.content_type().to_owned(),
    };
    HeaderValue::from_str(&content_type).expect("both parts are ASCII")
}

/// Whether a response may be compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gzip {
    /// It was asked for.
    Preferred,
    /// Nothing was said of codings, so that any will do (RFC 9110, section 12.5.3).
    Possible,
    /// It was ruled out.
    Refused,
}

impl Gzip {
    fn of(headers: &HeaderMap) -> Self {
        if !headers.contains_key(ACCEPT_ENCODING) {
            Self::Possible
        } else if accepts_gzip(&list(headers, ACCEPT_ENCODING)) {
            Self::Preferred
        } else {
            Self::Refused
        }
    }
}

/// Returns the body, and whether it is compressed. A page that Lambda would not take as it is, is compressed even though
/// nobody asked for it, unless that was ruled out: every scraper understands gzip.
fn body(page: Vec<u8>, format: Format, gzip: Gzip) -> Result<(Body, bool), Problem> {
    let plain = match (gzip, format.is_text()) {
        (Gzip::Preferred, _) => return fits(compress(&page), "publish fewer series").map(|body| (body, true)),
        (_, true) => Body::Text(String::from_utf8(page).expect("a text format is UTF-8")),
        (_, false) => Body::Binary(page),
    };
    match gzip {
        Gzip::Refused => fits(plain, "ask for it with Accept-Encoding: gzip").map(|body| (body, false)),
        _ if payload_bytes(&plain) <= MAX_PAYLOAD_BYTES => Ok((plain, false)),
        _ => fits(compress(&plain), "publish fewer series").map(|body| (body, true)),
    }
}

fn compress(page: &[u8]) -> Body {
    Body::Binary(gzip(page))
}

fn fits(body: Body, way_out: &str) -> Result<Body, Problem> {
    if payload_bytes(&body) <= MAX_PAYLOAD_BYTES {
        return Ok(body);
    }
    let detail = format!(
        "the page is larger than the 6 MB that Lambda lets a response have; {way_out}, or for a part with name[]"
    );
    tracing::error!(detail, "a scrape failed");
    Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "page_too_large", detail))
}

/// How long the body is in the JSON that Lambda is given: in base64, or as a text in which some characters are escaped.
fn payload_bytes(body: &Body) -> usize {
    match body {
        Body::Text(text) => text.len() + text.bytes().filter(|byte| matches!(byte, b'"' | b'\\' | b'\n')).count(),
        Body::Binary(bytes) => bytes.len().div_ceil(3) * 4,
        _ => 0,
    }
}

fn problem(error: &ScrapeError) -> Problem {
    tracing::error!(error = error as &dyn std::error::Error, "a scrape failed");
    let (status, word, detail) = match error {
        ScrapeError::Table(TableError::Throttled(_)) => {
            (StatusCode::TOO_MANY_REQUESTS, "throttled", "reading the stats table is throttled")
        }
        ScrapeError::Table(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "the stats table could not be read"),
        ScrapeError::Base { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "unreadable", "the stats table is damaged"),
        ScrapeError::TooSlow { .. } => {
            (StatusCode::SERVICE_UNAVAILABLE, "too_slow", "reading the stats table took too long")
        }
    };
    Problem::new(status, word, detail).retry_after(RETRY_AFTER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Token;
    use prometheus_dynamodb::MemoryStatsTable;
    use prometheus_dynamodb::item::{Base, Snapshot};
    use prometheus_dynamodb::table::UnreadableItem;
    use secrets::Secret;

    async fn answer(method: Method, path: &str, authorization: Option<&str>) -> Response<Body> {
        let headers: Vec<_> = authorization.map(|value| ("authorization", value)).into_iter().collect();
        answer_to(method, path, &headers).await
    }

    async fn answer_to(method: Method, path: &str, headers: &[(&str, &str)]) -> Response<Body> {
        let reader = TableSettings::builder("stats").build().unwrap();
        let tokens = Secret::fixed(vec![Token::parse("0123456789abcdef").unwrap()]);
        let mut request = lambda_http::http::Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request: Request = request.body(Body::Empty).unwrap();
        Metrics::new(MemoryStatsTable::default(), reader, Access::new(Some(tokens), None)).handle(&request).await
    }

    #[tokio::test]
    async fn the_right_token_gets_the_page() {
        let response = answer(Method::GET, "/metrics", Some("Bearer 0123456789abcdef")).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        let Body::Text(page) = response.body() else { panic!("{:?}", response.body()) };
        assert!(page.contains("prometheus_dynamodb_writers{state=\"live\"} 0\n"), "{page}");
        let head = answer(Method::HEAD, "/metrics", Some("Bearer 0123456789abcdef")).await;
        assert_eq!((head.status(), head.body()), (StatusCode::OK, &Body::Empty));
    }

    #[tokio::test]
    async fn the_page_comes_in_the_format_and_the_coding_that_are_asked_for() {
        let token = ("authorization", "Bearer 0123456789abcdef");
        let text = ("accept", "application/openmetrics-text");
        let response = answer_to(Method::GET, "/metrics", &[token, text, ("accept-encoding", "gzip")]).await;
        assert_eq!(response.headers()["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
        assert_eq!(response.headers()["content-encoding"], "gzip");
        assert_eq!(response.headers()["vary"], "Accept, Accept-Encoding");
        let Body::Binary(bytes) = response.body() else { panic!("{:?}", response.body()) };
        assert_eq!(bytes[..2], [0x1f, 0x8b], "the magic number of gzip");
    }

    #[tokio::test]
    async fn the_query_restricts_the_page_and_is_refused_when_it_is_not_understood() {
        let token = ("authorization", "Bearer 0123456789abcdef");
        let accept = ("accept", "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8,*/*;q=0.1");
        let path = "/metrics?name[]=prometheus_dynamodb_series";
        let response = answer_to(Method::GET, path, &[token, accept]).await;
        assert_eq!(
            response.headers()["content-type"],
            "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8"
        );
        let Body::Text(page) = response.body() else { panic!("{:?}", response.body()) };
        let samples: Vec<_> = page.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(samples, ["prometheus_dynamodb_series 0"]);
        assert_eq!(answer_to(Method::GET, "/metrics?nam=x", &[token]).await.status(), StatusCode::BAD_REQUEST);
        assert_eq!(answer_to(Method::GET, "/metrics?nam=x", &[]).await.status(), StatusCode::UNAUTHORIZED);
    }

    #[test]
    fn a_page_that_lambda_would_not_take_is_an_error_with_the_way_out() {
        // Each line feed is two characters in JSON.
        let page = vec![b'\n'; MAX_PAYLOAD_BYTES / 2 + 1];
        let refused = body(page.clone(), Format::Text, Gzip::Refused).unwrap_err().into_response();
        assert_eq!(refused.status(), 500);
        let Body::Text(problem) = refused.body() else { panic!("{:?}", refused.body()) };
        assert!(problem.contains("Accept-Encoding: gzip"), "{problem}");
        let (large, compressed) = body(page.clone(), Format::Text, Gzip::Possible).unwrap();
        assert!(compressed && payload_bytes(&large) <= MAX_PAYLOAD_BYTES);
        assert!(body(page.clone(), Format::Text, Gzip::Preferred).unwrap().1);
        assert!(!body(page[1..].to_vec(), Format::Text, Gzip::Possible).unwrap().1);
        assert!(!body(page[1..].to_vec(), Format::Text, Gzip::Refused).unwrap().1);
    }

    #[tokio::test]
    async fn anything_else_is_refused_with_a_reason() {
        let response = answer(Method::GET, "/metrics", Some("Bearer wrong")).await;
        assert_eq!(
            (response.status(), &response.headers()["www-authenticate"]),
            (StatusCode::UNAUTHORIZED, &HeaderValue::from_static("Bearer realm=\"metrics\""))
        );
        assert_eq!(answer(Method::GET, "/metrics", None).await.status(), 401);
        assert_eq!(answer(Method::POST, "/metrics", None).await.headers()["allow"], "GET, HEAD");
        assert_eq!(answer(Method::GET, "/", None).await.status(), 404);
    }

    /// A table that never answers.
    struct Silent;

    impl ReadStats for Silent {
        async fn shards(&self) -> Result<u32, TableError> {
            std::future::pending().await
        }

        async fn snapshots(&self, _: u32) -> Result<Vec<Result<Snapshot, UnreadableItem>>, TableError> {
            std::future::pending().await
        }

        async fn base(&self, _: u32) -> Result<Option<Base>, TableError> {
            std::future::pending().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_table_that_does_not_answer_is_given_up_on_before_the_scraper_gives_up() {
        let reader = TableSettings::builder("stats").build().unwrap();
        let metrics = Metrics::new(Silent, reader, Access::new(None, None));
        let request: Request = lambda_http::http::Request::builder().uri("/metrics").body(Body::Empty).unwrap();
        let start = tokio::time::Instant::now();
        let response = metrics.handle(&request).await;
        assert_eq!((response.status(), start.elapsed().as_secs()), (StatusCode::SERVICE_UNAVAILABLE, 9));

        let impatient = lambda_http::http::Request::builder().uri("/metrics");
        let impatient = impatient.header("x-prometheus-scrape-timeout-seconds", "3").body(Body::Empty).unwrap();
        let start = tokio::time::Instant::now();
        let response = metrics.handle(&impatient).await;
        assert_eq!((response.status(), start.elapsed().as_millis()), (StatusCode::SERVICE_UNAVAILABLE, 2_500));
    }
}
