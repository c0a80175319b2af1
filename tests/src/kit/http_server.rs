//! A small HTTP/1.1 server on the loopback address, for the emulators here and the page of links.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::kit::under_way::UnderWay;

/// Tells the server to close the connection without an answer.
#[derive(Debug)]
pub struct HangUp;

impl std::fmt::Display for HangUp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the server hangs up")
    }
}

impl std::error::Error for HangUp {}

/// Answer to a request.
pub type Answer = std::result::Result<Response<Full<Bytes>>, HangUp>;

/// A running server. Dropping it closes its connections.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    connections: watch::Sender<u32>,
    task: JoinHandle<()>,
}

impl HttpServer {
    /// Starts a server on any free port. A request whose client goes away is no longer handled, unless `handle` has
    /// given the request to a task.
    pub async fn start<F>(handle: impl Fn(Request<Incoming>) -> F + Send + Sync + 'static) -> Result<Self>
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        Self::start_on(0, handle).await
    }

    async fn start_on<F>(port: u16, handle: impl Fn(Request<Incoming>) -> F + Send + Sync + 'static) -> Result<Self>
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        let connections = watch::Sender::new(0);
        let task = tokio::spawn(accept(listener, Arc::new(handle), connections.clone()));
        Ok(Self { address, connections, task })
    }

    /// Starts a server on any free port whose `answer` gets requests with their whole bodies. An error of `answer`
    /// becomes a response with status 500 and the error as text.
    pub async fn answering<F>(answer: impl Fn(Request<Bytes>) -> F + Send + Sync + 'static) -> Result<Self>
    where
        F: Future<Output = Result<Response<Bytes>>> + Send,
    {
        Self::answering_on(0, answer).await
    }

    /// Starts a server like [`answering`](Self::answering) on this port.
    pub async fn answering_on<F>(
        port: u16,
        answer: impl Fn(Request<Bytes>) -> F + Send + Sync + 'static,
    ) -> Result<Self>
    where
        F: Future<Output = Result<Response<Bytes>>> + Send,
    {
        let answer = Arc::new(answer);
        Self::start_on(port, move |request| {
            let answer = Arc::clone(&answer);
            async move {
                let answered = async {
                    let (head, body) = request.into_parts();
                    answer(Request::from_parts(head, body.collect().await?.to_bytes())).await
                };
                let response = answered.await.unwrap_or_else(|error| {
                    let mut response = Response::new(Bytes::from(format!("{error:#}")));
                    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                    response
                });
                Ok(response.map(Full::new))
            }
        })
        .await
    }

    /// Returns the server's URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the address on which the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until no connection is open, none that waits to be accepted either. Every request that clients had sent
    /// before they ended has then been given to the server's `handle`.
    pub async fn all_closed(&self) {
        // Connections are accepted in the order in which clients made them. Once this one is accepted and has ended,
        // all that clients had made before are counted.
        let mut last = TcpStream::connect(self.address).await.expect("the server listens");
        let _ = last.shutdown().await;
        let _ = last.read_to_end(&mut Vec::new()).await;
        // The sender lives in this server, so waiting cannot fail.
        let _ = self.connections.subscribe().wait_for(|open| *open == 0).await;
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept<H, F>(listener: TcpListener, handle: Arc<H>, connections: watch::Sender<u32>)
where
    H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let mut tasks = tokio::task::JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("connections can be accepted");
        while tasks.try_join_next().is_some() {}
        let (handle, open) = (Arc::clone(&handle), UnderWay::new(&connections));
        tasks.spawn(async move {
            let _open = open;
            let service = service_fn(move |request| handle(request));
            // An error means that the client went away, or that the handler returned a HangUp.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_request_whose_connection_is_not_accepted_yet_is_waited_for() {
        let handled = Arc::new(AtomicU32::new(0));
        let counting = Arc::clone(&handled);
        let server = HttpServer::start(move |_| {
            counting.fetch_add(1, Ordering::SeqCst);
            async { Ok(Response::default()) }
        });
        let server = server.await.unwrap();
        for requests in 1..=20 {
            // Blocks this thread, and with it the server, so that nothing is accepted before the client has ended.
            let mut client = std::net::TcpStream::connect(server.address()).unwrap();
            client.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}").unwrap();
            drop(client);
            server.all_closed().await;
            assert_eq!(handled.load(Ordering::SeqCst), requests);
        }
    }
}
