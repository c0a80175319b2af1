//! Emulates the Lambda Runtime API for one execution environment.
//!
//! The emulator answers each request for an event with one event, and counts what it receives. Its counts are the ground
//! truth of what a function did: a function does its work, and counts it, before it sends the response. AWS's
//! documentation describes the interface under "Using the Lambda runtime API for custom runtimes" and "Using the Lambda
//! Extensions API to create extensions".

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::Either;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::kit::http_server::{Answer, HangUp, HttpServer};
use crate::kit::under_way::UnderWay;

/// Default time-out of an invocation: the longest that template.yaml gives to a function.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The end of the invocation, as events state it.
#[derive(Debug, Clone, Copy)]
pub enum Deadline {
    /// This long after the event was handed out.
    After(Duration),
    /// In 1970, as emulators without time-outs state it.
    LongPast,
}

/// The Runtime API of one environment. Dropping it closes its connections.
#[derive(Debug)]
pub struct RuntimeApi {
    server: HttpServer,
    shared: Arc<Shared>,
    events: mpsc::UnboundedSender<Event>,
}

/// Counts of what an environment did, as far as the Runtime API sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Events that were handed out.
    pub delivered: u64,
    /// Responses that were received, errors among them.
    pub responses: u64,
    /// Number of responses by HTTP status.
    pub statuses: BTreeMap<u16, u64>,
}

/// The outcome of an event.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The function's response.
    Response(Value),
    /// The error that the function reported.
    Error(Value),
}

#[derive(Debug)]
struct Shared {
    events: tokio::sync::Mutex<mpsc::UnboundedReceiver<Event>>,
    /// Number of requests for an event that wait for one.
    waiting: watch::Sender<u32>,
    /// Number of posts that are received.
    receiving: watch::Sender<u32>,
    record: Mutex<Record>,
}

#[derive(Debug)]
struct Record {
    deadline: Deadline,
    tally: Tally,
    /// Invokers that wait for a response, by request id.
    invokers: BTreeMap<String, oneshot::Sender<Outcome>>,
    init_error: Option<String>,
}

#[derive(Debug)]
struct Event {
    payload: String,
    invoker: oneshot::Sender<Outcome>,
}

