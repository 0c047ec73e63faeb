//! A way to a server that can be shut and opened, as a network's can.

use std::net::SocketAddr;

use harness::process::free_address;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Passes connections on while it is open. Shut, it breaks those that there are and takes no others.
pub(crate) struct Way {
    /// Where it begins.
    pub(crate) from: SocketAddr,
    open: watch::Sender<bool>,
}

impl Way {
    /// A way to the stand-in for AWS that is shut.
    pub(crate) fn shut_to_aws() -> Self {
        let endpoint = std::env::var("AWS_ENDPOINT_URL").unwrap();
        let to = endpoint.strip_prefix("http://").unwrap().to_owned();
        let from = free_address().unwrap();
        let (open, is_open) = watch::channel(false);
        tokio::spawn(lead(from, to, is_open));
        Self { from, open }
    }

    /// Opens it.
    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }

    /// Shuts it.
    pub(crate) fn shut(&self) {
        self.open.send_replace(false);
    }
}

/// Listens while it is open; the end of a phase drops the listener and every connection.
async fn lead(from: SocketAddr, to: String, mut is_open: watch::Receiver<bool>) {
    while is_open.wait_for(|open| *open).await.is_ok() {
        let listener = TcpListener::bind(from).await.unwrap();
        let mut connections = tokio::task::JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = is_open.wait_for(|open| !*open) => break,
            };
            let (Ok((mut client, _)), to) = (accepted, to.clone()) else { continue };
            connections.spawn(async move {
                let mut server = TcpStream::connect(to).await?;
                copy_bidirectional(&mut client, &mut server).await
            });
        }
    }
}
