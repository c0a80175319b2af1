//! Calls the bundle by its HTTP contract.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::kit::exposition::Exposition;

/// Longer than any function may take, so that a request that hangs can be told from a slow one.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A client of one bundle. Clones share their connections.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    url: String,
    token: String,
}

/// A response.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body; null where it is not JSON.
    pub body: Value,
    /// The body as text, unchanged.
    pub text: String,
}

impl Answer {
    /// Returns the answer if it has this status, otherwise an error that shows the answer.
    pub fn expect(self, status: u16) -> Result<Self> {
        ensure!(self.status == status, "{status} was expected, not {}: {}", self.status, self.text);
        Ok(self)
    }

    /// Returns the text at a JSON pointer into the body.
    pub fn text_at(&self, pointer: &str) -> Result<&str> {
        let value = self.body.pointer(pointer).and_then(Value::as_str);
        value.with_context(|| format!("there is no text at {pointer} in {}", self.text))
    }

    /// Returns a header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// A sigil that was encoded.
#[derive(Debug, Clone)]
pub struct Sigil {
    /// The sigil's id.
    pub id: String,
    /// The sigil's token.
    pub token: String,
}

impl Client {
    /// Creates a client of the bundle at `url`, which scrapes with `token`.
    pub fn new(url: &str, token: &str) -> Result<Self> {
        let http = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build()?;
        Ok(Self { http, url: url.to_owned(), token: token.to_owned() })
    }

    /// Returns the bundle's URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the token with which the client scrapes.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Encodes `data`. Fails unless the answer is 201.
    pub async fn encode(&self, data: &Value) -> Result<Sigil> {
        let answer = self.post_sigils(json!({ "data": data }).to_string()).await?.expect(201)?;
        Ok(Sigil { id: answer.text_at("/sigil/id")?.to_owned(), token: answer.text_at("/sigil/token")?.to_owned() })
    }

    /// Posts `body`, which may be any text, to the route that encodes sigils.
    pub async fn post_sigils(&self, body: String) -> Result<Answer> {
        let request = self.request(Method::POST, "/api/consciousness/sigils");
        send(request.header("content-type", "application/json").body(body)).await
    }

    /// Verifies a token, also against `data` if there is any, and returns the verdict.
    pub async fn verdict(&self, token: &str, data: Option<&Value>) -> Result<String> {
        let answer = self.verify(token, data).await?.expect(200)?;
        Ok(answer.text_at("/verdict")?.to_owned())
    }

    /// Verifies a token, also against `data` if there is any.
    pub async fn verify(&self, token: &str, data: Option<&Value>) -> Result<Answer> {
        let body = match data {
            Some(data) => json!({ "token": token, "data": data }),
            None => json!({ "token": token }),
        };
        send(self.request(Method::POST, "/api/consciousness/sigils/verify").json(&body)).await
    }

    /// Gets a sigil's record.
    pub async fn get(&self, id: &str) -> Result<Answer> {
        send(self.request(Method::GET, &format!("/api/consciousness/sigils/{id}"))).await
    }

    /// Revokes a sigil.
    pub async fn revoke(&self, id: &str) -> Result<Answer> {
        send(self.request(Method::DELETE, &format!("/api/consciousness/sigils/{id}"))).await
    }

    /// Gets the public keys.
    pub async fn jwks(&self) -> Result<Answer> {
        send(self.request(Method::GET, "/.well-known/jwks.json")).await
    }

    /// Runs gc once and returns its summary.
    pub async fn gc(&self) -> Result<Value> {
        let answer = send(self.request(Method::POST, "/2015-03-31/functions/gc/invocations").body("{}")).await?;
        Ok(answer.expect(200)?.body)
    }

    /// Starts gc without a run: gc refuses an event that is not JSON, and publishes its metrics, every counter at 0.
    pub async fn wake_gc(&self) -> Result<()> {
        let request = self.request(Method::POST, "/2015-03-31/functions/gc/invocations").body("not JSON");
        send(request).await?.expect(500)?;
        Ok(())
    }

    /// Scrapes with this token, or with none.
    pub async fn get_metrics(&self, token: Option<&str>) -> Result<Answer> {
        let request = self.request(Method::GET, "/metrics");
        send(token.into_iter().fold(request, RequestBuilder::bearer_auth)).await
    }

    /// Scrapes with the right token, and sends `accept` as the format that is asked for.
    pub async fn get_metrics_as(&self, accept: &str) -> Result<Answer> {
        send(self.request(Method::GET, "/metrics").bearer_auth(&self.token).header("accept", accept)).await
    }

    /// Scrapes with the right token.
    pub async fn metrics(&self) -> Result<Exposition> {
        Exposition::parse(&self.get_metrics(Some(&self.token)).await?.expect(200)?.text)
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }
}

async fn send(request: RequestBuilder) -> Result<Answer> {
    let response = request.send().await?;
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await?;
    Ok(Answer { status, headers, body: serde_json::from_str(&text).unwrap_or(Value::Null), text })
}
