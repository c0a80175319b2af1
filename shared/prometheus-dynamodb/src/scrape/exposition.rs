//! The formats that a page can be written in, and which of them a request asks for.

mod accept;
mod openmetrics;
mod protobuf;
mod text;

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::scrape::page::Page;
use accept::Alternative;

/// An exposition format. See <https://prometheus.io/docs/instrumenting/exposition_formats/>.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The Prometheus text format, version 0.0.4.
    Text,
    /// OpenMetrics text, version 1.0.0, with `_created` where it is known.
    OpenMetrics,
    /// Prometheus protocol buffers, each message with its length before it.
    Protobuf,
}

impl Format {
    /// The format that an `Accept` header asks for: the first of those that it likes best, and text if it knows none of them
    /// (RFC 9110, section 12.5.1, allows to answer in another format).
    pub fn of(accept: &str) -> Self {
        let alternatives = accept::alternatives(accept);
        let refused: Vec<Self> =
            alternatives.iter().filter(|one| one.quality == 0.0).filter_map(|one| Self::named(one)).collect();
        let liked = alternatives.iter().filter(|one| one.quality > 0.0).find_map(|one| {
            Self::named(one).or_else(|| Self::covered(one.value).into_iter().find(|format| !refused.contains(format)))
        });
        liked.unwrap_or(Self::Text)
    }

    /// The value of the header `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => text::CONTENT_TYPE,
            Self::OpenMetrics => openmetrics::CONTENT_TYPE,
            Self::Protobuf => protobuf::CONTENT_TYPE,
        }
    }

    /// Returns the scheme for escaping names that an `Accept` header asks for together with this format, if it names one
    /// that exists. See <https://prometheus.io/docs/instrumenting/escaping_schemes/>.
    ///
    /// The names of a page are all of the alphabet that needs no escaping, so every scheme writes them alike; the answer's
    /// content type says which one was asked for, as the official clients do.
    pub fn escaping(self, accept: &str) -> Option<&'static str> {
        let alternatives = accept::alternatives(accept);
        let chosen = alternatives.iter().find(|one| one.quality > 0.0 && Self::named(one) == Some(self))?;
        let asked = chosen.parameter("escaping")?;
        ["allow-utf-8", "underscores", "dots", "values"].into_iter().find(|scheme| *scheme == asked)
    }

    /// Whether it is text, in UTF-8.
    pub fn is_text(self) -> bool {
        match self {
            Self::Text | Self::OpenMetrics => true,
            Self::Protobuf => false,
        }
    }

    /// Writes a page.
    pub fn render(self, page: &Page) -> Vec<u8> {
        match self {
            Self::Text => text::render(page).into_bytes(),
            Self::OpenMetrics => openmetrics::render(page).into_bytes(),
            Self::Protobuf => protobuf::render(page),
        }
    }

    /// The format with this media type, in a version that can be written.
    fn named(alternative: &Alternative<'_>) -> Option<Self> {
        let version =
            |versions: &[&str]| alternative.parameter("version").is_none_or(|asked| versions.contains(&asked));
        match alternative.value.to_ascii_lowercase().as_str() {
            "text/plain" => version(&["0.0.4"]).then_some(Self::Text),
            "application/openmetrics-text" => version(&["1.0.0", "1.0"]).then_some(Self::OpenMetrics),
            "application/vnd.google.protobuf" => (alternative.parameter("encoding") == Some("delimited")
                && alternative.parameter("proto") == Some("io.prometheus.client.MetricFamily"))
            .then_some(Self::Protobuf),
            _ => None,
        }
    }

    /// The formats that a media range covers, the preferred one first.
    fn covered(range: &str) -> Vec<Self> {
        match range {
            "*/*" => vec![Self::Text, Self::OpenMetrics, Self::Protobuf],
            "text/*" => vec![Self::Text],
            "application/*" => vec![Self::OpenMetrics, Self::Protobuf],
            _ => Vec::new(),
        }
    }
}

/// Whether an `Accept-Encoding` header allows gzip (RFC 9110, section 12.5.3).
pub fn accepts_gzip(accept_encoding: &str) -> bool {
    let alternatives = accept::alternatives(accept_encoding);
    let quality_of =
        |name: &str| alternatives.iter().find(|one| one.value.eq_ignore_ascii_case(name)).map(|one| one.quality);
    quality_of("gzip").or_else(|| quality_of("x-gzip")).or_else(|| quality_of("*")).is_some_and(|quality| quality > 0.0)
}

/// Compresses a body (RFC 1952).
pub fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).and_then(|()| encoder.finish()).expect("writing into memory does not fail")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_the_one_that_is_liked_best() {
        let protobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
        for (accept, format) in [
            ("", Format::Text),
            ("*/*", Format::Text),
            ("text/html, application/xhtml+xml", Format::Text),
            ("text/plain;version=0.0.4;q=0.5,application/openmetrics-text", Format::OpenMetrics),
            ("application/openmetrics-text; version=1.0.0; charset=utf-8", Format::OpenMetrics),
            ("application/openmetrics-text;version=2.0.0,text/plain;q=0.1", Format::Text),
            ("application/openmetrics-text;q=0,*/*;q=0.5", Format::Text),
            ("text/plain;q=0,*/*", Format::OpenMetrics),
            ("text/plain;q=0.2;version=0.0.4,application/*;q=0.3", Format::OpenMetrics),
            // As Prometheus 2.42 asks, without and with native histograms, and as 3.x does.
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                Format::OpenMetrics,
            ),
            (&format!("{protobuf},application/openmetrics-text;version=1.0.0;q=0.8,*/*;q=0.1"), Format::Protobuf),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                 text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
                Format::OpenMetrics,
            ),
            (&protobuf.replace("delimited", "text"), Format::Text),
        ] {
            assert_eq!(Format::of(accept), format, "{accept}");
        }
    }

    #[test]
    fn the_escaping_scheme_is_the_one_of_the_chosen_format() {
        let accept = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                      text/plain;version=0.0.4;escaping=underscores;q=0.5,*/*;q=0.1";
        assert_eq!(Format::OpenMetrics.escaping(accept), Some("allow-utf-8"));
        assert_eq!(Format::Text.escaping(accept), Some("underscores"));
        assert_eq!(Format::Text.escaping("text/plain;escaping=\"x\r\ny\""), None);
        assert_eq!(Format::Text.escaping("*/*"), None);
    }

    #[test]
    fn gzip_must_be_allowed() {
        for allowed in ["gzip", "deflate, GZIP;q=0.5", "*", "x-gzip", "identity;q=0, *;q=0.1"] {
            assert!(accepts_gzip(allowed), "{allowed}");
        }
        for refused in ["", "identity", "gzip;q=0", "gzip;q=0, *", "br"] {
            assert!(!accepts_gzip(refused), "{refused}");
        }
    }
}
