//! Tests of [`super`] over real sockets, with a publisher that acknowledges when told.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use clap::Parser as _;
use domain::signature::sign;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{Notify, oneshot};

use super::*;
use crate::config::Settings;
use crate::endpoints::Endpoints;
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
