//! One connection: which protocol it speaks, and how long it may do nothing.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;

/// How an HTTP/2 connection without TLS begins, RFC 9113 section 3.4; no HTTP/1 request can.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Pause between looks at a preface that arrives byte by byte.
const PREFACE_PAUSE: Duration = Duration::from_millis(20);
/// How long a connection may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// Whether the connection speaks HTTP/2, told by its first bytes, which stay unread; `None` if it
/// ended before. The caller sets the deadline.
pub(crate) async fn speaks_http2(stream: &TcpStream) -> io::Result<Option<bool>> {
    let mut bytes = [0; HTTP2_PREFACE.len()];
    loop {
        let count = stream.peek(&mut bytes).await?;
        if count == 0 {
            return Ok(None);
        }
        if bytes[..count] != HTTP2_PREFACE[..count] {
            return Ok(Some(false));
        }
        if count == HTTP2_PREFACE.len() {
            return Ok(Some(true));
        }
        // A peek does not consume, so it would come back at once with the same bytes.
        tokio::time::sleep(PREFACE_PAUSE).await;
    }
}

/// How long a connection may wait for what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Without any request.
    pub(crate) idle: Duration,
    /// From a request's first byte to the end of its headers.
    pub(crate) headers: Duration,
}

/// How a connection ended: the label of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// One side closed it in order.
    Closed,
    /// It broke, or spoke no HTTP.
    Broken,
    /// No request for too long.
    Idle,
    /// A request's headers took too long.
    SlowHeaders,
    /// It said nothing from which to tell its protocol.
    Silent,
}

impl End {
    /// Every end.
    pub(crate) const ALL: [Self; 5] =
        [Self::Closed, Self::Broken, Self::Idle, Self::SlowHeaders, Self::Silent];

    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Broken => "broken",
            Self::Idle => "idle",
            Self::SlowHeaders => "slow_headers",
            Self::Silent => "silent",
        }
    }
}

/// What a connection is doing, shared between its reader, its requests and its watchdog.
#[derive(Debug)]
pub(crate) struct Activity(watch::Sender<Phase>);

#[derive(Debug, Clone, Copy)]
struct Phase {
    /// Requests in progress.
    requests: usize,
    /// Whether bytes of a request's headers have arrived.
    receiving: bool,
    /// Since when it is so.
    since: Instant,
}

impl Activity {
    pub(crate) fn new() -> Arc<Self> {
        let phase = Phase { requests: 0, receiving: false, since: Instant::now() };
        Arc::new(Self(watch::Sender::new(phase)))
    }

    /// A request's headers are complete; it is in progress until the guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> InProgress {
        self.0.send_modify(|phase| {
            phase.requests += 1;
            phase.receiving = false;
        });
        InProgress(Arc::clone(self))
    }

    fn received(&self) {
        self.0.send_if_modified(|phase| {
            let first = phase.requests == 0 && !phase.receiving;
            if first {
                *phase = Phase { requests: 0, receiving: true, since: Instant::now() };
            }
            first
        });
    }

    /// Comes back when patience is at an end.
    async fn expired(&self, patience: Patience) -> End {
        let mut phases = self.0.subscribe();
        loop {
            let phase = *phases.borrow_and_update();
            let (limit, end) = if phase.receiving {
                (patience.headers, End::SlowHeaders)
            } else {
                (patience.idle, End::Idle)
            };
            tokio::select! {
                // The sender lives in `self`, so this fails never.
                _ = phases.changed() => {}
                () = tokio::time::sleep_until(phase.since + limit), if phase.requests == 0 => {
                    return end;
                }
            }
        }
    }
}

/// A request in progress.
pub(crate) struct InProgress(Arc<Activity>);

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.0.send_modify(|phase| {
            phase.requests -= 1;
            phase.since = Instant::now();
        });
    }
}

/// Runs a connection until it ends, patience does, or `leave` asks it to finish what it is doing.
pub(crate) async fn drive<C>(
    connection: C,
    activity: &Activity,
    patience: Patience,
    leave: &CancellationToken,
) -> End
where
    C: GracefulConnection,
{
    let mut connection = pin!(connection);
    let end = |result: Result<(), C::Error>| if result.is_ok() { End::Closed } else { End::Broken };
    let mut expired = pin!(activity.expired(patience));
    let mut leaving = false;
    loop {
        tokio::select! {
            result = connection.as_mut() => return end(result),
            why = &mut expired => {
                if why == End::Idle {
                    connection.as_mut().graceful_shutdown();
                    let _ = tokio::time::timeout(GOODBYE, connection.as_mut()).await;
                }
                return why;
            }
            () = leave.cancelled(), if !leaving => {
                leaving = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// A stream that tells the activity when bytes arrive, and lingers when it closes: a socket that
/// is closed with bytes unread resets the connection, and the sender of a body that was too large
/// would never see its 413.
pub(crate) struct Heard<S> {
    stream: S,
    activity: Arc<Activity>,
    /// The end of lingering, once our side is closed.
    linger: Option<Pin<Box<Sleep>>>,
}

impl<S> Heard<S> {
    pub(crate) fn new(stream: S, activity: Arc<Activity>) -> Self {
        Self { stream, activity, linger: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let poll = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.activity.received();
        }
        poll
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        }
        let Self { stream, linger, .. } = &mut *self;
        let until = linger.get_or_insert_with(|| Box::pin(tokio::time::sleep(GOODBYE)));
        let mut discarded = [0; 4096];
        loop {
            if until.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut buf = ReadBuf::new(&mut discarded);
            match ready!(Pin::new(&mut *stream).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => {}
                // The other side is closed too, in order or not.
                Ok(()) | Err(_) => return Poll::Ready(Ok(())),
            }
        }
    }
}
