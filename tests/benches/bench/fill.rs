//! Events written to the raw topic without ingest: the same records, as fast as Kafka takes them.

use crate::bodies;
use futures::future::try_join_all;
use harness::load::Payload;
use harness::system::System;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use std::time::Duration;

/// Records that are on their way at a time.
const AT_A_TIME: usize = 10_000;

/// Writes these events with the key and the headers of ingest, in this order.
pub(crate) async fn fill(system: &System, payloads: &[Payload]) -> anyhow::Result<()> {
    let kafka = kafka::Options {
        kafka_brokers: system.stack.brokers.clone(),
        kafka_topic: system.topic.name.clone(),
        kafka_config: None,
        kafka_config_file: None,
    };
    let mut config = kafka.producer_config("bench", Duration::from_secs(30))?;
    config.set("message.max.bytes", "4194304");
    let producer: FutureProducer = config.create()?;
    for chunk in payloads.chunks(AT_A_TIME) {
        let mut written = Vec::with_capacity(chunk.len());
        for payload in chunk {
            let (key, headers) = bodies::key_and_headers(&payload.body);
            let headers = headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
                headers.insert(Header { key, value: Some(value) })
            });
            let record = FutureRecord::to(&system.topic.name)
                .key(&key)
                .payload(&payload.body)
                .headers(headers);
            written.push(producer.send_result(record).map_err(|(error, _)| error)?);
        }
        for delivery in try_join_all(written).await? {
            delivery.map_err(|(error, _)| error)?;
        }
    }
    Ok(())
}
