//! Stands in for AWS Secrets Manager, which has no emulator: it answers the two calls that matter here in the JSON
//! protocol, as the API reference describes them. It knows secrets by their ARN and keeps the last two versions of
//! each.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use bytes::Bytes;
use hyper::{Request, Response, StatusCode};
use serde_json::{Value, json};

use crate::kit::credentials;
use crate::kit::http_server::HttpServer;

/// A running stand-in.
#[derive(Debug)]
pub struct SecretsManager {
    server: HttpServer,
    state: Arc<Mutex<State>>,
}

/// Kinds of answers to a request for a value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Answering {
    /// The right answer.
    #[default]
    Well,
    /// An internal error of the service.
    OutOfOrder,
    /// An answer that ends in the middle of the JSON, after the value.
    CutOff,
    /// The value inside text that is not JSON.
    Garbage,
    /// An error without a name whose message is the value.
    NamelessError,
    /// A value of ten times the size that a secret may have.
    Oversized,
}

impl Answering {
    /// All kinds of answers but the right one.
    pub const WRONG: [Self; 5] = [Self::OutOfOrder, Self::CutOff, Self::Garbage, Self::NamelessError, Self::Oversized];
}

#[derive(Debug, Default)]
struct State {
    secrets: BTreeMap<String, Secret>,
    answering: Answering,
    reads: u64,
}

#[derive(Debug)]
struct Secret {
    current: String,
    previous: Option<String>,
}

/// Returns the ARN that the secret of this name has here.
pub fn arn(name: &str) -> String {
    format!("arn:aws:secretsmanager:{}:000000000000:secret:{name}-AbCdEf", credentials::REGION)
}

impl SecretsManager {
    /// Starts a stand-in without secrets.
    pub async fn start() -> Result<Self> {
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let server = HttpServer::answering(move |request| {
            let answer = answer(&mut lock(&shared), &request);
            async { answer }
        })
        .await?;
        Ok(Self { server, state })
    }

    /// Returns the value for `AWS_ENDPOINT_URL_SECRETS_MANAGER`.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Sets a secret's value; the value before it becomes the previous version.
    pub fn put(&self, arn: &str, value: &str) {
        lock(&self.state).put(arn, value);
    }

    /// Returns a secret's value.
    pub fn current(&self, arn: &str) -> Option<String> {
        lock(&self.state).secrets.get(arn).map(|secret| secret.current.clone())
    }

    /// Sets the kind of answers from now on.
    pub fn set_answering(&self, answering: Answering) {
        lock(&self.state).answering = answering;
    }

    /// Returns the number of requests for a value, successful or not.
    pub fn reads(&self) -> u64 {
        lock(&self.state).reads
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn put(&mut self, arn: &str, value: &str) {
        let previous = self.secrets.remove(arn).map(|secret| secret.current);
        self.secrets.insert(arn.to_owned(), Secret { current: value.to_owned(), previous });
    }
}

fn answer(state: &mut State, request: &Request<Bytes>) -> Result<Response<Bytes>> {
    let target = request.headers().get("x-amz-target").context("there is no X-Amz-Target")?.to_str()?;
    let input: Value = serde_json::from_slice(request.body())?;
    let arn = input["SecretId"].as_str().context("there is no SecretId")?;
    state.reads += u64::from(target == "secretsmanager.GetSecretValue");
    if state.answering == Answering::OutOfOrder {
        return respond(StatusCode::INTERNAL_SERVER_ERROR, &json!({ "__type": "InternalServiceError" }));
    }
    match target {
        "secretsmanager.GetSecretValue" => {
            let stage = input["VersionStage"].as_str().unwrap_or("AWSCURRENT");
            let value = state.secrets.get(arn).and_then(|secret| match stage {
                "AWSCURRENT" => Some(&secret.current),
                "AWSPREVIOUS" => secret.previous.as_ref(),
                _ => None,
            });
            match value {
                Some(value) => {
                    let output = json!({ "ARN": arn, "SecretString": value, "VersionStages": [stage] });
                    match state.answering {
                        Answering::Well | Answering::OutOfOrder => respond(StatusCode::OK, &output),
                        Answering::CutOff => {
                            let text = output.to_string();
                            let end = text.find(value.as_str()).map_or(text.len() / 2, |at| at + value.len());
                            respond_with(StatusCode::OK, text[..end].to_owned())
                        }
                        Answering::Garbage => respond_with(StatusCode::OK, format!("<html>{value}</html>")),
                        Answering::NamelessError => respond(StatusCode::BAD_REQUEST, &json!({ "Message": value })),
                        Answering::Oversized => {
                            let value = value.repeat(10 * 65_536 / value.len().max(1));
                            respond(StatusCode::OK, &json!({ "ARN": arn, "SecretString": value }))
                        }
                    }
                }
                None => {
                    let message =
                        format!("Secrets Manager can't find the specified secret value for staging label: {stage}");
                    let output = json!({ "__type": "ResourceNotFoundException", "Message": message });
                    respond(StatusCode::BAD_REQUEST, &output)
                }
            }
        }
        "secretsmanager.PutSecretValue" => {
            state.put(arn, input["SecretString"].as_str().context("there is no SecretString")?);
            respond(StatusCode::OK, &json!({ "ARN": arn, "VersionStages": ["AWSCURRENT"] }))
        }
        _ => respond(StatusCode::BAD_REQUEST, &json!({ "__type": "UnknownOperationException" })),
    }
}

fn respond(status: StatusCode, body: &Value) -> Result<Response<Bytes>> {
    respond_with(status, body.to_string())
}

fn respond_with(status: StatusCode, body: String) -> Result<Response<Bytes>> {
    let response = Response::builder().status(status).header("content-type", "application/x-amz-json-1.1");
    Ok(response.body(Bytes::from(body))?)
}
