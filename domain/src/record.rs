//! The raw topic's record: what ingest writes and every role reads.

use bytes::Bytes;

/// Header names of the raw topic. A header is absent when its value is unknown.
pub mod header {
    /// Stripe's event id (`evt_…`), or `fetch_` and a hash for a fetched object.
    pub const EVENT_ID: &str = "event_id";
    /// Stripe's event type, such as `charge.succeeded`.
    pub const EVENT_TYPE: &str = "event_type";
    /// Name of the endpoint that received the webhook.
    pub const ENDPOINT: &str = "endpoint";
    /// Stripe account that owns the object.
    pub const ACCOUNT: &str = "account";
    /// API version that shaped the payload.
    pub const API_VERSION: &str = "api_version";
    /// `true` or `false`.
    pub const LIVEMODE: &str = "livemode";
    /// Stripe's time of the event, Unix seconds.
    pub const CREATED: &str = "created";
    /// Our time of receipt, Unix milliseconds.
    pub const RECEIVED_AT: &str = "received_at";
    /// The whole `Stripe-Signature` header, so that it can be verified again years later.
    pub const STRIPE_SIGNATURE: &str = "stripe_signature";
    /// W3C Trace Context of the request.
    pub const TRACEPARENT: &str = "traceparent";
    /// How the record was learnt: `webhook`, `stripe_list` or `stripe_fetch`.
    pub const SOURCE: &str = "source";
}

/// One record of the raw topic, as Kafka holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawRecord {
    /// Partition of the topic.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// Kafka's timestamp, Unix milliseconds.
    pub timestamp_ms: i64,
    /// Record key, for locality only.
    pub key: Option<Bytes>,
    /// Headers in their order; names may repeat, values may be null.
    pub headers: Vec<(String, Option<Bytes>)>,
    /// The body, byte for byte. `None` is Kafka's null.
    pub value: Option<Bytes>,
}

impl RawRecord {
    /// The last header of this name that is UTF-8, as Kafka's own `lastHeader` reads it.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().rev().find(|(key, _)| key == name)?;
        std::str::from_utf8(value.as_deref()?).ok()
    }

    /// Bytes of key, headers and value: what a limit on memory counts.
    pub fn size(&self) -> usize {
        let headers: usize = self
            .headers
            .iter()
            .map(|(name, value)| name.len() + value.as_ref().map_or(0, Bytes::len))
            .sum();
        headers
            + self.key.as_ref().map_or(0, Bytes::len)
            + self.value.as_ref().map_or(0, Bytes::len)
    }
}