impl RuntimeApi {
    /// Starts an emulator on a free port. `function` is the name in the events' ARN.
    pub async fn start(function: &str) -> Result<Self> {
        let (events, receiver) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            events: tokio::sync::Mutex::new(receiver),
            waiting: watch::Sender::new(0),
            receiving: watch::Sender::new(0),
            record: Mutex::new(Record {
                deadline: Deadline::After(TIMEOUT),
                tally: Tally::default(),
                invokers: BTreeMap::new(),
                init_error: None,
            }),
        });
        let (handling, arn) =
            (Arc::clone(&shared), format!("arn:aws:lambda:us-east-1:123456789012:function:{function}"));
        let server = HttpServer::start(move |request| {
            let (shared, arn) = (Arc::clone(&handling), arn.clone());
            if request.method() == Method::POST {
                // The server drops what it handles once the client has gone. An environment that died right after a
                // response has sent it all the same, so the response is received in a task of its own.
                let receiving = UnderWay::new(&shared.receiving);
                let received = tokio::spawn(async move {
                    let _receiving = receiving;
                    shared.handle(&arn, request).await
                });
                Either::Left(received.map(|answer| answer.unwrap_or(Err(HangUp))))
            } else {
                Either::Right(async move { shared.handle(&arn, request).await })
            }
        })
        .await?;
        Ok(Self { server, shared, events })
    }

    /// Returns the emulator's address: the value for `AWS_LAMBDA_RUNTIME_API`.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Returns the counts so far.
    pub fn tally(&self) -> Tally {
        self.shared.record().tally.clone()
    }

    /// Sets the deadline that events state from now on. The emulator does not enforce it.
    pub fn set_deadline(&self, deadline: Deadline) {
        self.shared.record().deadline = deadline;
    }

    /// Waits until the environment asks for an event: it has started, or has finished everything that it does after a
    /// response. From then on Lambda may freeze it.
    pub async fn asks_for_event(&self) {
        self.asks_for_events(1).await;
    }

    /// Waits until the environment asks for this many events at once.
    pub async fn asks_for_events(&self, events: u32) {
        // The sender lives in this emulator, so waiting cannot fail.
        let _ = self.shared.waiting.subscribe().wait_for(|waiting| *waiting >= events).await;
    }

    /// Hands out the event once the environment asks for one, and waits for the outcome. Lambda gives an environment
    /// one event at a time, or as many as it is to handle at once; the caller must keep to that.
    pub async fn invoke(&self, payload: &Value) -> Result<Outcome> {
        let (invoker, outcome) = oneshot::channel();
        let event = Event { payload: payload.to_string(), invoker };
        self.events.send(event).ok().context("the Runtime API has ended")?;
        outcome.await.context("the environment ended without a response")
    }

    /// Invokes the environment `times` times, `at_once` at a time. Fails unless every outcome is a response.
    pub async fn invoke_all(self: &Arc<Self>, payload: &Value, times: u32, at_once: u32) -> Result<()> {
        let mut callers = JoinSet::new();
        for caller in 0..at_once {
            let (api, payload) = (Arc::clone(self), payload.clone());
            let share = times / at_once + u32::from(caller < times % at_once);
            callers.spawn(async move {
                for _ in 0..share {
                    let outcome = api.invoke(&payload).await?;
                    ensure!(matches!(&outcome, Outcome::Response(_)), "{outcome:?}");
                }
                anyhow::Ok(())
            });
        }
        while let Some(caller) = callers.join_next().await {
            caller??;
        }
        Ok(())
    }

    /// Waits until everything is received that the environment, which has ended, had sent. Invokers that still wait for
    /// a response then get an error.
    pub async fn drain(&self) {
        self.server.all_closed().await;
        // The sender lives in this emulator, so waiting cannot fail.
        let _ = self.shared.receiving.subscribe().wait_for(|posts| *posts == 0).await;
        self.shared.record().invokers.clear();
        let mut events = self.shared.events.lock().await;
        while events.try_recv().is_ok() {}
    }

    /// Returns an error if the environment reported that it cannot start.
    pub fn ensure_initialised(&self) -> Result<()> {
        match &self.shared.record().init_error {
            None => Ok(()),
            Some(error) => bail!("the function cannot start: {error}"),
        }
    }
}

impl Shared {
    async fn handle(&self, arn: &str, request: Request<Incoming>) -> Answer {
        let path = request.uri().path().to_owned();
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        let answered = match (request.method(), segments.as_slice()) {
            (&Method::GET, ["2018-06-01", "runtime", "invocation", "next"]) => Ok(self.next(arn).await),
            (&Method::POST, ["2018-06-01", "runtime", "invocation", id, "response"]) => {
                self.received(id, Outcome::Response, request).await
            }
            (&Method::POST, ["2018-06-01", "runtime", "invocation", id, "error"]) => {
                self.received(id, Outcome::Error, request).await
            }
            // Answers as if Lambda had taken the image and restored it at once, in the same process.
            (&Method::GET, ["2018-06-01", "runtime", "restore", "next"]) => Ok(answer(200, "")),
            (&Method::POST, ["2018-06-01", "runtime", "init", "error"]) => self.init_error(request).await,
            (&Method::POST, ["2020-01-01", "extension", "register"]) => Ok(registered()),
            // No extension here subscribes to events, so none ever comes.
            (&Method::GET, ["2020-01-01", "extension", "event", "next"]) => std::future::pending().await,
            (method, _) => Ok(answer(404, format!("the Runtime API has no {method} {path}"))),
        };
        answered.map_err(|_: anyhow::Error| HangUp)
    }

    async fn next(&self, arn: &str) -> Response<Full<Bytes>> {
        let waiting = UnderWay::new(&self.waiting);
        let event = self.events.lock().await.recv().await;
        drop(waiting);
        let Some(event) = event else { return answer(500, "there will be no further event") };
        let (id, deadline) = {
            let mut record = self.record();
            record.tally.delivered += 1;
            let id = format!("00000000-0000-4000-8000-{:012}", record.tally.delivered);
            record.invokers.insert(id.clone(), event.invoker);
            let deadline = match record.deadline {
                Deadline::After(time) => SystemTime::now() + time,
                Deadline::LongPast => UNIX_EPOCH + TIMEOUT,
            };
            (id, deadline)
        };
        let deadline_ms = deadline.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let mut response = answer(200, event.payload);
        let headers = [
            ("lambda-runtime-aws-request-id", id),
            ("lambda-runtime-deadline-ms", deadline_ms.to_string()),
            ("lambda-runtime-invoked-function-arn", arn.to_owned()),
            ("lambda-runtime-trace-id", "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0".to_owned()),
        ];
        for (name, value) in headers {
            response.headers_mut().insert(name, value.parse().expect("these are plain ASCII"));
        }
        response
    }

