//! Reading a request's body within a limit, a budget and a deadline.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Body;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Why there is no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// Longer than the limit, declared or read; the rest was not read.
    TooLarge,
    /// The bytes in flight are used up.
    NoBudget,
    /// The deadline passed first.
    TimedOut,
    /// The sender went away, or sent what is no HTTP.
    Incomplete,
}

/// A body and its share of the bytes in flight, which is given back on drop.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) bytes: Bytes,
    pub(crate) share: Option<OwnedSemaphorePermit>,
}

/// Reads a body of at most `limit` bytes. Bytes count against `budget` as they arrive, so a sender
/// that only promises them holds nothing. A body that came as one frame is not copied.
pub(crate) async fn read<B>(
    body: B,
    limit: usize,
    budget: &Arc<Semaphore>,
    deadline: Duration,
) -> Result<Received, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
{
    // What Content-Length declares; not trusted beyond this refusal.
    if body.size_hint().lower() > limit as u64 {
        return Err(BodyError::TooLarge);
    }
    tokio::time::timeout(deadline, collect(body, limit, budget))
        .await
        .unwrap_or(Err(BodyError::TimedOut))
}

async fn collect<B>(
    mut body: B,
    limit: usize,
    budget: &Arc<Semaphore>,
) -> Result<Received, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    let mut share: Option<OwnedSemaphorePermit> = None;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| BodyError::Incomplete)?.into_data() else { continue };
        let length = first.len().max(rest.len()) + data.len();
        if length > limit {
            return Err(BodyError::TooLarge);
        }
        let count = u32::try_from(data.len()).map_err(|_| BodyError::TooLarge)?;
        let permit =
            Arc::clone(budget).try_acquire_many_owned(count).map_err(|_| BodyError::NoBudget)?;
        match &mut share {
            Some(share) => share.merge(permit),
            None => share = Some(permit),
        }
        if first.is_empty() && rest.is_empty() {
            first = data;
            continue;
        }
        if rest.is_empty() {
            // Kafka's client takes one slice, so frames have to be joined. The size is what the
            // sender declares, and memory that it does not fill is never touched.
            let remaining = usize::try_from(body.size_hint().lower()).unwrap_or(limit);
            rest.reserve((length + remaining).min(limit));
            rest.extend_from_slice(&std::mem::take(&mut first));
        }
        rest.extend_from_slice(&data);
    }
    let bytes = if rest.is_empty() { first } else { rest.freeze() };
    Ok(Received { bytes, share })
}
