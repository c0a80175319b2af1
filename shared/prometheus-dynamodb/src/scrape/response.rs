//! Answers scrapes over HTTP, without depending on any HTTP library.

mod selection;
mod time_allowed;

use std::time::Instant;

use crate::scrape::exposition::{Format, accepts_gzip, gzip};
use crate::scrape::{ScrapeError, scrape};
use crate::settings::TableSettings;
use crate::structures::Structures;
use crate::table::{DynamoDbStatsTable, ReadStats, TableError};
use selection::Selection;
use time_allowed::time_allowed;

/// Longest body that is sent, in bytes: Lambda's limit of 6 MB for a response, less room for what surrounds the body. See
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>.
const MAX_PAYLOAD_BYTES: usize = 6 * 1024 * 1024 - 16 * 1024;

/// Header by which Prometheus says after how many seconds it gives up.
const SCRAPE_TIMEOUT: &str = "x-prometheus-scrape-timeout-seconds";

/// A request for the page.
///
/// All fields are needed, so that whoever handles HTTP forgets none.
pub struct PageRequest<'a> {
    /// The method. `GET` and `HEAD` are answered.
    pub method: &'a str,
    /// The query string, without the question mark. `name[]=NAME`, which may occur several times, keeps the families
    /// that have this name or a sample of this name. `function=NAME` keeps the series whose label `function` has this
    /// value.
    pub query: &'a str,
    /// Function that returns the value of the header with this name, which is in lower case. It returns several headers
    /// of one name as one list, separated by commas (RFC 9110, section 5.3).
    pub header: &'a (dyn Fn(&str) -> Option<String> + Sync),
    /// Time at which the request was received. The scraper's time-out counts from there.
    pub received_at: Instant,
    /// Time at which the invocation must have ended, if that is known.
    pub deadline: Option<Instant>,
}

/// The page as a response with status 200.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageResponse {
    /// Names and values of the headers.
    pub headers: Vec<(&'static str, String)>,
    /// The body; empty for `HEAD`.
    pub body: PageBody,
}

/// The body of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PageBody {
    /// Nothing.
    Empty,
    /// Text in UTF-8.
    Text(String),
    /// Bytes, which Lambda's JSON carries in base64.
    Binary(Vec<u8>),
}

/// Error of a request for the page that is refused or fails. Its text is for the client. Its sources say exactly what
/// went wrong, and are for the log.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct PageError(#[from] Fault);

#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("allowed methods: {}", PageError::METHODS)]
    Method,
    #[error("the parameters are name[] and function, each with a value, and not {}", shortened(.parameter))]
    Query { parameter: String },
    #[error("{}", told(.0))]
    Scrape(#[source] ScrapeError),
    #[error(
        "the page is larger than the 6 MB that Lambda lets a response have; {way_out}, or ask for a part of it with name[]"
    )]
    TooLarge { way_out: &'static str },
}

/// Returns the text for the scraper, which says nothing about how the table is built.
fn told(error: &ScrapeError) -> &'static str {
    match error {
        ScrapeError::Table(TableError::Throttled(_)) => "reading the stats table is throttled",
        ScrapeError::Table(TableError::TimedOut(_) | TableError::Failed(_)) => "the stats table could not be read",
        ScrapeError::TooSlow { .. } => "reading the stats table took too long",
        ScrapeError::Table(TableError::Unreadable(_)) | ScrapeError::Base { .. } | ScrapeError::Structure { .. } => {
            "the stats table is damaged"
        }
    }
}

impl PageError {
    /// The methods of the page, as the header `Allow` lists them.
    pub const METHODS: &'static str = "GET, HEAD";

    /// Returns the HTTP status: 405 and 400 for a request that is refused, 429 if DynamoDB throttles, 500 if an item of the table
    /// is damaged or the page is too large for Lambda, else 503.
    pub fn status(&self) -> u16 {
        match &self.0 {
            Fault::Method => 405,
            Fault::Query { .. } => 400,
            Fault::Scrape(error) => error.status(),
            Fault::TooLarge { .. } => 500,
        }
    }

    /// Returns one word that stays the same from version to version: `method_not_allowed`, `invalid`, `throttled`, `unavailable`,
    /// `too_slow`, `unreadable` or `page_too_large`.
    pub fn reason(&self) -> &'static str {
        match &self.0 {
            Fault::Method => "method_not_allowed",
            Fault::Query { .. } => "invalid",
            Fault::Scrape(error) => match error {
                ScrapeError::Table(TableError::Throttled(_)) => "throttled",
                ScrapeError::Table(TableError::TimedOut(_) | TableError::Failed(_)) => "unavailable",
                ScrapeError::TooSlow { .. } => "too_slow",
                ScrapeError::Table(TableError::Unreadable(_))
                | ScrapeError::Base { .. }
                | ScrapeError::Structure { .. } => "unreadable",
            },
            Fault::TooLarge { .. } => "page_too_large",
        }
    }
}

