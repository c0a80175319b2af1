//! Writes a page in one of several formats, and chooses the one that a request asks for.

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
    /// OpenMetrics text, version 1.0.0, with `_created` for series whose start is known.
    OpenMetrics,
    /// Prometheus protocol buffers, each message with its length before it.
    Protobuf,
}

impl Format {
    /// Returns the format that an `Accept` header likes best, the first one among equals. Returns text if the header
    /// names no known format (RFC 9110, section 12.5.1, allows an answer in another format).
    pub fn of(accept: &str) -> Self {
        let alternatives = accept::alternatives(accept);
        let refused: Vec<Self> =
            alternatives.iter().filter(|one| one.quality == 0.0).filter_map(|one| Self::named(one)).collect();
        let liked = alternatives.iter().filter(|one| one.quality > 0.0).find_map(|one| {
            Self::named(one).or_else(|| Self::covered(one.value).into_iter().find(|format| !refused.contains(format)))
        });
        liked.unwrap_or(Self::Text)
    }

    /// Returns the value of the header `Content-Type`.
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
    /// All names of a page use only characters that need no escaping, so every scheme writes them alike. The answer's
    /// content type says which scheme was asked for, as the official clients do.
    pub fn escaping(self, accept: &str) -> Option<&'static str> {
        let alternatives = accept::alternatives(accept);
        let chosen = alternatives.iter().find(|one| one.quality > 0.0 && Self::named(one) == Some(self))?;
        let asked = chosen.parameter("escaping")?;
        ["allow-utf-8", "underscores", "dots", "values"].into_iter().find(|scheme| *scheme == asked)
    }

    /// Returns whether the format is text, in UTF-8.
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

    /// Returns the format with this media type, if the version that is asked for can be written.
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

    /// Returns the formats that a media range covers, the preferred one first.
    fn covered(range: &str) -> Vec<Self> {
        match range {
            "*/*" => vec![Self::Text, Self::OpenMetrics, Self::Protobuf],
            "text/*" => vec![Self::Text],
            "application/*" => vec![Self::OpenMetrics, Self::Protobuf],
            _ => Vec::new(),
        }
    }
}

/// Returns whether an `Accept-Encoding` header allows gzip (RFC 9110, section 12.5.3).
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
            // The headers of Prometheus 2.42, without and with native histograms, and of 3.x.
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
