//! A DynamoDB that can be made slow or made to fail: a proxy before DynamoDB Local, which simulates neither.
//!
//! It understands as much of HTTP as the AWS SDK speaks to it: requests with a body of known length, one after another on
//! a connection.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Larger than any request of DynamoDB.
const MAX_BODY: usize = 17 * 1024 * 1024;

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
    url: String,
    accepting: JoinHandle<()>,
}

impl FaultyDynamoDb {
    /// Starts it before the DynamoDB at `url`, which need not run yet.
    pub async fn start(url: String) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let own_url = format!("http://{}", listener.local_addr()?);
        let faults = Arc::new(Mutex::new(Vec::new()));
        let upstream =
            Upstream { http: reqwest::Client::builder().no_proxy().build()?, url, faults: Arc::clone(&faults) };
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let upstream = upstream.clone();
                // A client that hangs up is not this proxy's business: the SDK does so when its time is over.
                tokio::spawn(async move { serve(stream, &upstream).await.ok() });
            }
        });
        Ok(Self { faults, url: own_url, accepting })
    }

    /// What `AWS_ENDPOINT_URL_DYNAMODB` must be.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// From now on, this is wrong and nothing else.
    pub fn set(&self, faults: &[Fault]) {
        *self.faults.lock().expect("no one panics while holding the lock") = faults.to_vec();
    }
}

impl Drop for FaultyDynamoDb {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

#[derive(Clone)]
struct Upstream {
    http: reqwest::Client,
    url: String,
    faults: Arc<Mutex<Vec<Fault>>>,
}

struct Request {
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

async fn serve(stream: TcpStream, upstream: &Upstream) -> Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream).await? {
        let (status, content) = upstream.answer(request).await?;
        let head = format!(
            "HTTP/1.1 {status} \r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\n\r\n",
            content.len()
        );
        stream.write_all(&[head.as_bytes(), &content].concat()).await?;
    }
    Ok(())
}

/// The next request of a connection; `None` at its end.
async fn read(stream: &mut BufReader<TcpStream>) -> Result<Option<Request>> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    ensure!(line.starts_with("POST / "), "not a call of DynamoDB: {line}");
    let mut headers = Vec::new();
    loop {
        line.clear();
        stream.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length").context("the length is missing")?;
    let length: usize = length.1.parse()?;
    ensure!(length <= MAX_BODY, "a body of {length} bytes");
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(Some(Request { headers, body }))
}

impl Upstream {
    async fn answer(&self, request: Request) -> Result<(u16, Vec<u8>)> {
        match self.effect_on(&request)? {
            Some(Effect::Throttled) => return Ok((400, error("ProvisionedThroughputExceededException"))),
            Some(Effect::Failing) => return Ok((500, error("InternalServerError"))),
            Some(Effect::Slow(delay)) => tokio::time::sleep(delay).await,
            None => {}
        }
        let mut forwarded = self.http.post(&self.url).body(request.body);
        for (name, value) in request.headers.iter().filter(|(name, _)| name != "host" && name != "content-length") {
            forwarded = forwarded.header(name, value);
        }
        let response = forwarded.send().await?;
        Ok((response.status().as_u16(), response.bytes().await?.to_vec()))
    }

    fn effect_on(&self, request: &Request) -> Result<Option<Effect>> {
        let target = request.headers.iter().find(|(name, _)| name == "x-amz-target");
        let Some((_, call)) = target.and_then(|(_, target)| target.split_once('.')) else { bail!("no call is named") };
        let body: Value = serde_json::from_slice(&request.body)?;
        let faults = self.faults.lock().expect("no one panics while holding the lock");
        let mut effects = faults.iter().filter(|fault| body["TableName"] == fault.table && fault.calls.contains(&call));
        Ok(effects.next().map(|fault| fault.effect))
    }
}

fn error(kind: &str) -> Vec<u8> {
    format!(r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{kind}","message":"made to fail"}}"#).into_bytes()
}
