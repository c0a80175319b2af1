//! A stand-in for AWS Secrets Manager, which has no emulator: the two calls that matter here, over its JSON protocol, as
//! its API reference describes them. It knows secrets by their ARN and keeps the last two versions of each.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use bytes::Bytes;
use hyper::{Request, Response, StatusCode};
use serde_json::{Value, json};

use crate::kit::credentials;
use crate::kit::http_server::HttpServer;

/// The running stand-in.
#[derive(Debug)]
pub struct SecretsManager {
    server: HttpServer,
    state: Arc<Mutex<State>>,
}

/// How it answers when a value is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Answering {
    /// As it should.
    #[default]
    Well,
    /// With an error of its own.
    OutOfOrder,
    /// With an answer that ends in the middle of the value.
    CutOff,
    /// With the value beside what is no JSON.
    Garbage,
    /// With the value as a message of an error that has no name.
    NamelessError,
    /// With ten times the size that a secret may have.
    Oversized,
}

impl Answering {
    /// All ways of answering but the right one.
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

/// The ARN that the secret of this name has here.
pub fn arn(name: &str) -> String {
    format!("arn:aws:secretsmanager:{}:000000000000:secret:{name}-AbCdEf", credentials::REGION)
}

impl SecretsManager {
    /// Starts it, without secrets.
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

    /// What `AWS_ENDPOINT_URL_SECRETS_MANAGER` must be.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Gives a secret a new value; the one before it becomes the previous version.
    pub fn put(&self, arn: &str, value: &str) {
        lock(&self.state).put(arn, value);
    }

    /// A secret's value.
    pub fn current(&self, arn: &str) -> Option<String> {
        lock(&self.state).secrets.get(arn).map(|secret| secret.current.clone())
    }

    /// From now on it answers like this.
    pub fn set_answering(&self, answering: Answering) {
        lock(&self.state).answering = answering;
    }

    /// How often a value was asked for, with or without success.
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
