//! The public listener: accepts connections within a limit and serves HTTP/1.1 and HTTP/2.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Limits;
use crate::connection::{self, Activity, End, Heard, Patience};
use crate::metrics;
use crate::publish::Publish;
use crate::webhook::Webhooks;

/// Read buffer of an HTTP/1 connection, beyond its headers: most events come as one frame, which
/// needs no joining.
const READ_BUFFER: usize = 64 * 1024;
/// Pause after an accept that failed, for want of file descriptors mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often an HTTP/2 peer must show that it is there.
const HTTP2_PING: Duration = Duration::from_secs(30);

/// The listener's connections.
pub(crate) struct Server<P> {
    webhooks: Arc<Webhooks<P>>,
    limits: Limits,
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    /// Connections that are not at their end.
    connections: TaskTracker,
    /// Asks connections to finish what they are doing.
    leave: CancellationToken,
}

impl<P: Publish> Server<P> {
    pub(crate) fn new(webhooks: Arc<Webhooks<P>>, limits: Limits) -> Arc<Self> {
        let header_max = limits.ingest_max_header_bytes;
        let mut http1 = http1::Builder::new();
        // The watchdog of `connection` tells idle from slow; hyper's one time-out cannot.
        http1
            .timer(TokioTimer::new())
            // A sender that has said all it has to say still waits for its answer. And nothing is
            // read beyond a request before its answer, so what comes next counts from then on.
            .half_close(true)
            .header_read_timeout(None)
            .max_header_size(header_max)
            .max_buf_size(READ_BUFFER + header_max);
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.ingest_max_http2_streams)
            .max_header_list_size(u32::try_from(header_max).unwrap_or(u32::MAX))
            .keep_alive_interval(HTTP2_PING)
            .keep_alive_timeout(limits.ingest_header_timeout);
        let (connections, leave) = (TaskTracker::new(), CancellationToken::new());
        Arc::new(Self { webhooks, limits, http1, http2, connections, leave })
    }

    /// Accepts until `stop`.
    pub(crate) async fn accept(self: Arc<Self>, listener: TcpListener, stop: CancellationToken) {
        let slots = Arc::new(Semaphore::new(self.limits.ingest_max_connections));
        let held_back = metrics::CONNECTIONS_HELD_BACK.only();
        let accepts = metrics::CONNECTIONS_ACCEPTED.only();
        let closed = End::ALL.map(|end| metrics::CONNECTIONS_CLOSED.with([end.code()]));
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = async {
                    // Whoever finds no slot waits in the listener's queue.
                    if slots.available_permits() == 0 {
                        held_back.increment(1);
                    }
                    let slot = Arc::clone(&slots).acquire_owned().await;
                    listener.accept().await.map(|(stream, _)| (stream, slot))
                } => accepted,
            };
            let (stream, slot) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept");
                    metrics::ACCEPT_ERRORS.only().increment(1);
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            accepts.increment(1);
            let (this, closed) = (Arc::clone(&self), closed.clone());
            self.connections.spawn(async move {
                let _slot = slot;
                let end = this.serve(stream).await;
                closed[end as usize].increment(1);
            });
        }
    }

    /// Serves one connection and tells how it ended.
    async fn serve(self: &Arc<Self>, stream: TcpStream) -> End {
        // Answers are small and wait for nothing.
        let _ = stream.set_nodelay(true);
        let detecting = connection::speaks_http2(&stream);
        let detecting = tokio::time::timeout(self.limits.ingest_protocol_timeout, detecting);
        let http2 = tokio::select! {
            detected = detecting => match detected {
                Ok(Ok(Some(http2))) => http2,
                Ok(Ok(None)) => return End::Closed,
                Ok(Err(_)) => return End::Broken,
                Err(_) => return End::Silent,
            },
            () = self.leave.cancelled() => return End::Closed,
        };
        let activity = Activity::new();
        let patience = Patience {
            idle: self.limits.ingest_idle_timeout,
            headers: self.limits.ingest_header_timeout,
        };
        let service = service_fn(|request: Request<Incoming>| {
            let in_progress = activity.begin();
            let webhooks = Arc::clone(&self.webhooks);
            async move {
                let response = webhooks.respond(request).await;
                drop(in_progress);
                Ok::<_, Infallible>(response)
            }
        });
        if http2 {
            let connection = self.http2.serve_connection(TokioIo::new(stream), service);
            connection::drive(connection, &activity, patience, &self.leave).await
        } else {
            let heard = Heard::new(stream, Arc::clone(&activity));
            let connection = self.http1.serve_connection(TokioIo::new(heard), service);
            connection::drive(connection, &activity, patience, &self.leave).await
        }
    }

    /// Connections that are not at their end.
    pub(crate) fn open(&self) -> usize {
        self.connections.len()
    }

    /// Lets every connection finish what it is doing, for as long as `patience`; the number of
    /// those that did not comes back.
    pub(crate) async fn finish(&self, patience: Duration) -> usize {
        self.leave.cancel();
        self.connections.close();
        let _ = tokio::time::timeout(patience, self.connections.wait()).await;
        self.connections.len()
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
