//! Writes the Prometheus text exposition format, version 0.0.4.
//!
//! See <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>.

use std::fmt::Write;

use crate::scrape::page::{Page, PageKind, PageSeries, PageValue};

/// The content type of this format.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Writes a page.
pub(super) fn render(page: &Page) -> String {
    let mut text = String::new();
    for family in &page.families {
        let kind = match family.kind {
            PageKind::Counter => "counter",
            PageKind::Gauge => "gauge",
            PageKind::Histogram => "histogram",
        };
        line(&mut text, format_args!("# HELP {} {}", family.name, escaped(&family.help, false)));
        line(&mut text, format_args!("# TYPE {} {kind}", family.name));
        for series in &family.series {
            render_series(&mut text, &family.name, series);
        }
    }
    text
}

fn render_series(text: &mut String, name: &str, series: &PageSeries) {
    match &series.value {
        PageValue::Number(value) => {
            line(text, format_args!("{name}{} {}", labels(series, None), number(*value)));
        }
        PageValue::Histogram { buckets, count, sum } => {
            let all = (f64::INFINITY, *count);
            for (bound, below) in buckets.iter().copied().chain([all]) {
                line(text, format_args!("{name}_bucket{} {below}", labels(series, Some(bound))));
            }
            line(text, format_args!("{name}_sum{} {}", labels(series, None), number(*sum)));
            line(text, format_args!("{name}_count{} {count}", labels(series, None)));
        }
    }
}

fn labels(series: &PageSeries, bound: Option<f64>) -> String {
    let own = series.labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value, true)));
    let le = bound.map(|bound| format!("le=\"{}\"", number(bound)));
    let pairs: Vec<_> = own.chain(le).collect();
    if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) }
}

/// Escapes backslashes and line feeds, and with `quotes` also quotes, as is needed within a label's value.
fn escaped(text: &str, quotes: bool) -> String {
    let text = text.replace('\\', r"\\").replace('\n', r"\n");
    if quotes { text.replace('"', "\\\"") } else { text }
}

/// Returns the shortest text that reads back as this number.
pub(super) fn number(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() }
    } else if value != 0.0 && !(1e-6..1e21).contains(&value.abs()) {
        format!("{value:e}")
    } else {
        value.to_string()
    }
}

pub(super) fn line(text: &mut String, content: std::fmt::Arguments<'_>) {
    writeln!(text, "{content}").expect("writing into memory does not fail");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scrape::page::PageFamily;

    #[test]
    fn each_type_is_written_as_the_format_says() {
        let labels = vec![("path".to_owned(), "a\"b\\c\nd".to_owned())];
        let page = Page {
            families: vec![
                PageFamily {
                    name: "requests_total".into(),
                    help: "All \\ requests,\nby path.".into(),
                    kind: PageKind::Counter,
                    series: vec![PageSeries { labels, value: PageValue::Number(3.0), created_at_ms: Some(1) }],
                },
                PageFamily {
                    name: "seconds".into(),
                    help: "Time.".into(),
                    kind: PageKind::Histogram,
                    series: vec![PageSeries {
                        labels: vec![],
                        value: PageValue::Histogram { buckets: vec![(0.001, 1), (1.0, 3)], count: 4, sum: 2.5 },
                        created_at_ms: Some(1),
                    }],
                },
            ],
            conflicts: vec![],
        };
        let expected = r#"# HELP requests_total All \\ requests,\nby path.
# TYPE requests_total counter
requests_total{path="a\"b\\c\nd"} 3
# HELP seconds Time.
# TYPE seconds histogram
seconds_bucket{le="0.001"} 1
seconds_bucket{le="1"} 3
seconds_bucket{le="+Inf"} 4
seconds_sum 2.5
seconds_count 4
"#;
        assert_eq!(render(&page), expected);
    }

    #[test]
    fn numbers_read_back_as_what_they_are() {
        for value in [0.0, -0.0, 1.0, 0.1, 1e-7, 1e21, 1e300, f64::MAX, f64::MIN_POSITIVE, 1_763_913_600.123] {
            assert_eq!(number(value).parse::<f64>().unwrap().to_bits(), value.to_bits(), "{}", number(value));
            assert!(number(value).len() < 30, "{}", number(value));
        }
        assert_eq!([f64::INFINITY, f64::NEG_INFINITY, f64::NAN].map(number), ["+Inf", "-Inf", "NaN"]);
    }
}
