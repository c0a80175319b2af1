//! A DynamoDB that can be made slow or made to fail, for as long as an incident lasts: a proxy before DynamoDB Local.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use hyper::header::{CONTENT_LENGTH, HOST};
use hyper::{Request, Response};
use serde_json::Value;

use crate::kit::http_server::HttpServer;

/// What is wrong with a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// The table's name.
    pub table: &'static str,
    /// The calls that it befalls, by the API's names.
    pub calls: &'static [&'static str],
    /// What becomes of them.
    pub effect: Effect,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Effect {
    /// It is answered rightly, but so much later.
    Slow(Duration),
    /// It is refused because too much is asked.
    Throttled,
    /// It is answered with an internal error.
    Failing,
}

/// A running proxy. Dropping it closes its port.
#[derive(Debug)]
pub struct FaultyDynamoDb {
    faults: Arc<Mutex<Vec<Fault>>>,
    server: HttpServer,
}

impl FaultyDynamoDb {
    /// Starts it before the DynamoDB at `url`, which need not run yet.
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

    /// What `AWS_ENDPOINT_URL_DYNAMODB` must be.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// From now on, this is wrong and nothing else.
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
