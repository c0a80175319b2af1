//! A proxy in front of DynamoDB Local that can make it slow or make it fail, for as long as an incident lasts.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use hyper::header::{CONTENT_LENGTH, HOST};
use hyper::{Request, Response};
use serde_json::Value;

use crate::kit::http_server::HttpServer;

/// A fault of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// The table's name.
    pub table: &'static str,
    /// Calls that meet the fault, by their names in the API.
    pub calls: &'static [&'static str],
    /// Effect on these calls.
    pub effect: Effect,
}

/// The effect of a fault on a call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Effect {
    /// The call is answered correctly, but with this delay.
    Slow(Duration),
    /// The call is throttled.
    Throttled,
    /// The call is answered with an internal error.
    Failing,
}

/// A running proxy. Dropping it closes its port.
#[derive(Debug)]
pub struct FaultyDynamoDb {
    faults: Arc<Mutex<Vec<Fault>>>,
    server: HttpServer,
}

impl FaultyDynamoDb {
    /// Starts a proxy in front of the DynamoDB at `url`, which need not run yet.
    pub async fn start(url: String) -> Result<Self> {
        let faults: Arc<Mutex<Vec<Fault>>> = Arc::default();
        let (shared, http) = (Arc::clone(&faults), reqwest::Client::builder().no_proxy().build()?);
        let server = HttpServer::answering(move |request| {
            let (shared, http, url) = (Arc::clone(&shared), http.clone(), url.clone());
            async move {
                let effect = effect_on(&request, &shared.lock().expect("no one panics while holding the lock"))?;
                match effect {
                    Some(Effect::Throttled) => return error(400, "ProvisionedThroughputExceededException"),
                    Some(Effect::Failing) => return error(500, "InternalServerError"),
                    Some(Effect::Slow(delay)) => tokio::time::sleep(delay).await,
                    None => {}
                }
                forward(request, &http, &url).await
            }
        })
        .await?;
        Ok(Self { faults, server })
    }

    /// Returns the value for `AWS_ENDPOINT_URL_DYNAMODB`.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Replaces all faults by these from now on.
    pub fn set(&self, faults: &[Fault]) {
        *self.faults.lock().expect("no one panics while holding the lock") = faults.to_vec();
    }
}

fn effect_on(request: &Request<Bytes>, faults: &[Fault]) -> Result<Option<Effect>> {
    let target = request.headers().get("x-amz-target").context("no call is named")?.to_str()?;
    let call = target.rsplit('.').next().unwrap_or_default();
    let body: Value = serde_json::from_slice(request.body())?;
    let mut effects = faults.iter().filter(|fault| body["TableName"] == fault.table && fault.calls.contains(&call));
    Ok(effects.next().map(|fault| fault.effect))
}

async fn forward(request: Request<Bytes>, http: &reqwest::Client, url: &str) -> Result<Response<Bytes>> {
    let (mut head, body) = request.into_parts();
    head.headers.remove(HOST);
    head.headers.remove(CONTENT_LENGTH);
    let answer = http.post(url).headers(head.headers).body(body).send().await?;
    Ok(Response::builder().status(answer.status()).body(answer.bytes().await?)?)
}

fn error(status: u16, kind: &str) -> Result<Response<Bytes>> {
    let body = format!(r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{kind}","message":"made to fail"}}"#);
    Ok(Response::builder().status(status).body(body.into())?)
}
