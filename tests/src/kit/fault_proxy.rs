//! A proxy in front of DynamoDB Local that does to calls what networks, load and the passing of time do to them.
//!
//! The proxy tells callers apart by their access key ids, as AWS does; DynamoDB Local takes any.

mod call;
mod fault;
mod signature;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use anyhow::Result;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Request, Response};
use tokio::sync::watch;

pub use call::Call;
pub use fault::{Fault, Faults};

use crate::kit::http_server::{Answer, HangUp, HttpServer};
use crate::kit::under_way::UnderWay;

/// Time for which AWS accepts a signed request.
const AWS_SIGNATURE_VALIDITY: Duration = Duration::from_secs(15 * 60);

/// Longer than any call to DynamoDB Local takes on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Length from which a response is cut off, in bytes: more than an entry of an index has, and less than a record.
const CUT_OFF_FROM: usize = 500;

/// An observer of each request that reaches the database, and of each repetition by the proxy.
pub trait Observer: Send + Sync + 'static {
    /// Called when the request is sent: from now on the database may have done it. `number` identifies the request.
    fn sent(&self, number: u64, call: &Call);

    /// Called when the database has answered with this status, or with `None` if it did not answer.
    fn answered(&self, number: u64, call: &Call, status: Option<u16>);
}

/// Observes nothing.
impl Observer for () {
    fn sent(&self, _: u64, _: &Call) {}

    fn answered(&self, _: u64, _: &Call, _: Option<u16>) {}
}

/// Options of a proxy.
#[derive(Debug, Clone)]
pub struct Options {
    /// URL of DynamoDB Local.
    pub target: String,
    /// Seed of the random choice of calls and faults.
    pub seed: u64,
    /// Time after its signing for which a request is accepted. DynamoDB Local accepts a request of any age, but the
    /// protocol's grace relies on the limit. The signing time is in whole seconds, rounded down, so a
    /// request may be refused up to a second too early, but never too late.
    pub signature_validity: Duration,
    /// Set if the proxy removes the condition from every put of a snapshot, to show that a test notices.
    pub blind_puts: bool,
}

/// Counts of what a proxy has seen.
#[derive(Debug, Clone, Default)]
pub struct Traffic {
    /// Calls by caller, operation and table.
    pub calls: BTreeMap<(String, String, String), u64>,
    /// Calls that met a fault, by the fault's name.
    pub faults: BTreeMap<&'static str, u64>,
    /// Requests that were refused because their signature had expired.
    pub expired: u64,
    /// Requests that the database did not answer.
    pub unanswered: u64,
}

impl Traffic {
    /// Returns the number of calls.
    pub fn total(&self) -> u64 {
        self.calls.values().sum()
    }

    /// Returns the number of calls that met a fault.
    pub fn faulty(&self) -> u64 {
        self.faults.values().sum()
    }
}

/// A running proxy.
#[derive(Debug)]
pub struct FaultProxy {
    server: HttpServer,
    shared: Arc<Shared>,
}

struct Shared {
    options: Options,
    http: reqwest::Client,
    observer: Box<dyn Observer>,
    state: Mutex<State>,
    /// Number of requests under way, also those whose caller no longer waits.
    under_way: watch::Sender<u32>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("options", &self.options).finish_non_exhaustive()
    }
}

struct State {
    random: fastrand::Rng,
    faults: Faults,
    outage: Option<(String, Fault)>,
    traffic: Traffic,
    numbers: u64,
}

impl FaultProxy {
    /// Starts a proxy on a free port in front of the DynamoDB at this URL, without faults and as strict as AWS.
    pub async fn before(url: &str) -> Result<Self> {
        let options =
            Options { target: url.to_owned(), seed: 0, signature_validity: AWS_SIGNATURE_VALIDITY, blind_puts: false };
        Self::start(options, ()).await
    }

    /// Starts a proxy with these options on a free port, without faults.
    pub async fn start(options: Options, observer: impl Observer) -> Result<Self> {
        let state = State {
            random: fastrand::Rng::with_seed(options.seed),
            faults: Faults::NONE,
            outage: None,
            traffic: Traffic::default(),
            numbers: 0,
        };
        let shared = Arc::new(Shared {
            options,
            http: reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build()?,
            observer: Box::new(observer),
            state: Mutex::new(state),
            under_way: watch::Sender::new(0),
        });
        let handling = Arc::clone(&shared);
        let server = HttpServer::start(move |request| Arc::clone(&handling).handle(request)).await?;
        Ok(Self { server, shared })
    }

    /// Returns the URL of the proxy.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Lets calls meet these faults from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.shared.state().faults = faults;
    }

    /// Lets every call to `table` meet this fault from now on, or none if `fault` is `None`.
    pub fn set_outage(&self, table: &str, fault: Option<Fault>) {
        self.shared.state().outage = fault.map(|fault| (table.to_owned(), fault));
    }

    /// Returns the counts so far.
    pub fn traffic(&self) -> Traffic {
        self.shared.state().traffic.clone()
    }

    /// Waits until no request is under way, including those that are delayed or are to be repeated.
    pub async fn quiet(&self) {
        // The sender lives in this proxy, so waiting cannot fail.
        let _ = self.shared.under_way.subscribe().wait_for(|requests| *requests == 0).await;
    }
}

