//! The floor of ingest: the least program that could do its job, and nothing that it does beyond.
//!
//! Bare hyper, the HMAC, a producer with ingest's own settings. It writes the same records, but key
//! and headers it has ready in a table: the request says which body it carries. No limits, no
//! metrics, no reasons for a refusal.

use crate::bodies;
use crate::load::request::{BODY_HEADER, SEED};
use anyhow::Context as _;
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use sha2::Sha256;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// Where it listens and writes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where requests arrive
    #[arg(long)]
    pub(crate) listen: SocketAddr,
    /// Bodies that are sent
    #[arg(long)]
    pub(crate) bodies: usize,
    #[command(flatten)]
    pub(crate) kafka: kafka::Options,
}

struct Floor {
    producer: FutureProducer,
    topic: String,
    mac: Hmac<Sha256>,
    /// Key and headers by the number of the body.
    table: Vec<(String, Vec<(&'static str, String)>)>,
}

/// Serves until it is killed.
pub(crate) async fn run(args: &Args) -> anyhow::Result<()> {
    let mut config = args.kafka.producer_config("floor", Duration::from_secs(8))?;
    config.set("message.max.bytes", "1069056");
    let bodies = bodies::varied(SEED, args.bodies)?;
    let floor = Arc::new(Floor {
        producer: config.create()?,
        topic: args.kafka.kafka_topic.clone(),
        mac: Hmac::new_from_slice(harness::system::SECRET.as_bytes())?,
        table: bodies.iter().map(|payload| bodies::key_and_headers(&payload.body)).collect(),
    });
    let listener = TcpListener::bind(args.listen).await.context("listening")?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let floor = Arc::clone(&floor);
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let floor = Arc::clone(&floor);
                async move {
                    let mut response = Response::new(Empty::<Bytes>::new());
                    if floor.take(request).await.is_none() {
                        *response.status_mut() = StatusCode::BAD_REQUEST;
                    }
                    Ok::<_, Infallible>(response)
                }
            });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

impl Floor {
    /// Something only if Kafka has it on every replica.
    async fn take(&self, request: Request<Incoming>) -> Option<()> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.ok()?.to_bytes();
        let signature = head.headers.get("stripe-signature")?.to_str().ok()?;
        let (time, v1) = signature.strip_prefix("t=")?.split_once(",v1=")?;
        let mut mac = self.mac.clone();
        mac.update(time.as_bytes());
        mac.update(b".");
        mac.update(&body);
        mac.verify_slice(&hex::decode(v1).ok()?).ok()?;

        let number: usize = head.headers.get(BODY_HEADER)?.to_str().ok()?.parse().ok()?;
        let (key, known) = self.table.get(number)?;
        let mut headers = OwnedHeaders::new_with_capacity(known.len() + 1);
        for (key, value) in known {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        let name = domain::record::header::STRIPE_SIGNATURE;
        headers = headers.insert(Header { key: name, value: Some(signature) });
        let record = FutureRecord::to(&self.topic).key(key).payload(&body[..]).headers(headers);
        let delivery = self.producer.send_result(record).ok()?;
        delivery.await.ok()?.ok()?;
        Some(())
    }
}
