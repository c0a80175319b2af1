//! The function that is scraped, behind an HTTP API or a function URL.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lambda_runtime::layers::TracingLayer;
use lambda_runtime::{Context, Error, LambdaEvent, Runtime, service_fn};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::access::Access;
use super::client;
use crate::scrape::response::{PageBody, PageError, PageRequest, PageResponse, Scraper};
use crate::settings::faults::Faults;
use crate::settings::{TableSettings, process_variable};
use crate::table::{DynamoDbStatsTable, ReadStats};

/// Part of an invocation's time that is left for the response.
const RESERVE: Duration = Duration::from_millis(500);

/// Runs a function that answers scrapes, behind an HTTP API of API Gateway (payload format 2.0) or a function URL. It
/// answers every path with the page: let the route decide.
///
/// It reads [`TableSettings::from_env`], and the token that a scraper must show: `METRICS_TOKEN`, and `METRICS_TOKEN_PREVIOUS`
/// beside it while the token is changed. Without a token everyone may scrape, which is logged at each start.
///
/// # Errors
///
/// If settings are wrong, all of them at once, and when the Runtime API fails. A scrape that fails is answered with the reason
/// and logged with its cause.
///
/// # Panics
///
/// Outside of Lambda, as [`run`](crate::run) does.
pub async fn run_scraper() -> Result<(), Error> {
    let mut faults = Faults::default();
    let settings = faults.take(TableSettings::from_env());
    let access = Arc::new(Access::read(&process_variable, &mut faults));
    let settings = faults.finish(settings)?.expect("a setting is absent only when a fault was noted");
    if access.is_open() {
        tracing::warn!("METRICS_TOKEN is not set: the page is open to everyone");
    }
    let table = DynamoDbStatsTable::new(client::for_batches().await, settings.table());
    let scraper = Arc::new(Scraper::new(table, settings));
    let handler = service_fn(move |event: LambdaEvent<Event>| {
        let (scraper, access) = (Arc::clone(&scraper), Arc::clone(&access));
        // Boxed, since the future is nested deeper than the compiler follows.
        Box::pin(async move { Ok::<_, Error>(answer(&scraper, &access, &event.payload, &event.context).await) })
    });
    Runtime::new(handler).layer(TracingLayer::new()).run_concurrent().await
}

/// Whatever invokes the function. An event that is not a request is answered as well: to whoever sent it, an invocation that
/// ends in an error says nothing.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Event {
    Http(HttpEvent),
    Other(IgnoredAny),
}

/// A request as HTTP APIs and function URLs hand it over: payload format 2.0, as far as the page needs it. See
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct HttpEvent {
    #[serde(default)]
    raw_query_string: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    request_context: RequestContext,
}

#[derive(Debug, Deserialize)]
struct RequestContext {
    http: Http,
}

#[derive(Debug, Deserialize)]
struct Http {
    method: String,
}

impl HttpEvent {
    fn header(&self, wanted: &str) -> Option<&str> {
        self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.as_str())
    }
}

/// A response in the same format.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct HttpResponse {
    status_code: u16,
    headers: BTreeMap<&'static str, String>,
    body: String,
    is_base64_encoded: bool,
}

async fn answer<T: ReadStats>(scraper: &Scraper<T>, access: &Access, event: &Event, context: &Context) -> HttpResponse {
    let Event::Http(event) = event else {
        tracing::warn!("an event is not a request");
        return text(400, "the event is not a request in payload format 2.0 of an HTTP API or a function URL");
    };
    let response = answer_with_body(scraper, access, event, context).await;
    // The answer to HEAD is that to GET without its body (RFC 9110, section 9.3.2), also if it is a refusal.
    if event.request_context.http.method == "HEAD" {
        return HttpResponse { body: String::new(), is_base64_encoded: false, ..response };
    }
    response
}

async fn answer_with_body<T: ReadStats>(
    scraper: &Scraper<T>,
    access: &Access,
    event: &HttpEvent,
    context: &Context,
) -> HttpResponse {
    let received_at = Instant::now();
    // Checked before the table is read, so that a refused request costs next to nothing.
    if !access.allows(event.header("authorization")) {
        let response = text(401, "an Authorization header with a valid bearer token is needed");
        return with_header(response, "www-authenticate", "Bearer realm=\"metrics\"");
    }
    // Emulators send a constant deadline, long past.
    let left = context.deadline().duration_since(SystemTime::now()).ok();
    let request = PageRequest {
        method: &event.request_context.http.method,
        query: &event.raw_query_string,
        header: &|name| event.header(name).map(str::to_owned),
        received_at,
        deadline: left.map(|left| received_at + left.saturating_sub(RESERVE)),
    };
    match scraper.respond(request).await {
        Ok(page) => response(page),
        Err(error) => refusal(&error),
    }
}

