//! Records written to the raw topic without ingest: any bytes, any partition.

use domain::record::header;
use harness::system::System;
use lifecycles::Event;
use rdkafka::message::{Header, OwnedHeaders};

/// Writes records as they are; returns each one's partition and offset.
pub(crate) async fn write(
    system: &System,
    records: impl IntoIterator<Item = (i32, OwnedHeaders, Option<Vec<u8>>)>,
) -> Vec<(i32, i64)> {
    system.topic.write(records).await.unwrap()
}

/// The headers that every record of ingest's has.
pub(crate) fn from_webhook() -> OwnedHeaders {
    OwnedHeaders::new().insert(Header { key: header::SOURCE, value: Some("webhook") })
}

/// Writes events, neighbours on different partitions, as the worst key would spread them.
pub(crate) async fn write_events(system: &System, events: &[Event], partitions: usize) {
    let records = events.iter().enumerate().map(|(index, event)| {
        let partition = i32::try_from(index % partitions).unwrap();
        (partition, from_webhook(), Some(event.to_body().into_bytes()))
    });
    write(system, records).await;
}
