//! A small HTTP server for stand-ins of services.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

/// A server on a free port of this machine. Dropping it ends it.
#[derive(Debug)]
pub struct HttpServer {
    port: u16,
    task: JoinHandle<()>,
}

impl HttpServer {
    /// Starts to answer requests by `answer`. What it fails at is answered with status 500 and the error.
    pub async fn start<F>(answer: impl Fn(Request<Bytes>) -> F + Send + Sync + 'static) -> Result<Self>
    where
        F: Future<Output = Result<Response<Bytes>>> + Send,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let answer = Arc::new(answer);
        let task = tokio::spawn(async move {
            // They end together with this task.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let answer = Arc::clone(&answer);
                let service = service_fn(move |request: Request<Incoming>| {
                    let answer = Arc::clone(&answer);
                    async move { Ok::<_, Infallible>(respond(&*answer, request).await) }
                });
                let connection = hyper::server::conn::http1::Builder::new();
                connections.spawn(connection.serve_connection(TokioIo::new(stream), service));
            }
        });
        Ok(Self { port, task })
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

async fn respond<F>(answer: &impl Fn(Request<Bytes>) -> F, request: Request<Incoming>) -> Response<Full<Bytes>>
where
    F: Future<Output = Result<Response<Bytes>>>,
{
    let (head, body) = request.into_parts();
    let answered = async { answer(Request::from_parts(head, body.collect().await?.to_bytes())).await };
    let response = answered.await.unwrap_or_else(|error| {
        let mut response = Response::new(Bytes::from(format!("{error:#}")));
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    });
    response.map(Full::new)
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