fn response(page: PageResponse) -> HttpResponse {
    let (body, is_base64_encoded) = match page.body {
        PageBody::Empty => (String::new(), false),
        PageBody::Text(text) => (text, false),
        PageBody::Binary(bytes) => (STANDARD.encode(bytes), true),
    };
    HttpResponse { status_code: 200, headers: page.headers.into_iter().collect(), body, is_base64_encoded }
}

fn refusal(error: &PageError) -> HttpResponse {
    let response = text(error.status(), &error.to_string());
    match error.status() {
        400 => response,
        405 => with_header(response, "allow", PageError::METHODS),
        _ => {
            tracing::error!(error = error as &dyn std::error::Error, "a scrape failed");
            with_header(response, "retry-after", "5")
        }
    }
}

fn text(status_code: u16, text: &str) -> HttpResponse {
    let response = HttpResponse { status_code, body: format!("{text}\n"), ..HttpResponse::default() };
    with_header(response, "content-type", "text/plain; charset=utf-8")
}

fn with_header(mut response: HttpResponse, name: &'static str, value: &str) -> HttpResponse {
    response.headers.insert(name, value.to_owned());
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::MemoryStatsTable;
    use serde_json::json;

    async fn ask(method: &str, query: &str, headers: serde_json::Value) -> HttpResponse {
        answer_to(json!({
            "version": "2.0", "rawPath": "/metrics", "rawQueryString": query, "headers": headers,
            "requestContext": { "http": { "method": method, "path": "/metrics" } },
        }))
        .await
    }

    async fn answer_to(event: serde_json::Value) -> HttpResponse {
        let settings = TableSettings::builder("stats").build().unwrap();
        let scraper = Scraper::new(MemoryStatsTable::default(), settings);
        let token = |name: &str| (name == "METRICS_TOKEN").then(|| "the-token".to_owned());
        let access = Access::read(&token, &mut Faults::default());
        answer(&scraper, &access, &serde_json::from_value(event).unwrap(), &Context::default()).await
    }

    #[tokio::test]
    async fn the_token_opens_the_page() {
        let page = ask("GET", "", json!({ "Authorization": "Bearer the-token" })).await;
        assert_eq!((page.status_code, page.is_base64_encoded), (200, false));
        assert_eq!(page.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        assert!(page.body.contains("prometheus_dynamodb_writers{state=\"live\"} 0\n"), "{}", page.body);
        let gzip = ask("GET", "", json!({ "authorization": "Bearer the-token", "accept-encoding": "gzip" })).await;
        assert!(gzip.is_base64_encoded && gzip.headers["content-encoding"] == "gzip");
    }

    #[tokio::test]
    async fn an_event_that_is_no_request_is_answered() {
        let rest = json!({ "httpMethod": "GET", "path": "/metrics", "requestContext": { "stage": "prod" } });
        let balanced = json!({ "requestContext": { "elb": {} }, "httpMethod": "GET", "headers": {} });
        for event in [rest, balanced, json!(null), json!([1]), json!({ "source": "aws.events" })] {
            let refused = answer_to(event).await;
            assert!(refused.status_code == 400 && refused.body.contains("payload format 2.0"), "{}", refused.body);
        }
    }

    #[tokio::test]
    async fn what_is_refused_is_told_why() {
        let refused = ask("GET", "nam=x", json!({ "authorization": "Bearer another" })).await;
        assert_eq!(
            (refused.status_code, refused.headers["www-authenticate"].as_str()),
            (401, "Bearer realm=\"metrics\"")
        );
        let authorized = json!({ "authorization": "Bearer the-token" });
        let refused = ask("POST", "", authorized.clone()).await;
        assert_eq!((refused.status_code, refused.headers["allow"].as_str()), (405, "GET, HEAD"));
        for headers in [&authorized, &json!({})] {
            let refused = ask("HEAD", "nam=x", headers.clone()).await;
            assert_eq!((refused.status_code == 200, refused.body.as_str()), (false, ""));
        }
        let refused = ask("GET", "nam=x", authorized).await;
        assert!(refused.status_code == 400 && refused.body.contains("name[] and function"), "{}", refused.body);
    }
}
