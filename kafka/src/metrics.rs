//! What each Kafka client tells about itself: librdkafka's statistics, as metrics.
//! <https://github.com/confluentinc/librdkafka/blob/master/STATISTICS.md>

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::statistics::{Broker, Statistics};
use service::metrics::{Counter, Gauge, Label};

use crate::Quiet;

const CLIENT: Label = Label::one_of("client", || vec!["ingest", "project", "archive", "publish"]);
const BROKER: Label = Label::number("broker", "node id of the broker");

service::metrics! {
    pub fn all;
    /// Errors of the client as a whole, which it recovers from by itself.
    pub ERRORS: Counter = "kafka_client_errors_total" [CLIENT];
    /// Messages in the producer's queue: sent to no broker, or not acknowledged yet.
    QUEUE_MESSAGES: Gauge = "kafka_client_queue_messages" [CLIENT];
    /// Bytes of these messages.
    QUEUE_BYTES: Gauge = "kafka_client_queue_bytes" [CLIENT];
    /// Most messages that the producer's queue takes.
    QUEUE_MAX_MESSAGES: Gauge = "kafka_client_queue_max_messages" [CLIENT];
    /// Most bytes that the producer's queue takes.
    QUEUE_MAX_BYTES: Gauge = "kafka_client_queue_max_bytes" [CLIENT];
    /// Messages sent to brokers.
    SENT_MESSAGES: Counter = "kafka_client_sent_messages_total" [CLIENT];
    /// Bytes of these messages, framing included.
    SENT_BYTES: Counter = "kafka_client_sent_bytes_total" [CLIENT];
    /// Messages received from brokers.
    RECEIVED_MESSAGES: Counter = "kafka_client_received_messages_total" [CLIENT];
    /// Bytes of these messages, framing included.
    RECEIVED_BYTES: Counter = "kafka_client_received_bytes_total" [CLIENT];
    /// 1 while the connection to the broker is up, else 0.
    BROKER_UP: Gauge = "kafka_client_broker_up" [CLIENT, BROKER];
    /// Mean time from a request to its response, over the last statistics interval.
    BROKER_RTT_AVG: Gauge = "kafka_client_broker_rtt_avg_seconds" [CLIENT, BROKER];
    /// 99th percentile of the same.
    BROKER_RTT_P99: Gauge = "kafka_client_broker_rtt_p99_seconds" [CLIENT, BROKER];
    /// 99th percentile of the time that messages waited in the producer's queue before they were
    /// sent, over the last statistics interval.
    BROKER_QUEUED_P99: Gauge = "kafka_client_broker_queued_p99_seconds" [CLIENT, BROKER];
    /// Requests that wait to be sent or for a response.
    BROKER_REQUESTS: Gauge = "kafka_client_broker_pending_requests" [CLIENT, BROKER];
    /// Requests that could not be sent.
    BROKER_TX_ERRORS: Counter = "kafka_client_broker_send_errors_total" [CLIENT, BROKER];
    /// Responses that could not be received.
    BROKER_RX_ERRORS: Counter = "kafka_client_broker_receive_errors_total" [CLIENT, BROKER];
    /// Requests that were sent again.
    BROKER_RETRIES: Counter = "kafka_client_broker_retries_total" [CLIENT, BROKER];
    /// Requests that got no response in time.
    BROKER_TIMEOUTS: Counter = "kafka_client_broker_timeouts_total" [CLIENT, BROKER];
    /// Connections that ended.
    BROKER_DISCONNECTS: Counter = "kafka_client_broker_disconnects_total" [CLIENT, BROKER];
}

/// How often a client with a [`Meter`] tells its statistics: `statistics.interval.ms`.
pub const STATISTICS_INTERVAL_MS: &str = "5000";

/// Keeps the metrics of one client. Its counters begin with the client, those of the process do not:
/// what one client has counted is added as it grows.
#[derive(Debug)]
pub struct Meter {
    client: &'static str,
    counted: Mutex<HashMap<(&'static str, i32), u64>>,
}

/// Stands for the client as a whole where a broker's node id is asked for.
const WHOLE: i32 = -1;

impl Meter {
    /// Of the client with this name, one of the values of the label `client`.
    pub fn new(client: &'static str) -> Self {
        Self { client, counted: Mutex::default() }
    }

