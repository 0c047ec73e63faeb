//! Tests of [`super`] against librdkafka's own mock brokers.

use std::time::Instant;

use clap::Parser as _;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use super::*;

const TOPIC: &str = "raw";

#[derive(clap::Parser)]
struct Cli {
    #[command(flatten)]
    settings: Settings,
}

fn cluster() -> MockCluster<'static, DefaultProducerContext> {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic(TOPIC, 1, 1).unwrap();
    cluster
}

fn publisher(
    cluster: &MockCluster<'static, DefaultProducerContext>,
    more: &[&str],
) -> KafkaPublisher {
    let brokers = cluster.bootstrap_servers();
    let args = ["test", "--kafka-brokers", &brokers, "--kafka-topic", TOPIC];
    let settings = Cli::try_parse_from(args.iter().chain(more)).unwrap().settings;
    KafkaPublisher::new(&settings).unwrap()
}

async fn publish(publisher: &KafkaPublisher, body: &[u8]) -> Result<(), PublishError> {
    let record = Record { key: "pi_1", body, headers: vec![("source", b"webhook")] };
    publisher.publish(&record)?.await.unwrap_or(Err(PublishError::Fatal))
}

/// Publishes until Kafka acknowledges. A producer that has just connected may need longer for its
/// first record than a short delivery time allows.
async fn publish_until_acknowledged(publisher: &KafkaPublisher) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while publish(publisher, b"{}").await.is_err() {
        assert!(Instant::now() < deadline, "nothing is acknowledged");
    }
}

#[tokio::test]
async fn a_record_is_acknowledged_and_one_too_large_is_refused_at_once() {
    let cluster = cluster();
    let publisher = publisher(&cluster, &["--ingest-max-body-bytes", "1000"]);
    assert_eq!(publish(&publisher, b"{}").await, Ok(()));
    let large = vec![b'x'; 100_000];
    assert_eq!(publish(&publisher, &large).await, Err(PublishError::TooLarge));
}

#[tokio::test]
async fn without_brokers_the_delivery_time_is_the_limit_and_their_return_heals() {
    let cluster = cluster();
    let publisher = publisher(&cluster, &["--kafka-delivery-timeout", "1s"]);
    publish_until_acknowledged(&publisher).await;
    cluster.broker_down(1).unwrap();
    let started = Instant::now();
    assert_eq!(publish(&publisher, b"{}").await, Err(PublishError::TimedOut));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    cluster.broker_up(1).unwrap();
    publish_until_acknowledged(&publisher).await;
}

#[tokio::test]
async fn a_full_queue_is_told_at_once() {
    let cluster = cluster();
    let publisher = publisher(&cluster, &["--ingest-max-in-flight", "1"]);
    cluster.broker_down(1).unwrap();
    let record = Record { key: "k", body: b"{}", headers: vec![] };
    let waiting: Vec<_> = std::iter::repeat_with(|| publisher.publish(&record)).take(5).collect();
    assert!(waiting[0].is_ok());
    assert_eq!(waiting.into_iter().last().unwrap().unwrap_err(), PublishError::QueueFull);
}

#[tokio::test]
async fn a_producer_that_failed_fatally_is_replaced() {
    let cluster = cluster();
    let publisher = Arc::new(publisher(&cluster, &[]));
    let readiness = Readiness::default();
    tokio::spawn(Arc::clone(&publisher).keep_working(readiness.clone()));
    assert_eq!(publish(&publisher, b"{}").await, Ok(()));
    let first = publisher.current.load_full();

    cluster.request_errors(
        RDKafkaApiKey::Produce,
        &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER],
    );
    assert!(publish(&publisher, b"{}").await.is_err());
    let deadline = Instant::now() + Duration::from_secs(30);
    while Arc::ptr_eq(&first, &publisher.current.load_full()) {
        assert!(Instant::now() < deadline, "the producer was not replaced");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(publish(&publisher, b"{}").await, Ok(()));
    assert!(readiness.reasons().is_empty());
}

#[tokio::test]
async fn a_partition_is_stalled_while_its_records_time_out_and_none_is_acknowledged() {
    let cluster = cluster();
    let publisher = publisher(&cluster, &["--kafka-delivery-timeout", "1s"]);
    let stalled = || publisher.current.load().client().context().stalled();
    publish_until_acknowledged(&publisher).await;
    assert!(stalled().is_empty());
    cluster.broker_down(1).unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while stalled().is_empty() {
        assert!(Instant::now() < deadline, "no stall is seen");
        assert!(publish(&publisher, b"{}").await.is_err());
    }
    // Nobody leads the partition, so a new producer would be no better.
    let current = publisher.current.load_full();
    assert!(publisher.create_if_stuck(&current).await.is_none());
    cluster.broker_up(1).unwrap();
    while !stalled().is_empty() {
        assert!(Instant::now() < deadline, "the stall is not over");
        let _ = publish(&publisher, b"{}").await;
    }
}

#[test]
fn the_promises_win_over_the_operators_properties() {
    let settings = |config: &str| {
        let args = ["test", "--kafka-brokers", "none:1", "--kafka-config", config];
        Cli::try_parse_from(args).unwrap().settings
    };
    let made =
        config(&settings("acks=1,enable.idempotence=false,linger.ms=50,delivery.timeout.ms=1"))
            .unwrap();
    assert_eq!(made.get("acks"), Some("all"));
    assert_eq!(made.get("enable.idempotence"), Some("true"));
    assert_eq!(made.get("message.timeout.ms"), Some("8000"));
    assert_eq!(made.get("linger.ms"), Some("50"));
    let need: usize = made.get("message.max.bytes").unwrap().parse().unwrap();
    assert!(need > (1 << 20) + (16 << 10));
}

fn checked(more: &[&str]) -> Result<(), String> {
    let args = ["test", "--kafka-brokers", "none:1"];
    let settings = Cli::try_parse_from(args.iter().chain(more)).unwrap().settings;
    settings.check().and_then(|()| KafkaPublisher::check(&settings)).map_err(|e| e.to_string())
}

#[test]
fn a_check_refuses_what_a_producer_would_refuse() {
    assert_eq!(checked(&["--kafka-config", "metadata.broker.list=127.0.0.1:1"]), Ok(()));
    for config in [
        "retries=0",
        "max.in.flight=10",
        "security.protocol=ssl,ssl.ca.location=/nonexistent",
        "security.protocol=sasl_plaintext,sasl.mechanism=FOO",
    ] {
        let problem = checked(&["--kafka-config", config]).unwrap_err();
        assert!(problem.starts_with("KAFKA_CONFIG: "), "{config}: {problem}");
    }
}

#[test]
fn limits_that_librdkafka_cannot_hold_are_refused_by_their_own_names() {
    let largest = ["--ingest-max-header-bytes=1MiB", "--ingest-max-in-flight-bytes=2GiB"];
    let with = |more: &[&'static str]| checked(&[&largest, more].concat());
    let allowed = ["--ingest-max-in-flight=1000000", "--ingest-max-body-bytes=900MiB"];
    assert_eq!(with(&allowed), Ok(()));
    let problem = with(&["--ingest-max-in-flight=1000001"]).unwrap_err();
    assert!(problem.starts_with("INGEST_MAX_IN_FLIGHT: must be from 1 to 1000000"), "{problem}");
    let problem = with(&["--ingest-max-body-bytes=901MiB"]).unwrap_err();
    assert!(problem.starts_with("INGEST_MAX_BODY_BYTES: must be from 1 to 900MiB"), "{problem}");
}
