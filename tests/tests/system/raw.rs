//! Records written to the raw topic without ingest: any bytes, any partition.

use std::time::Duration;

use domain::record::header;
use harness::system::System;
use lifecycles::Event;
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};

/// Time for one record to be acknowledged.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Writes records as they are; returns each one's partition and offset.
pub(crate) async fn write(
    system: &System,
    records: impl IntoIterator<Item = (i32, OwnedHeaders, Option<Vec<u8>>)>,
) -> Vec<(i32, i64)> {
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", &system.stack.brokers)
        .set("message.max.bytes", "20000000")
        .set("linger.ms", "5")
        .create()
        .unwrap();
    let mut written = Vec::new();
    for (partition, headers, value) in records {
        let mut record = FutureRecord::<(), Vec<u8>>::to(&system.topic.name)
            .partition(partition)
            .headers(headers);
        record.payload = value.as_ref();
        written.push(producer.send_result(record).unwrap());
    }
    let mut places = Vec::new();
    for delivery in written {
        let delivered = tokio::time::timeout(TIMEOUT, delivery).await.unwrap().unwrap();
        let delivered = delivered.unwrap();
        places.push((delivered.partition, delivered.offset));
    }
    places
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
