//! A proxy in front of DynamoDB Local that has the capacity of each call reported, and adds it up.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use bytes::Bytes;
use hyper::{Request, Response};
use serde_json::Value;

use crate::kit::http_server::HttpServer;

/// A running proxy.
#[derive(Debug)]
pub(super) struct CapacityMeter {
    server: HttpServer,
    used: Arc<Mutex<Used>>,
}

/// Usage by table and operation.
type Used = BTreeMap<(String, String), Usage>;

/// The usage of calls.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Usage {
    /// Number of calls.
    pub calls: u64,
    /// Read or write units, whichever the operation consumes.
    pub units: f64,
}

impl Usage {
    /// Returns the units of one call, as the mean over the calls since `before`.
    pub(super) fn units_per_call_since(self, before: Self) -> f64 {
        (self.units - before.units) / (self.calls - before.calls) as f64
    }
}

impl CapacityMeter {
    /// Starts a proxy in front of the database at this URL.
    pub(super) async fn start(dynamodb_url: &str) -> Result<Self> {
        let used = Arc::<Mutex<Used>>::default();
        let (noted, url) = (Arc::clone(&used), dynamodb_url.to_owned());
        let http = reqwest::Client::builder().no_proxy().build()?;
        let server = HttpServer::answering(move |request| {
            let (noted, url, http) = (Arc::clone(&noted), url.clone(), http.clone());
            async move { pass_on(&http, &url, request, &noted).await }
        });
        Ok(Self { server: server.await?, used })
    }

    /// Returns the URL to which the function must send its calls.
    pub(super) fn url(&self) -> String {
        self.server.url()
    }

    /// Returns what the calls of an operation on a table have used so far.
    pub(super) fn used(&self, table: &str, operation: &str) -> Usage {
        lock(&self.used).get(&(table.to_owned(), operation.to_owned())).copied().unwrap_or_default()
    }
}

fn lock(used: &Mutex<Used>) -> MutexGuard<'_, Used> {
    used.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn pass_on(
    http: &reqwest::Client,
    url: &str,
    request: Request<Bytes>,
    used: &Mutex<Used>,
) -> Result<Response<Bytes>> {
    let (head, body) = request.into_parts();
    let target = head.headers.get("x-amz-target").context("there is no X-Amz-Target")?.to_str()?;
    let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
    let mut input: Value = serde_json::from_slice(&body)?;
    let table = input["TableName"].as_str().context("a call is on a table")?.to_owned();
    // The signature no longer matches the body, but DynamoDB Local does not check it.
    input["ReturnConsumedCapacity"] = "TOTAL".into();
    let mut headers = head.headers;
    for name in ["host", "content-length"] {
        headers.remove(name);
    }
    let response = http.request(head.method, url).headers(headers).body(input.to_string()).send().await?;
    let status = response.status();
    let content_type = response.headers().get("content-type").cloned();
    let body = response.bytes().await?;
    let output: Value = serde_json::from_slice(&body)?;
    {
        let mut used = lock(used);
        let usage = used.entry((table, operation)).or_default();
        usage.calls += 1;
        usage.units += output["ConsumedCapacity"]["CapacityUnits"].as_f64().unwrap_or_default();
    }
    let mut passed = Response::builder().status(status);
    if let Some(content_type) = content_type {
        passed = passed.header("content-type", content_type);
    }
    Ok(passed.body(body)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn units_are_asked_for_and_added_up() {
        let database = HttpServer::answering(async |request: Request<Bytes>| {
            let input: Value = serde_json::from_slice(request.body())?;
            anyhow::ensure!(input["ReturnConsumedCapacity"] == "TOTAL", "{input}");
            Ok(Response::new(Bytes::from(r#"{"ConsumedCapacity":{"CapacityUnits":1.5}}"#)))
        });
        let database = database.await.unwrap();
        let meter = CapacityMeter::start(&database.url()).await.unwrap();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        for (table, operation) in [("stats", "Query"), ("stats", "Query"), ("sigils", "Query"), ("stats", "GetItem")] {
            let call = http.post(meter.url()).header("x-amz-target", format!("DynamoDB_20120810.{operation}"));
            let answer = call.body(format!(r#"{{"TableName":"{table}"}}"#)).send().await.unwrap();
            assert_eq!(answer.status(), 200);
        }
        let used = meter.used("stats", "Query");
        assert_eq!(used.units_per_call_since(Usage::default()), 1.5);
        assert_eq!(used.units_per_call_since(Usage { calls: 1, units: 2.5 }), 0.5, "the first call took more");
        assert_eq!((used.calls, used.units), (2, 3.0));
        assert_eq!(meter.used("stats", "PutItem").calls, 0);
    }
}
