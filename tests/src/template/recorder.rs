//! A proxy between a function and the services that records each call and its resource.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use hyper::{Request, Response};
use serde_json::Value;

use crate::kit::http_server::HttpServer;
use crate::template::permissions::{BY_KEY, Permission};

/// A running proxy. Each function needs its own, so that every recorded call is that function's.
#[derive(Debug)]
pub struct Recorder {
    server: HttpServer,
    calls: Arc<Mutex<BTreeSet<Permission>>>,
}

impl Recorder {
    /// Starts a proxy that passes calls on to the services at these URLs. `name` translates the name of a table or
    /// secret into its logical name in the template.
    pub async fn start(
        dynamodb_url: &str,
        secrets_manager_url: &str,
        name: fn(&str) -> Option<&'static str>,
    ) -> Result<Self> {
        let calls = Arc::new(Mutex::new(BTreeSet::new()));
        let (noted, urls) = (Arc::clone(&calls), [dynamodb_url.to_owned(), secrets_manager_url.to_owned()]);
        let http = reqwest::Client::builder().no_proxy().build()?;
        let server = HttpServer::answering(move |request| {
            let (noted, [dynamodb_url, secrets_manager_url], http) = (Arc::clone(&noted), urls.clone(), http.clone());
            async move {
                let call = call(&request, name)?;
                let url = if call.action.starts_with("dynamodb:") { dynamodb_url } else { secrets_manager_url };
                noted.lock().unwrap_or_else(PoisonError::into_inner).insert(call);
                pass_on(&http, &url, request).await
            }
        })
        .await?;
        Ok(Self { server, calls })
    }

    /// Returns the URL to which the function must send its calls.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Returns the permissions that the calls so far needed.
    pub fn calls(&self) -> BTreeSet<Permission> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Returns the permission that a call needs. An unknown kind of call is an error, and makes the function's request
/// fail.
fn call(request: &Request<Bytes>, name: fn(&str) -> Option<&'static str>) -> Result<Permission> {
    let target = request.headers().get("x-amz-target").context("there is no X-Amz-Target")?.to_str()?;
    let input: Value = serde_json::from_slice(request.body())?;
    let text = |member: &str| input[member].as_str();
    let (service, resource) = match target.split_once('.') {
        Some(("DynamoDB_20120810", _)) => ("dynamodb", text("TableName")),
        Some(("secretsmanager", _)) => ("secretsmanager", text("SecretId")),
        _ => bail!("{target} is of no service that is known here"),
    };
    let resource = resource.with_context(|| format!("{target} names no single resource"))?;
    let resource = name(resource).with_context(|| format!("{target} is on {resource}, which the template has not"))?;
    let resource = match text("IndexName") {
        Some(index) => format!("{resource}/index/{index}"),
        None if BY_KEY.contains(&resource) => format!("{resource}/{}", kind_of_key(&input)?),
        None => resource.to_owned(),
    };
    let operation = target.rsplit('.').next().unwrap_or_default();
    Ok(Permission { action: format!("{service}:{operation}"), resource })
}

/// Returns the kind of a call's partition key: `shard#*` for `shard#3`.
fn kind_of_key(input: &Value) -> Result<String> {
    // The key is that of the item to put, that of the call's key, or the first value in a query's condition.
    let placeholder = input["KeyConditionExpression"].as_str().and_then(|condition| condition.strip_prefix("pk = "));
    let placeholder = placeholder.and_then(|rest| rest.split(' ').next()).unwrap_or_default();
    let values = [&input["Item"]["pk"], &input["Key"]["pk"], &input["ExpressionAttributeValues"][placeholder]];
    let key = values.iter().find_map(|value| value["S"].as_str());
    let key = key.with_context(|| format!("no partition key is in {input}"))?;
    Ok(key.split_once('#').map_or(key.to_owned(), |(kind, _)| format!("{kind}#*")))
}

async fn pass_on(http: &reqwest::Client, url: &str, request: Request<Bytes>) -> Result<Response<Bytes>> {
    let (head, body) = request.into_parts();
    let mut headers = head.headers;
    headers.remove("host");
    let response = http.request(head.method, url).headers(headers).body(body).send().await?;
    let mut passed = Response::builder().status(response.status());
    for (name, value) in response.headers() {
        // The server sets the length of the body by itself.
        if name != "transfer-encoding" && name != "content-length" && name != "connection" {
            passed = passed.header(name, value);
        }
    }
    Ok(passed.body(response.bytes().await?)?)
}