impl Shared {
    async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        // A caller that ended in the middle of a request never made it.
        let body = body.collect().await.map_err(|_| HangUp)?.to_bytes();
        // The request runs in its own task: once it has reached the network it arrives, whether or not the caller still
        // waits.
        tokio::spawn(self.serve(head, body)).await.map_err(|_| HangUp)?
    }

    async fn serve(self: Arc<Self>, head: Parts, body: Bytes) -> Answer {
        let _under_way = UnderWay::new(&self.under_way);
        let call = Call::read(&head.headers, &body);
        let fault = self.next_fault(&call);
        self.undergo(fault, head, body, call).await
    }

    /// Applies a fault to the call.
    async fn undergo(self: Arc<Self>, fault: Option<Fault>, head: Parts, body: Bytes, call: Call) -> Answer {
        match fault {
            None => self.forward(&head, &body, &call).await,
            Some(Fault::Delay(delay)) => {
                tokio::time::sleep(delay).await;
                self.forward(&head, &body, &call).await
            }
            Some(Fault::Drop) => Err(HangUp),
            Some(Fault::InternalError) => Ok(error(500, "InternalServerError", "Internal server error")),
            Some(Fault::Throttle) => {
                let message = "The level of configured provisioned throughput for the table was exceeded";
                Ok(error(400, "ProvisionedThroughputExceededException", message))
            }
            Some(Fault::LoseResponse) => {
                // The call was done or refused, and its caller never learns which.
                let _ = self.forward(&head, &body, &call).await;
                Err(HangUp)
            }
            Some(Fault::CutOff) => {
                let (head, body) = self.forward(&head, &body, &call).await?.into_parts();
                let mut body = body.collect().await.expect("it is in memory").to_bytes();
                if body.len() > CUT_OFF_FROM {
                    body.truncate(body.len() - 1);
                }
                Ok(Response::from_parts(head, Full::new(body)))
            }
            Some(Fault::Repeat(delay)) => {
                let answer = self.forward(&head, &body, &call).await;
                let again = UnderWay::new(&self.under_way);
                tokio::spawn(async move {
                    let _again = again;
                    tokio::time::sleep(delay).await;
                    let _ = self.forward(&head, &body, &call).await;
                });
                answer
            }
        }
    }

    /// Counts the call and chooses its fault.
    fn next_fault(&self, call: &Call) -> Option<Fault> {
        let mut state = self.state();
        let key = (call.caller.clone(), call.operation.clone(), call.table.clone());
        *state.traffic.calls.entry(key).or_default() += 1;
        let State { random, faults, outage, .. } = &mut *state;
        let of_table = outage.as_ref().filter(|(table, _)| *table == call.table).map(|(_, fault)| *fault);
        let fault = faults.choose(random, self.options.signature_validity).or(of_table);
        if let Some(fault) = fault {
            *state.traffic.faults.entry(fault.name()).or_default() += 1;
        }
        fault
    }

    /// Sends the request to the database, unless its signature has expired. As AWS does, the proxy checks the age when
    /// the request arrives, however long it was in a frozen process, in a socket's buffer, or in this proxy.
    async fn forward(&self, head: &Parts, body: &Bytes, call: &Call) -> Answer {
        if let Err(expired) = signature::check(&head.headers, self.options.signature_validity, SystemTime::now()) {
            self.state().traffic.expired += 1;
            return Ok(error(400, "InvalidSignatureException", &expired));
        }
        let body = if self.options.blind_puts { call.without_condition(body) } else { body.clone() };
        let number = {
            let mut state = self.state();
            state.numbers += 1;
            state.numbers
        };
        let url = format!("{}{}", self.options.target, head.uri);
        let request = self.http.request(head.method.clone(), url).headers(end_to_end(&head.headers)).body(body);
        self.observer.sent(number, call);
        let answer = async {
            let response = request.send().await?;
            let (status, headers) = (response.status(), end_to_end(response.headers()));
            let mut answer = Response::new(Full::new(response.bytes().await?));
            *answer.status_mut() = status;
            *answer.headers_mut() = headers;
            reqwest::Result::Ok(answer)
        };
        let answer = answer.await;
        self.observer.answered(number, call, answer.as_ref().ok().map(|answer| answer.status().as_u16()));
        answer.map_err(|_| {
            self.state().traffic.unanswered += 1;
            HangUp
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no one panics while holding the lock")
    }
}

/// Returns the headers without those that belong to one connection.
fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    for name in [HOST, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
        headers.remove(name);
    }
    headers
}

