//! Tests of [`super`] over real sockets, with a publisher that acknowledges when told.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use clap::Parser as _;
use domain::endpoint::Endpoints;
use domain::signature::sign;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{Notify, oneshot};

use super::*;
use crate::config::Settings;
use crate::publish::{Acknowledgement, PublishError, Record};

const SECRET: &str = "whsec_test";
const BODY: &str = r#"{"id":"evt_1"}"#;
/// Longer than any deadline that is tested, shorter than any that is not.
const DEADLINE: Duration = Duration::from_secs(20);

/// Keeps what waits for an acknowledgement.
#[derive(Default)]
struct Held {
    waiting: Mutex<Vec<oneshot::Sender<Result<(), PublishError>>>>,
    came: Notify,
}

impl Publish for Held {
    fn publish(&self, _: &Record<'_>) -> Result<Acknowledgement, PublishError> {
        let (sender, receiver) = oneshot::channel();
        self.waiting.lock().unwrap().push(sender);
        self.came.notify_one();
        Ok(receiver)
    }
}

impl Held {
    /// Waits until a request is in progress.
    async fn in_progress(&self) {
        tokio::time::timeout(DEADLINE, self.came.notified()).await.unwrap();
    }

    fn acknowledge(&self) {
        for sender in self.waiting.lock().unwrap().drain(..) {
            sender.send(Ok(())).unwrap();
        }
    }
}

#[derive(clap::Parser)]
struct Cli {
    #[command(flatten)]
    settings: Settings,
}

/// A listener whose deadlines are short, except that a connection may idle for long.
async fn listen() -> (SocketAddr, Arc<Held>) {
    let short = ["--ingest-protocol-timeout=500ms", "--ingest-header-timeout=500ms"];
    let args = ["test", "--kafka-brokers=none:1", "--kafka-delivery-timeout=1m"];
    let settings = Cli::try_parse_from(args.iter().chain(&short)).unwrap().settings;
    let publisher = Arc::new(Held::default());
    let endpoints = Endpoints::parse(SECRET, "").unwrap();
    let webhooks = Arc::new(Webhooks::new(&settings, endpoints, Arc::clone(&publisher)));
    webhooks.open();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::new(webhooks, settings.limits);
    tokio::spawn(server.accept(listener, CancellationToken::new()));
    (address, publisher)
}

fn post() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let signature = sign(SECRET, now, BODY.as_bytes());
    format!(
        "POST /webhooks/stripe HTTP/1.1\r\nhost: x\r\nstripe-signature: {signature}\r\n\
         content-length: {}\r\n\r\n{BODY}",
        BODY.len()
    )
}

/// Everything until the other side closes.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    tokio::time::timeout(DEADLINE, stream.read_to_end(&mut bytes)).await.unwrap().unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// One answer without a body.
async fn answer(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(tokio::time::timeout(DEADLINE, stream.read_u8()).await.unwrap().unwrap());
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn a_sender_that_has_closed_its_side_gets_its_answer() {
    let (address, publisher) = listen().await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(post().as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    publisher.in_progress().await;
    // Whoever would close the connection has had the time to.
    let early = tokio::time::timeout(Duration::from_millis(300), stream.read_u8()).await;
    assert!(early.is_err(), "closed, or answered, before the acknowledgement: {early:?}");
    publisher.acknowledge();
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn an_incomplete_http2_preface_is_cut_off_in_time() {
    let (address, _) = listen().await;
    for begun in ["P", "PRI", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        let started = Instant::now();
        // A socket that is closed with bytes unread is reset.
        let mut nothing = Vec::new();
        let closed = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut nothing)).await;
        assert!(closed.is_ok() && nothing.is_empty(), "{begun:?} {nothing:?}");
        assert!(started.elapsed() >= Duration::from_millis(400), "{begun:?} may go on");
    }
}

#[tokio::test]
async fn a_method_that_begins_like_http2_is_http1() {
    let (address, _) = listen().await;
    for method in ["PRINT", "PRI"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("{method} /webhooks/stripe HTTP/1.1\r\nhost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        assert!(answer(&mut stream).await.starts_with("HTTP/1.1 405 "), "{method}");
    }
}

#[tokio::test]
async fn headers_that_begin_during_another_request_have_a_deadline_too() {
    let (address, publisher) = listen().await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(post().as_bytes()).await.unwrap();
    publisher.in_progress().await;
    stream.write_all(b"POST /webhooks/stripe HTTP/1.1\r\nhost:").await.unwrap();
    publisher.acknowledge();
    assert!(answer(&mut stream).await.starts_with("HTTP/1.1 200 "));
    assert_eq!(rest(&mut stream).await, "", "cut off");
}

#[tokio::test]
async fn a_connection_may_idle_longer_than_headers_may_take() {
    let (address, publisher) = listen().await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    for _ in 0..2 {
        let request = post();
        let (head, body) = request.split_at(request.len() - BODY.len());
        stream.write_all(head.as_bytes()).await.unwrap();
        // A body that comes by itself is not the next request's beginning.
        tokio::time::sleep(Duration::from_millis(20)).await;
        stream.write_all(body.as_bytes()).await.unwrap();
        publisher.in_progress().await;
        publisher.acknowledge();
        assert!(answer(&mut stream).await.starts_with("HTTP/1.1 200 "));
        let idle = tokio::time::timeout(Duration::from_millis(900), stream.read_u8()).await;
        assert!(idle.is_err(), "it ended: {idle:?}");
    }
}
