//! A request for the page.

use std::time::{Duration, Instant};

use function_kit::problem::Problem;
use lambda_http::http::header::{
    ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, VARY,
};
use lambda_http::http::{HeaderMap, HeaderValue, Method, StatusCode};
use lambda_http::{Body, Request, Response};
use prometheus_dynamodb::exposition::{Format, accepts_gzip, gzip};
use prometheus_dynamodb::table::{ReadStats, TableError};
use prometheus_dynamodb::{ScrapeError, TableSettings, scrape};

use crate::access::Access;

/// How long a scraper is told to wait after a failure.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The longest body that is sent, in bytes: Lambda's limit of 6 MB for a response, less room for what is around it. See
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>.
const MAX_PAYLOAD_BYTES: usize = 6 * 1024 * 1024 - 16 * 1024;

/// How long reading the table may take. Prometheus gives up after 10 s by default, and whatever is read after that would
/// be for nothing; Lambda's own time-out is later still.
const DEADLINE: Duration = Duration::from_secs(9);

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
        let page =
            scrape(&self.table, &self.reader, Instant::now() + DEADLINE).await.map_err(|error| problem(&error))?;
        let format = Format::of(&list(request.headers(), ACCEPT));
        let compressed = accepts_gzip(&list(request.headers(), ACCEPT_ENCODING));
        let body = body(format.render(&page), format, compressed)?;
        let mut response = Response::new(if request.method() == Method::HEAD { Body::Empty } else { body });
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
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

/// The body, or an error if Lambda would not take it.
fn body(page: Vec<u8>, format: Format, compressed: bool) -> Result<Body, Problem> {
    let body = if compressed {
        Body::Binary(gzip(&page))
    } else if format.is_text() {
        Body::Text(String::from_utf8(page).expect("a text format is UTF-8"))
    } else {
        Body::Binary(page)
    };
    if payload_bytes(&body) > MAX_PAYLOAD_BYTES {
        let way_out = if compressed { "publish fewer series" } else { "ask for it with Accept-Encoding: gzip" };
        let detail = format!("the page is larger than the 6 MB that Lambda lets a response have; {way_out}");
        tracing::error!(detail, "a scrape failed");
        return Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "page_too_large", detail));
    }
    Ok(body)
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
    use env_settings::EnvReader;
    use prometheus_dynamodb::MemoryStatsTable;
    use prometheus_dynamodb::item::{Base, Part, PartId};
    use prometheus_dynamodb::table::{Cursor, SnapshotPage, TableTime};
    use secrets::Secret;

    async fn answer(method: Method, path: &str, authorization: Option<&str>) -> Response<Body> {
        let headers: Vec<_> = authorization.map(|value| ("authorization", value)).into_iter().collect();
        answer_to(method, path, &headers).await
    }

    async fn answer_to(method: Method, path: &str, headers: &[(&str, &str)]) -> Response<Body> {
        let mut env = EnvReader::from_pairs([("STATS_TABLE", "stats")]);
        let reader = TableSettings::read(&mut env).unwrap();
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

    #[test]
    fn a_page_that_lambda_would_not_take_is_an_error_with_the_way_out() {
        // Each line feed is two characters in JSON.
        let page = vec![b'\n'; MAX_PAYLOAD_BYTES / 2 + 1];
        let refused = body(page.clone(), Format::Text, false).unwrap_err().into_response();
        assert_eq!(refused.status(), 500);
        let Body::Text(problem) = refused.body() else { panic!("{:?}", refused.body()) };
        assert!(problem.contains("Accept-Encoding: gzip"), "{problem}");
        assert!(body(page.clone(), Format::Text, true).is_ok());
        assert!(body(page[1..].to_vec(), Format::Text, false).is_ok());
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

    impl TableTime for Silent {}

    impl ReadStats for Silent {
        async fn shards(&self) -> Result<u32, TableError> {
            std::future::pending().await
        }

        async fn snapshot_page(&self, _: u32, _: Option<&Cursor>) -> Result<SnapshotPage, TableError> {
            std::future::pending().await
        }

        async fn part(&self, _: u32, _: PartId) -> Result<Option<Part>, TableError> {
            std::future::pending().await
        }

        async fn base(&self, _: u32) -> Result<Option<Base>, TableError> {
            std::future::pending().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_table_that_does_not_answer_is_given_up_on_before_the_scraper_gives_up() {
        let mut env = EnvReader::from_pairs([("STATS_TABLE", "stats")]);
        let metrics = Metrics::new(Silent, TableSettings::read(&mut env).unwrap(), Access::new(None, None));
        let request: Request = lambda_http::http::Request::builder().uri("/metrics").body(Body::Empty).unwrap();
        let start = tokio::time::Instant::now();
        let response = metrics.handle(&request).await;
        assert_eq!((response.status(), start.elapsed().as_secs()), (StatusCode::SERVICE_UNAVAILABLE, 9));
    }
}
