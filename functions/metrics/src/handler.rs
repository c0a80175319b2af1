//! Answers requests for the page.

use std::time::{Duration, Instant};

use function_runtime::deadline;
use function_runtime::http::{HttpRequest, as_asked};
use function_runtime::problem::Problem;
use lambda_http::http::header::{ALLOW, HeaderName};
use lambda_http::http::{HeaderValue, StatusCode};
use lambda_http::{Body, Response};
use prometheus_dynamodb::{PageBody, PageError, PageRequest, PageResponse, ReadStats, Scraper, TableSettings};
use serde_json::value::RawValue;

use crate::access::Access;

/// `Retry-After` of a scrape that failed.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Time limit of an invocation, including the reading of the token: less than Lambda's time-out for this function.
pub const LIMIT: Duration = Duration::from_secs(13);

/// Answers scrapes.
#[derive(Debug)]
pub struct Metrics<T> {
    scraper: Scraper<T>,
    access: Access,
}

impl<T: ReadStats> Metrics<T> {
    /// Creates a handler that serves the page of this table to requests that `access` allows.
    pub fn new(table: T, reader: TableSettings, access: Access) -> Self {
        Self { scraper: Scraper::new(table, reader), access }
    }

    /// Answers one event.
    pub async fn answer(&self, event: Box<RawValue>) -> Response<Body> {
        let request = HttpRequest::read(&event);
        drop(event);
        let page = match &request {
            Ok(request) => self.page(request).await,
            Err(error) => {
                tracing::warn!(%error, "an event is not a request");
                Err(Problem::unsupported_event(error))
            }
        };
        as_asked(&request, page.unwrap_or_else(Problem::into_response))
    }

    async fn page(&self, request: &HttpRequest) -> Result<Response<Body>, Problem> {
        if !request.path().ends_with("/metrics") {
            return Err(Problem::new(StatusCode::NOT_FOUND, "not_found", "the page is at /metrics"));
        }
        let received_at = Instant::now();
        // Access is checked before the table is read, so that a refusal costs next to nothing.
        self.access.check(request).await?;
        let page_request = PageRequest {
            method: request.method(),
            query: request.query(),
            header: &|name| request.header(name).map(str::to_owned),
            received_at,
            deadline: Some(deadline::current_or(LIMIT)),
        };
        let page = self.scraper.respond(page_request).await.map_err(|error| problem(&error))?;
        Ok(response(page))
    }
}

fn response(page: PageResponse) -> Response<Body> {
    let mut response = Response::new(match page.body {
        PageBody::Empty => Body::Empty,
        PageBody::Text(text) => Body::Text(text),
        PageBody::Binary(bytes) => Body::Binary(bytes),
    });
    for (name, value) in page.headers {
        let value = HeaderValue::from_str(&value).expect("the page's headers are ASCII");
        response.headers_mut().insert(HeaderName::from_static(name), value);
    }
    response
}