    async fn received(
        &self,
        id: &str,
        outcome: impl FnOnce(Value) -> Outcome,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>> {
        let body = request.into_body().collect().await?.to_bytes();
        let payload: Value = serde_json::from_slice(&body).context("what a function responds is JSON")?;
        let mut record = self.record();
        let invoker = record.invokers.remove(id);
        ensure!(invoker.is_some(), "a response to no event: {id}");
        record.tally.responses += 1;
        if let Some(status) = payload["statusCode"].as_u64().and_then(|status| u16::try_from(status).ok()) {
            *record.tally.statuses.entry(status).or_default() += 1;
        }
        // The invoker may have given up waiting.
        let _ = invoker.map(|invoker| invoker.send(outcome(payload)));
        Ok(answer(202, "{}"))
    }

    async fn init_error(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>> {
        let body = request.into_body().collect().await?.to_bytes();
        self.record().init_error = Some(String::from_utf8_lossy(&body).into_owned());
        Ok(answer(202, "{}"))
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().expect("no one panics while holding the lock")
    }
}

/// Returns the answer to the registration of an extension. lambda_runtime registers one inside the process, since
/// Lambda sends SIGTERM only to environments with an extension.
fn registered() -> Response<Full<Bytes>> {
    let mut response = answer(200, r#"{"functionName":"f","functionVersion":"$LATEST","handler":"bootstrap"}"#);
    let id = "00000000-0000-4000-8000-000000000000".parse().expect("this is plain ASCII");
    response.headers_mut().insert("lambda-extension-identifier", id);
    response
}

fn answer(status: u16, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status.try_into().expect("these are statuses");
    response
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    const NEXT: &str = "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nhost: a\r\n\r\n";

    /// Takes an event, and returns the request that responds to it.
    async fn next(connection: &mut TcpStream) -> String {
        connection.write_all(NEXT.as_bytes()).await.unwrap();
        let mut received = String::new();
        while !received.ends_with("null") {
            let mut bytes = [0; 4096];
            let length = connection.read(&mut bytes).await.unwrap();
            received += std::str::from_utf8(&bytes[..length]).unwrap();
        }
        let id = received.split_once("request-id: ").and_then(|(_, rest)| rest.split_once("\r\n")).unwrap().0;
        let head = format!("POST /2018-06-01/runtime/invocation/{id}/response HTTP/1.1\r\nhost: a\r\n");
        let body = r#"{"statusCode": 200}"#;
        format!("{head}content-length: {}\r\n\r\n{body}", body.len())
    }

    /// Writing with the standard library blocks this thread, and with it the emulator: the environment has ended before
    /// anything of it is received.
    #[tokio::test]
    async fn a_response_counts_though_the_environment_died_right_after_it_had_sent_it() {
        let api = Arc::new(RuntimeApi::start("f").await.unwrap());
        for (round, by_new_connection) in [true, false].into_iter().cycle().take(20).enumerate() {
            let invoking = Arc::clone(&api);
            let invocation = tokio::spawn(async move { invoking.invoke(&Value::Null).await });
            let mut connection = TcpStream::connect(api.address()).await.unwrap();
            let response = next(&mut connection).await;
            let mut old = connection.into_std().unwrap();
            if by_new_connection {
                std::net::TcpStream::connect(api.address()).unwrap().write_all(response.as_bytes()).unwrap();
            } else {
                old.write_all(response.as_bytes()).unwrap();
            }
            drop(old);
            api.drain().await;
            assert_eq!(api.tally().responses, round as u64 + 1, "by a new connection: {by_new_connection}");
            assert!(invocation.await.unwrap().is_ok());
        }
    }
}
