//! Sending to a sink: what a call may hold, and one call with its count.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use super::ROLE;
use crate::fault::Fault;
use crate::metrics;
use crate::sink::Sink;

/// Time for one call to a sink. The lease on what is being sent must be longer.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// Most records of one call: Firehose's limit.
pub(crate) const BATCH_RECORDS: usize = 500;
/// Most bytes of one call: Firehose's limit.
pub(crate) const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// Most bytes of one record, its newline included: Firehose's limit. It holds for every sink, so
/// that all get the same events.
pub(crate) const RECORD_BYTES: usize = 1000 * 1024;

/// A domain event on its way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Event<'a> {
    /// What it is about; the key where the sink has keys.
    pub(crate) subject: &'a str,
    /// One JSON object without a newline.
    pub(crate) payload: &'a str,
}

impl Event<'_> {
    /// Bytes that it takes up in a call.
    pub(crate) fn size(&self) -> usize {
        self.payload.len() + 1
    }

    /// Whether a sink can never take it.
    pub(crate) fn is_too_large(&self) -> bool {
        self.size() > RECORD_BYTES
    }
}

/// What a sink says of one record: nothing, or the code of its error.
pub(crate) type Refusal = Option<String>;

/// A sink.
pub(crate) trait EventStream: Send + Sync + 'static {
    /// Sends a batch within the limits above. The answer has an entry for each.
    fn put(&self, events: &[Event<'_>])
    -> impl Future<Output = Result<Vec<Refusal>, Fault>> + Send;
}

/// One call. What of it was refused is told here; to send that again is the caller's.
pub(crate) async fn call(
    stream: &impl EventStream,
    sink: Sink,
    events: &[Event<'_>],
) -> Result<Vec<Refusal>, Fault> {
    let (sink, started) = (sink.as_str(), Instant::now());
    let called = |result| metrics::PUBLISH_CALLS.with([sink, result]).increment(1);
    let answers = stream.put(events).await.inspect_err(|_| called("failed"))?;
    metrics::PUBLISH_SECONDS.with([sink]).record(started.elapsed());
    let refused = answers.iter().flatten().count();
    called(if refused == 0 { "ok" } else { "partial" });
    count(sink, "sent", answers.len() - refused);
    if let Some(code) = answers.iter().flatten().next() {
        count(sink, "refused", refused);
        tracing::warn!(role = ROLE, sink, refused, code, "records refused");
    }
    Ok(answers)
}

/// Counts events by what became of them.
pub(super) fn count(sink: &'static str, result: &'static str, events: usize) {
    metrics::PUBLISHED.with([sink, result]).increment(events as u64);
}

/// Neighbours within the limits of one call, and within `most` records.
pub(crate) fn batches<'a, T>(
    rows: &'a [T],
    most: usize,
    event: impl Fn(&'a T) -> Event<'a>,
) -> Vec<&'a [T]> {
    let most = most.clamp(1, BATCH_RECORDS);
    let (mut batches, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (at, row) in rows.iter().enumerate() {
        let size = event(row).size();
        if at > start && (at - start == most || bytes + size > BATCH_BYTES) {
            batches.push(&rows[start..at]);
            (start, bytes) = (at, 0);
        }
        bytes += size;
    }
    if start < rows.len() {
        batches.push(&rows[start..]);
    }
    batches
}

/// How long a refused record waits: doubling with its attempts, from a quarter second to a minute.
pub(super) fn wait(attempts: i32) -> Duration {
    let doublings = u32::try_from(attempts.clamp(1, 9) - 1).unwrap_or_default();
    Duration::from_millis(250 << doublings).min(Duration::from_mins(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(payload: &String) -> Event<'_> {
        Event { subject: "", payload }
    }

    fn payloads(sizes: &[usize]) -> Vec<String> {
        sizes.iter().map(|&size| "x".repeat(size)).collect()
    }

    #[test]
    fn batches_keep_all_limits_and_lose_nothing() {
        let many = payloads(&vec![10; 1001]);
        let sizes = |most| -> Vec<usize> {
            batches(&many, most, event).iter().map(|batch| batch.len()).collect()
        };
        assert_eq!(sizes(usize::MAX), [500, 500, 1]);
        assert_eq!(sizes(400), [400, 400, 201]);
        assert_eq!(sizes(0).len(), 1001);
        let large = payloads(&[RECORD_BYTES - 1; 9]);
        for batch in batches(&large, usize::MAX, event) {
            assert!(batch.iter().map(|row| event(row).size()).sum::<usize>() <= BATCH_BYTES);
        }
        assert_eq!(batches(&large, usize::MAX, event).concat().len(), 9);
        assert!(batches(&[], usize::MAX, event).is_empty());
    }

    #[test]
    fn the_newline_counts() {
        let rows = payloads(&[RECORD_BYTES - 1, RECORD_BYTES]);
        assert!(!event(&rows[0]).is_too_large());
        assert!(event(&rows[1]).is_too_large());
    }

    #[test]
    fn a_refused_record_waits_longer_each_time() {
        let waits: Vec<u128> = [0, 1, 2, 3, 9, i32::MAX].map(|n| wait(n).as_millis()).to_vec();
        assert_eq!(waits, [250, 250, 500, 1000, 60_000, 60_000]);
    }
}