/// Returns a text that the client sent, quoted and shortened, to repeat it to the client.
fn shortened(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?} …", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// Answers scrapes: reads the stats table and renders it as one page. A scraper keeps structures for the next scrape,
/// so create one for the life of the process.
#[derive(Debug)]
pub struct Scraper<T = DynamoDbStatsTable> {
    table: T,
    structures: Structures,
    settings: TableSettings,
}

impl<T: ReadStats> Scraper<T> {
    /// Creates a scraper of this table.
    pub fn new(table: T, settings: TableSettings) -> Self {
        Self { table, structures: Structures::default(), settings }
    }

    /// Answers a request for the page. The answer has the format and the coding that `Accept` and `Accept-Encoding` ask
    /// for, is restricted by the query, and comes no later than the scraper and the invocation allow.
    ///
    /// If Lambda would not accept the page as it is, the page is compressed even if the request does not ask for it,
    /// unless the request rules that out: every scraper understands gzip.
    ///
    /// # Errors
    ///
    /// See [`PageError`]. Faults of the request are found before the table is read.
    pub async fn respond(&self, request: PageRequest<'_>) -> Result<PageResponse, PageError> {
        Ok(respond(&self.table, &self.structures, &self.settings, request).await?)
    }
}

async fn respond<T: ReadStats>(
    table: &T,
    structures: &Structures,
    settings: &TableSettings,
    request: PageRequest<'_>,
) -> Result<PageResponse, Fault> {
    let with_body = match request.method {
        "GET" => true,
        "HEAD" => false,
        _ => return Err(Fault::Method),
    };
    let selection = Selection::parse(request.query).map_err(|parameter| Fault::Query { parameter })?;
    let time_left = request.deadline.map(|deadline| deadline.saturating_duration_since(request.received_at));
    let allowed = time_allowed((request.header)(SCRAPE_TIMEOUT).as_deref(), time_left);
    let scraped = scrape(table, structures, settings, request.received_at + allowed).await;
    let mut page = scraped.map_err(Fault::Scrape)?;
    selection.apply(&mut page);

    let accept = (request.header)("accept").unwrap_or_default();
    let format = Format::of(&accept);
    if format == Format::OpenMetrics && !settings.created_series {
        page.forget_created();
    }
    let coding = Coding::of((request.header)("accept-encoding").as_deref());
    let (body, compressed) = body(format.render(&page), format, coding)?;
    let mut headers = vec![
        ("content-type", content_type(format, &accept)),
        ("vary", "Accept, Accept-Encoding".to_owned()),
        ("cache-control", "no-store".to_owned()),
    ];
    if compressed {
        headers.push(("content-encoding", "gzip".to_owned()));
    }
    Ok(PageResponse { headers, body: if with_body { body } else { PageBody::Empty } })
}

/// Returns the content type, with the scheme for escaping names that was asked for. No name here needs to be escaped,
/// so any scheme is correct.
fn content_type(format: Format, accept: &str) -> String {
    match format.escaping(accept) {
        Some(escaping) => format!("{}; escaping={escaping}", format.content_type()),
        None => format.content_type().to_owned(),
    }
}

/// Compression that a request allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    /// Gzip, because the request asks for it.
    Gzip,
    /// Gzip if the body needs it, because the request says nothing of codings and so allows any (RFC 9110, section
    /// 12.5.3).
    Any,
    /// None, because the request does not accept gzip.
    Identity,
}

impl Coding {
    fn of(accept_encoding: Option<&str>) -> Self {
        match accept_encoding {
            None => Self::Any,
            Some(list) if accepts_gzip(list) => Self::Gzip,
            Some(_) => Self::Identity,
        }
    }
}

/// Returns the body, and whether it is compressed.
fn body(page: Vec<u8>, format: Format, coding: Coding) -> Result<(PageBody, bool), Fault> {
    let fits = |body: PageBody| {
        if payload_bytes(&body) <= MAX_PAYLOAD_BYTES { Ok(body) } else { Err(body) }
    };
    let compressed = |page: &[u8]| match fits(PageBody::Binary(gzip(page))) {
        Ok(body) => Ok((body, true)),
        Err(_) => Err(Fault::TooLarge { way_out: "publish fewer series" }),
    };
    if coding == Coding::Gzip {
        return compressed(&page);
    }
    let plain = if format.is_text() {
        PageBody::Text(String::from_utf8(page).expect("a text format is UTF-8"))
    } else {
        PageBody::Binary(page)
    };
    match (fits(plain), coding) {
        (Ok(plain), _) => Ok((plain, false)),
        (Err(PageBody::Text(page)), Coding::Any) => compressed(page.as_bytes()),
        (Err(PageBody::Binary(page)), Coding::Any) => compressed(&page),
        (Err(_), _) => Err(Fault::TooLarge { way_out: "ask for it with Accept-Encoding: gzip" }),
    }
}

