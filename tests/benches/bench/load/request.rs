//! Requests, rendered and signed before they are sent, and the answers to them.

use harness::load::Payload;
use harness::system::SECRET;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Seed of the bodies that load and floor both make.
pub(crate) const SEED: u64 = 11;
/// Says which of the bodies it is; only the floor reads it.
pub(crate) const BODY_HEADER: &str = "bench-body";
/// Longest answer that is understood.
const ANSWER_MAX: usize = 2048;

/// An HTTP/1.1 request as it goes over the wire.
#[derive(Debug)]
pub(crate) struct Rendered {
    /// Event id, if the body says one.
    pub(crate) id: Option<String>,
    /// Head and body.
    pub(crate) bytes: Vec<u8>,
}

/// Renders a body as Stripe would send it now.
pub(crate) fn render(number: usize, payload: Payload) -> Rendered {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let signature = domain::signature::sign(SECRET, now, &payload.body);
    let mut bytes = format!(
        "POST /webhooks/stripe HTTP/1.1\r\nhost: 127.0.0.1\r\n\
         user-agent: Stripe/1.0 (+https://stripe.com/docs/webhooks)\r\naccept: */*; q=0.5\r\n\
         cache-control: no-cache\r\ncontent-type: application/json; charset=utf-8\r\n\
         stripe-signature: {signature}\r\n{BODY_HEADER}: {number}\r\ncontent-length: {}\r\n\r\n",
        payload.body.len()
    )
    .into_bytes();
    bytes.extend(payload.body);
    Rendered { id: payload.id, bytes }
}

/// A connection that is kept.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub(crate) async fn open(address: std::net::SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(ANSWER_MAX) })
    }

    /// Sends a request and reads its answer to the end; its status comes back.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> anyhow::Result<u16> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        loop {
            let read = self.stream.read_buf(&mut self.buffer).await?;
            anyhow::ensure!(read > 0, "the connection was closed before the answer");
            if let Some(status) = status(&self.buffer) {
                return Ok(status);
            }
            anyhow::ensure!(self.buffer.len() < ANSWER_MAX, "an answer without end");
        }
    }
}

/// The status of an answer that is there to its end.
fn status(answer: &[u8]) -> Option<u16> {
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&answer[..head]).ok()?;
    let (_, length) = text.split_once("content-length: ")?;
    let length: usize = length.split("\r\n").next()?.parse().ok()?;
    (answer.len() >= head + length).then(|| text.get(9..12)?.parse().ok())?
}
