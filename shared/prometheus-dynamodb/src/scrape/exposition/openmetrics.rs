//! OpenMetrics text, version 1.0.0.
//!
//! See <https://prometheus.io/docs/specs/om/open_metrics_spec/>.

use std::collections::BTreeSet;

use super::text::{line, number};
use crate::scrape::page::{Page, PageFamily, PageKind, PageSeries, PageValue};

pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Writes a page.
pub(super) fn render(page: &Page) -> String {
    let taken: BTreeSet<String> = page.families.iter().flat_map(PageFamily::sample_names).collect();
    let mut text = String::new();
    for family in &page.families {
        let shape = Shape::of(family, &taken);
        line(&mut text, format_args!("# TYPE {} {}", shape.family_name, shape.kind));
        if !family.help.is_empty() {
            line(&mut text, format_args!("# HELP {} {}", shape.family_name, escaped(&family.help)));
        }
        for series in &family.series {
            render_series(&mut text, family, &shape, series);
        }
    }
    text.push_str("# EOF\n");
    text
}

/// What a family is called, and what it is declared to be.
struct Shape<'a> {
    family_name: &'a str,
    kind: &'static str,
    /// The name of the samples that tell since when it counts, unless another family has it.
    created_name: Option<String>,
}

impl<'a> Shape<'a> {
    fn of(family: &'a PageFamily, taken: &BTreeSet<String>) -> Self {
        let created_name = |name: &str| Some(format!("{name}_created")).filter(|name| !taken.contains(name));
        match family.kind {
            PageKind::Gauge => Self { family_name: &family.name, kind: "gauge", created_name: None },
            PageKind::Histogram => {
                Self { family_name: &family.name, kind: "histogram", created_name: created_name(&family.name) }
            }
            // A counter's samples must be called as its family with `_total` after it. One that is not, or whose family
            // would be called as another, keeps its name if no type is declared.
            PageKind::Counter => match family.name.strip_suffix("_total").filter(|name| !taken.contains(*name)) {
                Some(name) => Self { family_name: name, kind: "counter", created_name: created_name(name) },
                None => Self { family_name: &family.name, kind: "unknown", created_name: None },
            },
        }
    }
}

fn render_series(text: &mut String, family: &PageFamily, shape: &Shape<'_>, series: &PageSeries) {
    let name = &family.name;
    let labels = |bound: Option<f64>| {
        let own = series.labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value)));
        let le = bound.map(|bound| format!("le=\"{}\"", canonical(bound)));
        let pairs: Vec<_> = own.chain(le).collect();
        if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) }
    };
    let own = labels(None);
    match &series.value {
        PageValue::Number(value) => line(text, format_args!("{name}{own} {}", number(*value))),
        PageValue::Histogram { buckets, count, sum } => {
            let all = (f64::INFINITY, *count);
            for (bound, below) in buckets.iter().copied().chain([all]) {
                line(text, format_args!("{name}_bucket{} {below}", labels(Some(bound))));
            }
            line(text, format_args!("{name}_count{own} {count}"));
            line(text, format_args!("{name}_sum{own} {}", number(*sum)));
        }
    }
    if let (Some(created_name), Some(created_at_ms)) = (&shape.created_name, series.created_at_ms) {
        line(text, format_args!("{created_name}{own} {}.{:03}", created_at_ms / 1000, created_at_ms % 1000));
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', r"\\").replace('\n', r"\n").replace('"', "\\\"")
}

/// A number as Go's `%g` writes it, always with a point or an exponent: as the values of `le` must be written.
fn canonical(value: f64) -> String {
    if !value.is_finite() || value == 0.0 {
        return if value == 0.0 { "0.0".to_owned() } else { number(value) };
    }
    let shortest = format!("{value:e}");
    let (mantissa, exponent) = shortest.split_once('e').expect("it was written with an exponent");
    match exponent.parse::<i32>().expect("an exponent is a number") {
        exponent @ -4..6 => {
            let plain = value.to_string();
            if plain.contains('.') || exponent < 0 { plain } else { format!("{plain}.0") }
        }
        exponent => format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn family(name: &str, kind: PageKind, value: PageValue) -> PageFamily {
        let labels = vec![("path".to_owned(), "a\"b".to_owned())];
        let series = vec![PageSeries { labels, value, created_at_ms: Some(1_700_000_000_042) }];
        PageFamily { name: name.into(), help: "Say \"x\".".into(), kind, series }
    }

    fn page(families: impl IntoIterator<Item = PageFamily>) -> Page {
        Page { families: families.into_iter().collect(), conflicts: vec![] }
    }

    #[test]
    fn each_type_is_written_as_the_format_says() {
        let histogram = PageValue::Histogram { buckets: vec![(0.001, 1), (1.0, 3)], count: 4, sum: 2.5 };
        let page = page([
            family("requests_total", PageKind::Counter, PageValue::Number(3.0)),
            family("seconds", PageKind::Histogram, histogram),
        ]);
        let expected = r#"# TYPE requests counter
# HELP requests Say \"x\".
requests_total{path="a\"b"} 3
requests_created{path="a\"b"} 1700000000.042
# TYPE seconds histogram
# HELP seconds Say \"x\".
seconds_bucket{path="a\"b",le="0.001"} 1
seconds_bucket{path="a\"b",le="1.0"} 3
seconds_bucket{path="a\"b",le="+Inf"} 4
seconds_count{path="a\"b"} 4
seconds_sum{path="a\"b"} 2.5
seconds_created{path="a\"b"} 1700000000.042
# EOF
"#;
        assert_eq!(render(&page), expected);
    }

    #[test]
    fn a_counter_that_cannot_be_called_so_keeps_its_name() {
        for (families, declared) in [
            (vec![family("requests", PageKind::Counter, PageValue::Number(3.0))], "# TYPE requests unknown\n"),
            (
                vec![
                    family("open", PageKind::Gauge, PageValue::Number(1.0)),
                    family("open_total", PageKind::Counter, PageValue::Number(3.0)),
                ],
                "# TYPE open_total unknown\n",
            ),
        ] {
            let text = render(&page(families));
            assert!(text.contains(declared) && !text.contains("_created"), "{text}");
        }
    }

    #[test]
    fn bounds_are_written_canonically() {
        for (bound, text) in [
            (1.0, "1.0"),
            (0.001, "0.001"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (100_000.0, "100000.0"),
            (1_000_000.0, "1e+06"),
            (1_500_000.0, "1.5e+06"),
            (-2.5, "-2.5"),
            (0.0, "0.0"),
            (f64::INFINITY, "+Inf"),
        ] {
            assert_eq!(canonical(bound), text);
        }
    }
}