/// Returns the length of the body in the JSON that Lambda receives, either in base64 or as text in which some
/// characters are escaped (RFC 8259, section 7).
fn payload_bytes(body: &PageBody) -> usize {
    let in_json = |byte| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | b'\x08' | b'\x0c' => 2,
        0..b' ' => 6,
        _ => 1,
    };
    match body {
        PageBody::Empty => 0,
        PageBody::Text(text) => text.bytes().map(in_json).sum(),
        PageBody::Binary(bytes) => bytes.len().div_ceil(3) * 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::MemoryStatsTable;

    async fn answer(method: &str, query: &str, headers: &[(&str, &str)]) -> Result<PageResponse, PageError> {
        let settings = TableSettings::builder("stats").build().unwrap();
        let header =
            |wanted: &str| headers.iter().find(|(name, _)| *name == wanted).map(|(_, value)| (*value).to_owned());
        let request = PageRequest { method, query, header: &header, received_at: Instant::now(), deadline: None };
        Scraper::new(MemoryStatsTable::default(), settings).respond(request).await
    }

    #[tokio::test]
    async fn the_page_comes_in_the_format_and_the_coding_that_are_asked_for() {
        let plain = answer("GET", "", &[]).await.unwrap();
        assert_eq!(plain.headers[0].1, "text/plain; version=0.0.4; charset=utf-8");
        let PageBody::Text(page) = &plain.body else { panic!("{plain:?}") };
        assert!(page.contains("prometheus_dynamodb_writers{state=\"live\"} 0\n"), "{page}");

        let accept = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8,*/*;q=0.1";
        let coded = answer("GET", "", &[("accept", accept), ("accept-encoding", "gzip")]).await.unwrap();
        let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8";
        assert_eq!(coded.headers[0], ("content-type", content_type.to_owned()));
        assert!(coded.headers.contains(&("content-encoding", "gzip".to_owned())));
        let PageBody::Binary(bytes) = &coded.body else { panic!("{coded:?}") };
        assert_eq!(bytes[..2], [0x1f, 0x8b], "the magic number of gzip");

        assert_eq!(answer("HEAD", "", &[]).await.unwrap(), PageResponse { body: PageBody::Empty, ..plain });
    }

    #[tokio::test]
    async fn the_query_restricts_the_page() {
        let response = answer("GET", "name[]=prometheus_dynamodb_series", &[]).await.unwrap();
        let PageBody::Text(page) = &response.body else { panic!("{response:?}") };
        let samples: Vec<_> = page.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(samples, ["prometheus_dynamodb_series 0"]);
    }

    #[tokio::test]
    async fn what_is_not_understood_is_refused_by_name_and_briefly() {
        assert_eq!(answer("POST", "", &[]).await.unwrap_err().status(), 405);
        let refused = answer("GET", &format!("{}=up", "ü".repeat(10_000)), &[]).await.unwrap_err();
        assert_eq!(refused.status(), 400);
        assert!(refused.to_string().contains("name[] and function") && refused.to_string().len() < 400, "{refused}");
    }

    #[test]
    fn a_text_is_as_long_as_in_the_json_that_lambda_takes() {
        let text: String = ('\0'..='\u{ff}').chain(['\u{2028}', '\u{1f600}']).collect();
        let json = serde_json::to_string(&text).unwrap();
        assert_eq!(payload_bytes(&PageBody::Text(text)), json.len() - 2, "without the quotes");
    }

    #[test]
    fn a_page_that_lambda_would_not_take_is_compressed_or_an_error_with_the_way_out() {
        // Each line feed is two characters in JSON.
        let page = vec![b'\n'; MAX_PAYLOAD_BYTES / 2 + 1];
        let refused = body(page.clone(), Format::Text, Coding::Identity).unwrap_err().to_string();
        assert!(refused.contains("Accept-Encoding: gzip"), "{refused}");
        let (large, compressed) = body(page.clone(), Format::Text, Coding::Any).unwrap();
        assert!(compressed && payload_bytes(&large) <= MAX_PAYLOAD_BYTES);
        assert!(body(page.clone(), Format::Text, Coding::Gzip).unwrap().1);
        assert!(!body(page[1..].to_vec(), Format::Text, Coding::Any).unwrap().1);
        assert!(!body(page[1..].to_vec(), Format::Text, Coding::Identity).unwrap().1);
    }
}
