//! Writes OpenMetrics text, version 1.0.0.
//!
//! See <https://prometheus.io/docs/specs/om/open_metrics_spec/>.

use std::collections::BTreeSet;

use super::text::{line, number};
use crate::families::rules::is_metric_name;
use crate::scrape::page::{Page, PageFamily, PageKind, PageSeries, PageValue};

pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Writes a page.
pub(super) fn render(page: &Page) -> String {
    // The names of samples, and the names that types reserve beside them. No two families may have a name in common.
    let mut taken: BTreeSet<String> = page.families.iter().flat_map(PageFamily::sample_names).collect();
    let mut text = String::new();
    for family in &page.families {
        match Typed::of(family, &mut taken) {
            Some(typed) => {
                head(&mut text, typed.family_name, typed.kind, &family.help);
                for series in &family.series {
                    sample_suffixes(family.kind)
                        .iter()
                        .for_each(|suffix| render_samples(&mut text, family, series, suffix));
                    render_created(&mut text, &typed, series);
                }
            }
            // Without a type, the samples of each name are a family of their own, and keep all their values and labels.
            None => {
                for suffix in sample_suffixes(family.kind) {
                    head(&mut text, &format!("{}{suffix}", family.name), "unknown", &family.help);
                    family.series.iter().for_each(|series| render_samples(&mut text, family, series, suffix));
                }
            }
        }
    }
    text.push_str("# EOF\n");
    text
}

fn head(text: &mut String, family_name: &str, kind: &str, help: &str) {
    line(text, format_args!("# TYPE {family_name} {kind}"));
    if !help.is_empty() {
        line(text, format_args!("# HELP {family_name} {}", escaped(help)));
    }
}

/// Returns the suffixes of the names of a family's samples.
fn sample_suffixes(kind: PageKind) -> &'static [&'static str] {
    match kind {
        PageKind::Counter | PageKind::Gauge => &[""],
        PageKind::Histogram => &["_bucket", "_count", "_sum"],
    }
}

/// Declaration of a family that can have its type.
struct Typed<'a> {
    family_name: &'a str,
    kind: &'static str,
    /// Name of the samples that tell since when the series count.
    created_name: Option<String>,
}

impl<'a> Typed<'a> {
    /// Returns the declaration, and takes the names that the type reserves. Returns `None` if the format does not allow
    /// the family's type, because of its values or because one of these names is taken.
    fn of(family: &'a PageFamily, taken: &mut BTreeSet<String>) -> Option<Self> {
        let (family_name, kind) = match family.kind {
            PageKind::Gauge => return Some(Self { family_name: &family.name, kind: "gauge", created_name: None }),
            PageKind::Histogram => (family.name.as_str(), "histogram"),
            // The name of a counter's samples must be the family's name followed by `_total`.
            PageKind::Counter => (family.name.strip_suffix("_total").filter(|name| is_metric_name(name))?, "counter"),
        };
        let created_name = format!("{family_name}_created");
        let reserved = [family_name, &created_name];
        let clashes = reserved.iter().any(|name| *name != family.name && taken.contains(*name));
        if clashes || family.series.iter().any(|series| is_negative(&series.value)) {
            return None;
        }
        taken.extend(reserved.map(str::to_owned));
        Some(Self { family_name, kind, created_name: Some(created_name) })
    }
}

/// Returns whether the value is that of a counter below zero, or of a histogram with a bound or a sum below zero.
fn is_negative(value: &PageValue) -> bool {
    match value {
        PageValue::Number(value) => *value < 0.0,
        PageValue::Histogram { buckets, sum, .. } => {
            *sum < 0.0 || buckets.first().is_some_and(|(bound, _)| *bound < 0.0)
        }
    }
}

fn render_samples(text: &mut String, family: &PageFamily, series: &PageSeries, suffix: &str) {
    let name = &family.name;
    let own = labels(series, None);
    match (&series.value, suffix) {
        (PageValue::Number(value), _) => line(text, format_args!("{name}{own} {}", number(*value))),
        (PageValue::Histogram { count, .. }, "_count") => line(text, format_args!("{name}_count{own} {count}")),
        (PageValue::Histogram { sum, .. }, "_sum") => line(text, format_args!("{name}_sum{own} {}", number(*sum))),
        (PageValue::Histogram { buckets, count, .. }, _) => {
            let all = (f64::INFINITY, *count);
            for (bound, below) in buckets.iter().copied().chain([all]) {
                line(text, format_args!("{name}_bucket{} {below}", labels(series, Some(bound))));
            }
        }
    }
}

fn render_created(text: &mut String, typed: &Typed<'_>, series: &PageSeries) {
    if let (Some(created_name), Some(created_at_ms)) = (&typed.created_name, series.created_at_ms) {
        let (own, seconds, millis) = (labels(series, None), created_at_ms / 1000, created_at_ms % 1000);
        line(text, format_args!("{created_name}{own} {seconds}.{millis:03}"));
    }
}

fn labels(series: &PageSeries, bound: Option<f64>) -> String {
    let own = series.labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value)));
    let le = bound.map(|bound| format!("le=\"{}\"", canonical(bound)));
    let pairs: Vec<_> = own.chain(le).collect();
    if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) }
}

fn escaped(text: &str) -> String {
    text.replace('\\', r"\\").replace('\n', r"\n").replace('"', "\\\"")
}

/// Returns a number as Go's `%g` writes it, but always with a point or an exponent, as the values of `le` must be
/// written.
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

    /// A family keeps its samples, but loses its type, if a strict reader would refuse the type: each name occurs once,
    /// including those that types reserve, and nothing that counts is below zero.
    #[test]
    fn a_family_that_cannot_have_its_type_keeps_its_samples() {
        let gauge = |name| family(name, PageKind::Gauge, PageValue::Number(1.0));
        let counter = |name, value| family(name, PageKind::Counter, PageValue::Number(value));
        let histogram = |bound, sum| {
            family("h", PageKind::Histogram, PageValue::Histogram { buckets: vec![(bound, 1)], count: 2, sum })
        };
        let untyped = ["# TYPE h_bucket unknown\n", "# TYPE h_count unknown\n", "# TYPE h_sum unknown\n"];
        for (families, declared) in [
            (vec![counter("_total", 3.0)], vec!["# TYPE _total unknown\n"]),
            (vec![counter("foo_total", -3.0)], vec!["# TYPE foo_total unknown\n"]),
            (vec![gauge("foo_created"), counter("foo_total", 3.0)], vec!["# TYPE foo_total unknown\n"]),
            (
                vec![counter("foo_created_total", 3.0), counter("foo_total", 3.0)],
                vec!["# TYPE foo_created counter\n", "# TYPE foo_total unknown\n"],
            ),
            (vec![histogram(0.5, 1.0), gauge("h_created")], untyped.to_vec()),
            (vec![histogram(-0.5, 1.0)], untyped.to_vec()),
            (vec![histogram(0.5, -1.0)], untyped.to_vec()),
        ] {
            let text = render(&page(families));
            assert!(declared.iter().all(|declared| text.contains(declared)), "{text}");
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
