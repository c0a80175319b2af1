//! The three functions of a stack, each in one call: the one that publishes, the one that is scraped, and the one that compacts.
//!
//! ```text
//! run ─▶ settings, client ─▶ publisher ─layer─▶ Lambda's runtime ◀─ handler
//!
//! run_scraper ─▶ event ─▶ access ─▶ scraper ─▶ response
//! ```

mod access;
mod client;
mod compactor;
mod scraper;

pub use compactor::run_compactor;
pub use scraper::run_scraper;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Instant;

use lambda_runtime::layers::TracingLayer;
use lambda_runtime::{Diagnostic, Error, IntoFunctionResponse, LambdaEvent, Runtime};
use tower::Service;

use crate::publish::gather::Sources;
use crate::publish::process;
use crate::publish::publisher::Publisher;
use crate::settings::WriterSettings;
use crate::table::DynamoDbStatsTable;

/// Runs a function whose metrics are published: after each response as the pace allows, shortly before a request's deadline, and
/// a last time on SIGTERM.
///
/// It reads [`WriterSettings::from_env`], and makes a client of DynamoDB that gives a publish a second at most. As many
/// requests run at once as `AWS_LAMBDA_MAX_CONCURRENCY` says, which Lambda sets on managed instances. Log events have the
/// span of their request, as with [`lambda_runtime::run`]. Set up a subscriber first: without one, nothing reports a table
/// that is missing.
///
/// ```no_run
/// use lambda_runtime::{Error, LambdaEvent, service_fn};
/// use prometheus_dynamodb::prometheus::{IntCounter, Registry};
///
/// #[tokio::main]
/// async fn main() -> Result<(), Error> {
///     lambda_runtime::tracing::init_default_subscriber();
///     let orders = IntCounter::new("orders_total", "Orders that were taken.")?;
///     let registry = Registry::new();
///     registry.register(Box::new(orders.clone()))?;
///
///     let handler = service_fn(move |_order: LambdaEvent<serde_json::Value>| {
///         orders.inc();
///         async { Ok::<_, Error>("taken") }
///     });
///     prometheus_dynamodb::run(handler, registry).await
/// }
/// ```
///
/// # Errors
///
/// If settings are wrong, all of them at once; if a gauge of [`Sources::gauge`] is not registered; and when the Runtime API
/// fails. A publish that fails is logged and counted, and is no error.
///
/// # Panics
///
/// Outside of Lambda, as [`lambda_runtime::run_concurrent`] does.
pub async fn run<F, A, R, B, S, D, E>(handler: F, sources: impl Into<Sources>) -> Result<(), Error>
where
    F: Service<LambdaEvent<A>, Response = R> + Clone + Send + 'static,
    F::Future: Future<Output = Result<R, F::Error>> + Send + 'static,
    F::Error: Into<Diagnostic> + Debug,
    A: for<'de> serde::Deserialize<'de> + Send + 'static,
    R: IntoFunctionResponse<B, S> + Send + 'static,
    B: serde::Serialize + Send + 'static,
    S: futures::Stream<Item = Result<D, E>> + Unpin + Send + 'static,
    D: Into<bytes::Bytes> + Send + 'static,
    E: Into<Error> + Send + Debug + 'static,
{
    let publisher = publisher(sources.into()).await?;
    Runtime::new(handler)
        .register_snapstart_resource(Arc::new(publisher.clone()))
        .layer(TracingLayer::new())
        .layer(publisher.layer())
        .run_concurrent()
        .await
}

/// Creates a publisher with the settings in the environment's variables, which publishes a last time on SIGTERM.
async fn publisher(sources: Sources) -> Result<Publisher, Error> {
    // On systems that do not tell how long a process has run, the time before this call is left out.
    let started_at = process::age().and_then(|age| Instant::now().checked_sub(age)).unwrap_or_else(Instant::now);
    let settings = WriterSettings::from_env()?;
    let table = DynamoDbStatsTable::new(client::for_publishing().await, settings.table());
    let publisher = Publisher::new(table, sources, settings, started_at)?;
    let closing = publisher.clone();
    // Lambda sends SIGTERM only to environments in which an extension is registered; this registers an empty one.
    lambda_runtime::spawn_graceful_shutdown_handler(move || async move { closing.close().await }).await;
    Ok(publisher)
}
