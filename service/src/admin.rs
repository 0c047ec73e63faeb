//! The admin listener: `/livez`, `/readyz` and `/metrics`, apart from the public port.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::metrics::{Exporter, READY};

/// Time for a scraper to send its request's headers; also how long an idle connection is kept.
const HEADER_TIMEOUT: Duration = Duration::from_secs(90);
/// Whether the process wants traffic. Ready means that nothing holds it back; each hold has a
/// name, which `/readyz` shows.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Mutex<BTreeSet<&'static str>>>);

impl Readiness {
    /// Not ready yet: held back by `starting`, which the caller releases.
    pub fn starting() -> Self {
        let readiness = Self::default();
        readiness.hold("starting");
        readiness
    }

    /// Not ready as long as `reason` stands.
    pub fn hold(&self, reason: &'static str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(reason);
    }

    /// `reason` no longer stands.
    pub fn release(&self, reason: &'static str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(reason);
    }

    /// What holds the process back; empty means ready.
    pub fn reasons(&self) -> Vec<&'static str> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }
}

/// Binds `addr`, serves until `stop` and returns the bound address (of use with port 0).
pub async fn serve(
    addr: SocketAddr,
    readiness: Readiness,
    metrics: Exporter,
    stop: CancellationToken,
) -> anyhow::Result<SocketAddr> {
    let listener =
        TcpListener::bind(addr).await.with_context(|| format!("admin listener on {addr}"))?;
    let bound = listener.local_addr().context("admin listener's address")?;
    let shown = readiness.clone();
    metrics.on_scrape(move || READY.only().set(u8::from(shown.reasons().is_empty())));
    tokio::spawn(metrics.clone().upkeep(stop.clone()));
    tokio::spawn(async move {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            match accepted {
                Ok((stream, _)) => {
                    tokio::spawn(connection(
                        stream,
                        readiness.clone(),
                        metrics.clone(),
                        stop.clone(),
                    ));
                }
                // Out of file descriptors, mostly: wait for some to come back.
                Err(error) => {
                    tracing::warn!(%error, "admin listener cannot accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    });
    Ok(bound)
}

async fn connection(
    stream: TcpStream,
    readiness: Readiness,
    metrics: Exporter,
    stop: CancellationToken,
) {
    let service = service_fn(|request: Request<hyper::body::Incoming>| {
        let response =
            answer(request.method(), request.uri().path(), &readiness, || metrics.render());
        async move { Ok::<_, Infallible>(response) }
    });
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    // A scraper that goes away mid-answer is its own business.
    tokio::select! {
        _ = serving => {}
        () = stop.cancelled() => {}
    }
}

fn answer(
    method: &Method,
    path: &str,
    readiness: &Readiness,
    render: impl FnOnce() -> String,
) -> Response<Full<Bytes>> {
    if method != Method::GET && method != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, String::from("GET only\n"));
    }
    match path {
        "/livez" => text(StatusCode::OK, String::from("ok\n")),
        "/readyz" => match readiness.reasons() {
            reasons if reasons.is_empty() => text(StatusCode::OK, String::from("ok\n")),
            reasons => text(StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n"),
        },
        "/metrics" => text(StatusCode::OK, render()),
        _ => text(StatusCode::NOT_FOUND, String::from("/livez /readyz /metrics\n")),
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(path: &str, readiness: &Readiness) -> StatusCode {
        answer(&Method::GET, path, readiness, String::new).status()
    }

    #[test]
    fn ready_means_that_nothing_holds_it_back() {
        let readiness = Readiness::starting();
        assert_eq!(status("/readyz", &readiness), StatusCode::SERVICE_UNAVAILABLE);
        readiness.hold("draining");
        readiness.release("starting");
        assert_eq!(readiness.reasons(), ["draining"]);
        assert_eq!(status("/readyz", &readiness), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(status("/livez", &readiness), StatusCode::OK);
        readiness.release("draining");
        assert_eq!(status("/readyz", &readiness), StatusCode::OK);
    }

    #[test]
    fn unknown_paths_and_methods_are_refused() {
        let readiness = Readiness::default();
        assert_eq!(status("/", &readiness), StatusCode::NOT_FOUND);
        let posted = answer(&Method::POST, "/metrics", &readiness, String::new);
        assert_eq!(posted.status(), StatusCode::METHOD_NOT_ALLOWED);
    }
}
