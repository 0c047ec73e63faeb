//! What is told of a batch that was applied: metrics, and spans of the records that are traced.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use domain::catalog;
use service::traces::{Place, SpanKind, Traces};

use super::ROLE;
use crate::metrics;
use crate::store::{Applied, Item};

/// Counts a batch that was applied.
#[expect(clippy::cast_precision_loss, reason = "metrics are floats")]
pub(super) fn measure(records: usize, applied: &Applied, took: Duration) {
    metrics::CONSUMED.with([ROLE]).increment(records as u64);
    metrics::BATCH.with([ROLE]).record(records as f64);
    metrics::APPLY_SECONDS.only().record(took.as_secs_f64());
    for (verdict, count) in &applied.verdicts {
        metrics::EVENTS.with([verdict.as_str()]).increment(*count);
    }
    if !applied.quarantined.is_empty() {
        let reasons = &applied.quarantined;
        tracing::warn!(role = ROLE, ?reasons, "to quarantine; see `reconciler quarantine list`");
    }
    for (modelled, count) in &applied.types {
        metrics::EVENT_TYPES.with([modelled.unwrap_or(metrics::OTHER)]).increment(*count);
    }
    for (reason, count) in &applied.quarantined {
        metrics::QUARANTINED.with([*reason]).increment(*count);
    }
    metrics::QUEUED.only().increment(applied.published);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let webhook_to_row = metrics::WEBHOOK_TO_ROW.only();
    for received_at_ms in &applied.received_at_ms {
        let latency = now.as_millis() as f64 - *received_at_ms as f64;
        webhook_to_row.record(latency.max(0.0) / 1000.0);
    }
    if let Some(created) = applied.newest_created {
        metrics::NEWEST_APPLIED.only().set(created as f64);
    }
}

/// A span for each record whose trace is sent, from the batch's begin to its commit: the last part of
/// the way that began with the request. Nothing of a body is among the attributes but the event's id.
pub(super) fn trace(traces: &Traces, items: &[Item], began: SystemTime) {
    if !traces.is_on() {
        return;
    }
    let batch = i64::try_from(items.len()).unwrap_or(i64::MAX);
    for Item { record, outcome } in items {
        let Ok(decoded) = outcome else { continue };
        let event = &decoded.event;
        let Some(parent) = event.traceparent else { continue };
        let (trace_id, span_id, sampled) = (parent.trace_id, parent.span_id, parent.sampled);
        let place = Place { trace_id, span_id, sampled };
        let span = traces.span("apply", SpanKind::Consumer, Some(place), began);
        let Some(mut span) = span else { continue };
        span.set("messaging.system", "kafka");
        span.set("messaging.operation.type", "process");
        span.set("messaging.destination.partition.id", record.partition.to_string());
        span.set("messaging.kafka.offset", record.offset);
        span.set("messaging.batch.message_count", batch);
        span.set("stripe.event.id", event.id.clone());
        let modelled = catalog::modelled(&event.kind);
        span.set("stripe.event.type", modelled.unwrap_or(metrics::OTHER));
    }
}
