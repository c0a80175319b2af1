//! A request for the page.

use std::time::Duration;

use function_kit::problem::Problem;
use lambda_http::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use lambda_http::http::{HeaderValue, Method, StatusCode};
use lambda_http::{Body, Request, Response};
use prometheus_dynamodb::table::{ReadStats, TableError};
use prometheus_dynamodb::{ScrapeError, TableSettings, scrape, text};

use crate::access::Access;

/// How long a scraper is told to wait after a failure.
const RETRY_AFTER: Duration = Duration::from_secs(5);

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
        let scraped = tokio::time::timeout(DEADLINE, scrape(&self.table, &self.reader)).await;
        let page = scraped.unwrap_or(Err(ScrapeError::TooSlow { limit: DEADLINE })).map_err(|error| problem(&error))?;
        let body = match *request.method() {
            Method::HEAD => Body::Empty,
            _ => Body::Text(text::render(&page)),
        };
        let mut response = Response::new(body);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(text::CONTENT_TYPE));
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
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
    use prometheus_dynamodb::item::{Base, Snapshot};
    use prometheus_dynamodb::table::UnreadableItem;
    use secrets::Secret;

    async fn answer(method: Method, path: &str, authorization: Option<&str>) -> Response<Body> {
        let mut env = EnvReader::from_pairs([("STATS_TABLE", "stats")]);
        let reader = TableSettings::read(&mut env).unwrap();
        let tokens = Secret::fixed(vec![Token::parse("0123456789abcdef").unwrap()]);
        let mut request = lambda_http::http::Request::builder().method(method).uri(path);
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
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
        let mut env = EnvReader::from_pairs([("STATS_TABLE", "stats")]);
        let metrics = Metrics::new(Silent, TableSettings::read(&mut env).unwrap(), Access::new(None, None));
        let request: Request = lambda_http::http::Request::builder().uri("/metrics").body(Body::Empty).unwrap();
        let start = tokio::time::Instant::now();
        let response = metrics.handle(&request).await;
        assert_eq!((response.status(), start.elapsed().as_secs()), (StatusCode::SERVICE_UNAVAILABLE, 9));
    }
}