fn problem(error: &PageError) -> Problem {
    let status = StatusCode::from_u16(error.status()).expect("it is a status");
    let problem = Problem::new(status, error.reason(), error.to_string());
    match status {
        StatusCode::METHOD_NOT_ALLOWED => problem.with_header(ALLOW, HeaderValue::from_static(PageError::METHODS)),
        StatusCode::BAD_REQUEST => problem,
        _ => {
            tracing::error!(error = error as &dyn std::error::Error, "a scrape failed");
            problem.retry_after(RETRY_AFTER)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::tokens::{Token, Tokens};
    use prometheus_dynamodb::MemoryStatsTable;
    use prometheus_dynamodb::internals::item::{Base, Part, PartId, StructureId, StructureItem};
    use prometheus_dynamodb::internals::table::{Cursor, ReadStructures, SnapshotPage, TableError, TableTime};
    use secrets::Secret;
    use serde_json::json;

    fn event(method: &str, path: &str, headers: &[(&str, &str)]) -> Box<RawValue> {
        raw(method, path, "", headers)
    }

    fn with_query(query: &str, headers: &[(&str, &str)]) -> Box<RawValue> {
        raw("GET", "/metrics", query, headers)
    }

    fn raw(method: &str, path: &str, query: &str, headers: &[(&str, &str)]) -> Box<RawValue> {
        let headers: BTreeMap<_, _> = headers.iter().copied().collect();
        let context = json!({ "http": { "method": method, "path": path } });
        let event = json!({
            "rawPath": path, "rawQueryString": query, "headers": headers, "requestContext": context,
        });
        serde_json::value::to_raw_value(&event).unwrap()
    }

    async fn answer(method: &str, path: &str, authorization: Option<&str>) -> Response<Body> {
        let headers: Vec<_> = authorization.map(|value| ("authorization", value)).into_iter().collect();
        answer_to(event(method, path, &headers)).await
    }

    async fn answer_to(event: Box<RawValue>) -> Response<Body> {
        let reader = TableSettings::builder("stats").build().unwrap();
        let tokens = Secret::fixed(Tokens { current: Token::parse("0123456789abcdef").ok(), previous: None });
        Metrics::new(MemoryStatsTable::default(), reader, Access::new(Some(tokens), None)).answer(event).await
    }

    #[tokio::test]
    async fn the_right_token_gets_the_page() {
        let response = answer("GET", "/metrics", Some("Bearer 0123456789abcdef")).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        let Body::Text(page) = response.body() else { panic!("{:?}", response.body()) };
        assert!(page.contains("prometheus_dynamodb_writers{state=\"live\"} 0\n"), "{page}");
        let head = answer("HEAD", "/metrics", Some("Bearer 0123456789abcdef")).await;
        assert_eq!((head.status(), head.body()), (StatusCode::OK, &Body::Empty));
        for (path, token, status) in [
            ("/metrics", "Bearer wrong", StatusCode::UNAUTHORIZED),
            ("/", "Bearer 0123456789abcdef", StatusCode::NOT_FOUND),
        ] {
            let refused = answer("HEAD", path, Some(token)).await;
            assert_eq!((refused.status(), refused.body()), (status, &Body::Empty));
        }
    }

    #[tokio::test]
    async fn the_query_restricts_the_page_and_is_refused_when_it_is_not_understood() {
        let token = ("authorization", "Bearer 0123456789abcdef");
        let accept = ("accept", "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8,*/*;q=0.1");
        let query = "name[]=prometheus_dynamodb_series";
        let response = answer_to(with_query(query, &[token, accept])).await;
        assert_eq!(
            response.headers()["content-type"],
            "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8"
        );
        let Body::Text(page) = response.body() else { panic!("{:?}", response.body()) };
        let samples: Vec<_> = page.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(samples, ["prometheus_dynamodb_series 0"]);
        let refused = answer_to(with_query("nam=x", &[token])).await;
        assert_eq!((refused.status(), refused.headers().get("retry-after")), (StatusCode::BAD_REQUEST, None));
        assert_eq!(answer_to(with_query("nam=x", &[])).await.status(), StatusCode::UNAUTHORIZED);
    }

    #[tokio::test]
    async fn anything_else_is_refused_with_a_reason() {
        let response = answer("GET", "/metrics", Some("Bearer wrong")).await;
        assert_eq!(
            (response.status(), &response.headers()["www-authenticate"]),
            (StatusCode::UNAUTHORIZED, &HeaderValue::from_static("Bearer realm=\"metrics\""))
        );
        assert_eq!(answer("GET", "/metrics", None).await.status(), 401);
        let refused = answer("POST", "/metrics", Some("Bearer 0123456789abcdef")).await;
        assert_eq!(refused.headers()["allow"], "GET, HEAD");
        assert_eq!(answer("GET", "/", None).await.status(), 404);
        let nonsense = RawValue::from_string("[]".to_owned()).unwrap();
        assert_eq!(answer_to(nonsense).await.status(), 400);
    }

    /// A table that never answers.
    struct Silent;

    impl TableTime for Silent {}

    impl ReadStructures for Silent {
        async fn structure(&self, _: u32, _: StructureId) -> Result<Option<StructureItem>, TableError> {
            std::future::pending().await
        }
    }

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
        let reader = TableSettings::builder("stats").build().unwrap();
        let metrics = Metrics::new(Silent, reader, Access::new(None, None));
        for (headers, limit) in [
            (&[][..], Duration::from_secs(9)),
            (&[("x-prometheus-scrape-timeout-seconds", "3")], Duration::from_millis(2500)),
        ] {
            let (start, paused_start) = (Instant::now(), tokio::time::Instant::now());
            let response = metrics.answer(event("GET", "/metrics", headers)).await;
            let (took, paused_took) = (start.elapsed(), paused_start.elapsed());
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(response.headers()["retry-after"], "5");
            // The paused clock advances by what is left of the limit by the real clock, rounded to milliseconds.
            assert!(paused_took <= limit && paused_took + took >= limit, "{paused_took:?}, {took:?}, {limit:?}");
        }
    }
}
