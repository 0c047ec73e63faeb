//! Tests of [`super`] against librdkafka's own mock brokers.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{Offset, TopicPartitionList};

use super::*;

type Cluster = MockCluster<'static, DefaultProducerContext>;

const TOPIC: &str = "domain";

fn cluster() -> Cluster {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic(TOPIC, 1, 1).unwrap();
    cluster
}

fn open(cluster: &Cluster) -> DomainTopic {
    let kafka = kafka::Options {
        kafka_brokers: cluster.bootstrap_servers(),
        kafka_topic: "raw".to_owned(),
        kafka_config: None,
        kafka_config_file: None,
    };
    DomainTopic {
        name: TOPIC.to_owned(),
        config: config(&kafka).unwrap(),
        producer: Mutex::default(),
    }
}

fn event<'a>(subject: &'a str, payload: &'a str) -> Event<'a> {
    Event { subject, payload }
}

/// Key, header and value of what the topic holds.
fn records(cluster: &Cluster, count: usize) -> Vec<(String, String, String)> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .set("group.id", "test")
        .create()
        .unwrap();
    let mut from = TopicPartitionList::new();
    from.add_partition_offset(TOPIC, 0, Offset::Beginning).unwrap();
    consumer.assign(&from).unwrap();
    let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
    let record = || {
        let message = consumer.poll(Duration::from_secs(20)).unwrap().unwrap();
        let header = message.headers().unwrap().get(0);
        assert_eq!(header.key, "content-type");
        (text(message.key()), text(header.value), text(message.payload()))
    };
    (0..count).map(|_| record()).collect()
}

#[tokio::test]
async fn a_record_is_a_cloud_event_under_its_subject() {
    let cluster = cluster();
    let topic = open(&cluster);
    let answers = topic.put(&[event("pi_1", "{\"a\":1}"), event("ch_1:5", "{}")]).await.unwrap();
    assert_eq!(answers, [None, None]);
    let kind = "application/cloudevents+json".to_owned();
    let expected = [
        ("pi_1".to_owned(), kind.clone(), "{\"a\":1}".to_owned()),
        ("ch_1:5".to_owned(), kind, "{}".to_owned()),
    ];
    assert_eq!(records(&cluster, 2), expected);
}

#[tokio::test]
async fn a_record_too_large_is_refused_and_its_neighbours_are_not() {
    let cluster = cluster();
    let topic = open(&cluster);
    let large = "x".repeat(NEED_BYTES + 1);
    let answers = topic.put(&[event("a", "{}"), event("b", &large), event("c", "{}")]).await;
    let refused = Some("MessageSizeTooLarge".to_owned());
    assert_eq!(answers.unwrap(), [None, refused, None]);
    assert!(topic.producer.lock().unwrap().is_some(), "the producer is not at fault");
}

#[tokio::test]
async fn a_producer_that_failed_fatally_is_replaced() {
    let cluster = cluster();
    let topic = open(&cluster);
    assert_eq!(topic.put(&[event("a", "{}")]).await.unwrap(), [None]);
    cluster.request_errors(
        RDKafkaApiKey::Produce,
        &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER],
    );
    let fault = topic.put(&[event("b", "{}")]).await.unwrap_err();
    assert!(fault.decision.is_transient(), "{fault}");
    assert!(topic.producer.lock().unwrap().is_none());
    assert_eq!(topic.put(&[event("b", "{}")]).await.unwrap(), [None]);
}
