//! A function behind an HTTP API or a function URL.

use std::time::{SystemTime, UNIX_EPOCH};

use lambda_http::{Adapter, Error, Request, Response, service_fn};
use prometheus::{Gauge, HistogramOpts, HistogramVec, Registry};
use prometheus_dynamodb::{GaugeMerge, Sources};

#[tokio::main]
async fn main() -> Result<(), Error> {
    lambda_runtime::tracing::init_default_subscriber();
    let options = HistogramOpts::new("http_request_duration_seconds", "Time that requests took, by method.");
    let seconds = HistogramVec::new(options, &["method"])?;
    let last = Gauge::new("last_request_timestamp_seconds", "When the last request was received.")?;
    let registry = Registry::new();
    registry.register(Box::new(seconds.clone()))?;
    registry.register(Box::new(last.clone()))?;
    // Every environment has this gauge; the page shows the latest time of all environments.
    let sources = Sources::new(registry).gauge("last_request_timestamp_seconds", GaugeMerge::Max);

    let handler = service_fn(move |request: Request| {
        let timer = seconds.with_label_values(&[request.method().as_str()]).start_timer();
        last.set(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64());
        async move {
            let response = Response::new(format!("hello from {}\n", request.uri().path()));
            timer.observe_duration();
            Ok::<_, Error>(response)
        }
    });
    prometheus_dynamodb::run(Adapter::from(handler), sources).await
}
