//! Connections: HTTP/1.1, a limited number, each with a deadline for its headers.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::settings::Limits;

/// Time for a request's headers, and for an idle connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of a request's line and headers.
const MAX_HEADER_BYTES: usize = 16 * 1024;
/// After a stop: time for requests in progress.
const DRAIN: Duration = Duration::from_secs(5);

/// Where a request comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

/// Serves until `stop`, then lets requests in progress end.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let connections = TaskTracker::new();
    while let Some(place) = stop.run_until_cancelled(places.clone().acquire_owned()).await {
        let Ok(place) = place else { break };
        match stop.run_until_cancelled(listener.accept()).await {
            None => break,
            Some(Ok((stream, peer))) => {
                let router = router.clone().layer(Extension(Peer(peer)));
                connections.spawn(connection(stream, router, place, stop.clone()));
            }
            // Out of file descriptors, mostly: wait for some to come back.
            Some(Err(error)) => {
                tracing::warn!(%error, "console cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    connections.close();
    // What is still at work then is cut off: it reads only.
    let _ = tokio::time::timeout(DRAIN, connections.wait()).await;
}

async fn connection(
    stream: TcpStream,
    router: Router,
    _place: OwnedSemaphorePermit,
    stop: CancellationToken,
) {
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut serving = pin!(serving);
    // A browser that goes away mid-answer is its own business.
    tokio::select! {
        _ = serving.as_mut() => {}
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            let _ = serving.await;
        }
    }
}