/// Returns an error as DynamoDB writes it.
fn error(status: u16, name: &str, message: &str) -> Response<Full<Bytes>> {
    let body = serde_json::json!({
        "__type": format!("com.amazonaws.dynamodb.v20120810#{name}"),
        "message": message,
    });
    let mut response = Response::new(Full::new(body.to_string().into()));
    *response.status_mut() = status.try_into().expect("these are statuses");
    let json = "application/x-amz-json-1.0".parse().expect("this is plain ASCII");
    response.headers_mut().insert("content-type", json);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_dynamodb::primitives::{DateTime, DateTimeFormat};
    use hyper::StatusCode;

    /// Bodies that have reached the database, and the number of its answers.
    #[derive(Debug, Default, Clone)]
    struct Arrived(Arc<Mutex<(Vec<String>, u64)>>);

    impl Observer for Arrived {
        fn sent(&self, _: u64, _: &Call) {}

        fn answered(&self, _: u64, _: &Call, status: Option<u16>) {
            self.0.lock().unwrap().1 += u64::from(status == Some(200));
        }
    }

    /// Makes a call that was signed `signed_before` seconds ago and meets this fault. Returns the status that the
    /// caller gets, and the bodies that reach the database.
    async fn call(fault: Option<Fault>, signed_before: u64, blind_puts: bool) -> (Option<StatusCode>, Vec<String>) {
        let arrived = Arrived::default();
        let bodies = arrived.clone();
        let database = HttpServer::start(move |request| {
            let bodies = bodies.clone();
            async move {
                let body = request.into_body().collect().await.map_err(|_| HangUp)?.to_bytes();
                bodies.0.lock().unwrap().0.push(String::from_utf8_lossy(&body).into_owned());
                Ok(Response::new(Full::new("{}".into())))
            }
        });
        let database = database.await.unwrap();
        let options = Options {
            target: format!("http://{}", database.address()),
            seed: 0,
            signature_validity: Duration::from_secs(3),
            blind_puts,
        };
        let proxy = FaultProxy::start(options, arrived.clone()).await.unwrap();
        let body = r#"{"ConditionExpression":"seq < :seq","Item":{"sk":{"S":"writer#1"}},"TableName":"stats"}"#;
        let (head, ()) = Request::post("/")
            .header("x-amz-date", signing_date(SystemTime::now() - Duration::from_secs(signed_before)))
            .header("x-amz-target", "DynamoDB_20120810.PutItem")
            .header(
                "authorization",
                "AWS4-HMAC-SHA256 Credential=encode/20250101/us-east-1/dynamodb/aws4_request, SignedHeaders=host",
            )
            .body(())
            .unwrap()
            .into_parts();
        let call = Call::read(&head.headers, &Bytes::from(body));
        assert_eq!(
            (call.caller.as_str(), call.operation.as_str(), call.table.as_str()),
            ("encode", "PutItem", "stats")
        );
        let answer = Arc::clone(&proxy.shared).undergo(fault, head, body.into(), call).await;
        proxy.quiet().await;
        let (bodies, answered) = arrived.0.lock().unwrap().clone();
        assert_eq!(answered, bodies.len() as u64, "the observer learns of every answer");
        (answer.ok().map(|answer| answer.status()), bodies)
    }

    fn signing_date(at: SystemTime) -> String {
        let seconds = at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let date = DateTime::from_secs(seconds.cast_signed()).fmt(DateTimeFormat::DateTime).unwrap();
        date.replace(['-', ':'], "")
    }

    #[tokio::test]
    async fn each_fault_does_what_its_name_says() {
        let soon = Duration::from_millis(1);
        for (fault, status, arrivals) in [
            (None, Some(200), 1),
            (Some(Fault::Delay(soon)), Some(200), 1),
            (Some(Fault::Drop), None, 0),
            (Some(Fault::InternalError), Some(500), 0),
            (Some(Fault::Throttle), Some(400), 0),
            (Some(Fault::LoseResponse), None, 1),
            (Some(Fault::Repeat(soon)), Some(200), 2),
            (Some(Fault::CutOff), Some(200), 1),
        ] {
            let (answered, bodies) = call(fault, 0, false).await;
            assert_eq!((answered.map(|status| status.as_u16()), bodies.len()), (status, arrivals), "{fault:?}");
            assert!(bodies.iter().all(|body| body.contains("ConditionExpression")), "{bodies:?}");
        }
    }

    #[tokio::test]
    async fn an_old_request_is_refused_however_it_grew_old() {
        assert_eq!(call(None, 4, false).await, (Some(StatusCode::BAD_REQUEST), vec![]));
        let late = Some(Fault::Delay(Duration::from_millis(1100)));
        assert_eq!(call(late, 3, false).await, (Some(StatusCode::BAD_REQUEST), vec![]), "in the proxy");
        let repeated = Some(Fault::Repeat(Duration::from_millis(2100)));
        assert_eq!(call(repeated, 1, false).await.1.len(), 1, "before its repetition");
    }

    #[tokio::test]
    async fn a_blind_put_has_no_condition() {
        let (status, bodies) = call(None, 0, true).await;
        assert_eq!(status, Some(StatusCode::OK));
        assert_eq!(bodies, [r#"{"Item":{"sk":{"S":"writer#1"}},"TableName":"stats"}"#]);
    }
}