    /// For the callback `error` of the client's context.
    pub fn error(&self) {
        ERRORS.with([self.client]).increment(1);
    }

    /// For the callback `stats` of the client's context.
    #[expect(clippy::cast_precision_loss, reason = "gauges")]
    pub fn observe(&self, statistics: &Statistics) {
        let client = [self.client];
        if statistics.client_type == "producer" {
            QUEUE_MESSAGES.with(client).set(statistics.msg_cnt as f64);
            QUEUE_BYTES.with(client).set(statistics.msg_size as f64);
            QUEUE_MAX_MESSAGES.with(client).set(statistics.msg_max as f64);
            QUEUE_MAX_BYTES.with(client).set(statistics.msg_size_max as f64);
        }
        for (name, total, counter) in [
            ("txmsgs", statistics.txmsgs, SENT_MESSAGES.with(client)),
            ("txmsg_bytes", statistics.txmsg_bytes, SENT_BYTES.with(client)),
            ("rxmsgs", statistics.rxmsgs, RECEIVED_MESSAGES.with(client)),
            ("rxmsg_bytes", statistics.rxmsg_bytes, RECEIVED_BYTES.with(client)),
        ] {
            self.count((name, WHOLE), u64::try_from(total).unwrap_or_default(), &counter);
        }
        // What bootstrap addresses stand for has no node id yet; the coordinator is one of the others.
        for broker in statistics.brokers.values().filter(|broker| broker.nodeid >= 0) {
            if broker.source != "logical" {
                self.observe_broker(broker);
            }
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "gauges")]
    fn observe_broker(&self, broker: &Broker) {
        let id = broker.nodeid.to_string();
        let series = [self.client, id.as_str()];
        let seconds = |microseconds: i64| microseconds as f64 / 1e6;
        BROKER_UP.with(series).set(u8::from(broker.state == "UP"));
        let pending = broker.outbuf_cnt.max(0) + broker.waitresp_cnt.max(0);
        BROKER_REQUESTS.with(series).set(pending as f64);
        if let Some(rtt) = &broker.rtt {
            BROKER_RTT_AVG.with(series).set(seconds(rtt.avg));
            BROKER_RTT_P99.with(series).set(seconds(rtt.p99));
        }
        if let Some(queued) = &broker.int_latency {
            BROKER_QUEUED_P99.with(series).set(seconds(queued.p99));
        }
        let disconnects = u64::try_from(broker.disconnects.unwrap_or_default()).unwrap_or_default();
        for (name, total, counter) in [
            ("txerrs", broker.txerrs, BROKER_TX_ERRORS.with(series)),
            ("rxerrs", broker.rxerrs, BROKER_RX_ERRORS.with(series)),
            ("txretries", broker.txretries, BROKER_RETRIES.with(series)),
            ("req_timeouts", broker.req_timeouts, BROKER_TIMEOUTS.with(series)),
            ("disconnects", disconnects, BROKER_DISCONNECTS.with(series)),
        ] {
            self.count((name, broker.nodeid), total, &counter);
        }
    }

    fn count(&self, of: (&'static str, i32), total: u64, counter: &Counter) {
        let mut totals = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let before = totals.insert(of, total).unwrap_or_default();
        counter.increment(total.saturating_sub(before));
    }
}

/// The context of a client whose user reports what failed, as [`Quiet`](crate::Quiet), and that
/// keeps its metrics.
#[derive(Debug)]
pub struct Metered(Meter);

impl Metered {
    /// Of the client with this name, one of the values of the label `client`.
    pub fn new(client: &'static str) -> Self {
        Self(Meter::new(client))
    }
}

impl ClientContext for Metered {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        Quiet.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.error();
        Quiet.error(error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        self.0.observe(&statistics);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_document_says_what_the_list_says() {
        service::metrics::document::check("kafka", &super::all());
    }
}
