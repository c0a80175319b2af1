//! Writes Prometheus protocol buffers: `io.prometheus.client.MetricFamily`, each message with its length before it.
//!
//! See <https://github.com/prometheus/client_model>. Only the members that a page has are declared here.

use prost::Message;

use crate::scrape::page::{Page, PageKind, PageSeries, PageValue};

pub(super) const CONTENT_TYPE: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

/// Writes a page.
pub(super) fn render(page: &Page) -> Vec<u8> {
    let mut bytes = Vec::new();
    for family in &page.families {
        let message = MetricFamily {
            name: Some(family.name.clone()),
            help: Some(family.help.clone()),
            kind: Some(match family.kind {
                PageKind::Counter => 0,
                PageKind::Gauge => 1,
                PageKind::Histogram => 4,
            }),
            metric: family.series.iter().map(|series| metric(family.kind, series)).collect(),
        };
        message.encode_length_delimited(&mut bytes).expect("a vector grows as needed");
    }
    bytes
}

fn metric(kind: PageKind, series: &PageSeries) -> Metric {
    let label =
        series.labels.iter().map(|(name, value)| LabelPair { name: Some(name.clone()), value: Some(value.clone()) });
    let mut metric = Metric { label: label.collect(), ..Metric::default() };
    let created = series
        .created_at_ms
        .map(|at_ms| Timestamp { seconds: (at_ms / 1000).cast_signed(), nanos: (at_ms % 1000) as i32 * 1_000_000 });
    match &series.value {
        PageValue::Number(value) if kind == PageKind::Counter => {
            metric.counter = Some(Counter { value: Some(*value), created });
        }
        PageValue::Number(value) => metric.gauge = Some(Gauge { value: Some(*value) }),
        PageValue::Histogram { buckets, count, sum } => {
            let bucket = |(bound, below): &(f64, u64)| Bucket { count: Some(*below), bound: Some(*bound) };
            // The bucket up to +Inf is implied, unless it is the only one: a histogram without any bucket is taken for
            // a native one.
            let mut bucket: Vec<_> = buckets.iter().map(bucket).collect();
            if bucket.is_empty() {
                bucket.push(Bucket { count: Some(*count), bound: Some(f64::INFINITY) });
            }
            metric.histogram = Some(Histogram { count: Some(*count), sum: Some(*sum), bucket, created });
        }
    }
    metric
}

#[derive(Clone, PartialEq, Message)]
struct MetricFamily {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(string, optional, tag = "2")]
    help: Option<String>,
    #[prost(int32, optional, tag = "3")]
    kind: Option<i32>,
    #[prost(message, repeated, tag = "4")]
    metric: Vec<Metric>,
}

#[derive(Clone, PartialEq, Message)]
struct Metric {
    #[prost(message, repeated, tag = "1")]
    label: Vec<LabelPair>,
    #[prost(message, optional, tag = "2")]
    gauge: Option<Gauge>,
    #[prost(message, optional, tag = "3")]
    counter: Option<Counter>,
    #[prost(message, optional, tag = "7")]
    histogram: Option<Histogram>,
}

#[derive(Clone, PartialEq, Message)]
struct LabelPair {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(string, optional, tag = "2")]
    value: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Gauge {
    #[prost(double, optional, tag = "1")]
    value: Option<f64>,
}

#[derive(Clone, PartialEq, Message)]
struct Counter {
    #[prost(double, optional, tag = "1")]
    value: Option<f64>,
    #[prost(message, optional, tag = "3")]
    created: Option<Timestamp>,
}

#[derive(Clone, PartialEq, Message)]
struct Histogram {
    #[prost(uint64, optional, tag = "1")]
    count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    sum: Option<f64>,
    #[prost(message, repeated, tag = "3")]
    bucket: Vec<Bucket>,
    #[prost(message, optional, tag = "15")]
    created: Option<Timestamp>,
}

#[derive(Clone, PartialEq, Message)]
struct Bucket {
    #[prost(uint64, optional, tag = "1")]
    count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    bound: Option<f64>,
}

/// `google.protobuf.Timestamp`.
#[derive(Clone, PartialEq, Message)]
struct Timestamp {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}
