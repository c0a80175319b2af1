//! A TCP proxy that can be shut: it then accepts connections and passes nothing on, like a service that hangs.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// A running proxy. Dropping it closes its connections.
#[derive(Debug)]
pub struct Valve {
    address: SocketAddr,
    shut: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Valve {
    /// Starts an open valve in front of the service at this URL.
    pub async fn before(url: &str) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shut = watch::Sender::new(false);
        let target = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let task = tokio::spawn(accept(listener, target, shut.clone()));
        Ok(Self { address, shut, task })
    }

    /// Returns the URL of the valve.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Shuts the valve, also for connections that are already open, or opens it for new connections.
    pub fn set_shut(&self, shut: bool) {
        self.shut.send_replace(shut);
    }
}

impl Drop for Valve {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, target: String, shut: watch::Sender<bool>) {
    let mut connections = JoinSet::new();
    while let Ok((mut client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let (target, mut is_shut) = (target.clone(), shut.subscribe());
        connections.spawn(async move {
            let pass_on = async {
                // An error means that either side went away.
                if let Ok(mut service) = TcpStream::connect(target).await {
                    let _ = copy_bidirectional(&mut client, &mut service).await;
                }
            };
            let closing = async {
                // The sender lives in the accepting task, so waiting cannot fail.
                let _ = is_shut.wait_for(|shut| *shut).await;
            };
            tokio::select! {
                biased;
                () = closing => std::future::pending().await,
                () = pass_on => {}
            }
        });
    }
}
