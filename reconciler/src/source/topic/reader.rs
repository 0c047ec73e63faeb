//! The thread that reads one range.

use std::time::{Duration, Instant};

use domain::record::RawRecord;
use rdkafka::Message as _;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::sync::mpsc;

use super::{POLL, ROLE, Silent};
use crate::fault::Fault;
use crate::feed::copy;
use crate::source::{Chunk, Range, ReadError};

/// Records, and bytes, of one chunk.
const CHUNK_RECORDS: usize = 500;
const CHUNK_BYTES: usize = 1024 * 1024;
/// Silence after which reading is given up.
const SILENCE: Duration = Duration::from_mins(2);

/// Reads one range.
pub(super) struct Reader {
    pub(super) range: Range,
    pub(super) next: i64,
    pub(super) queue: PartitionQueue<Silent>,
    pub(super) send: mpsc::Sender<Result<Chunk, ReadError>>,
}

/// What polling came to.
enum Polled {
    More,
    Nothing,
    End,
}

impl Reader {
    pub(super) fn run(mut self) {
        let mut heard = Instant::now();
        loop {
            let mut records = Vec::new();
            let mut bytes = 0;
            let mut polled = Polled::More;
            while records.len() < CHUNK_RECORDS && bytes < CHUNK_BYTES {
                polled = match self.poll(&mut records) {
                    Ok(polled) => polled,
                    Err(fault) => return drop(self.send.blocking_send(Err(fault.into()))),
                };
                match polled {
                    Polled::More => {
                        bytes += records.last().map_or(0, RawRecord::size);
                    }
                    Polled::Nothing | Polled::End => break,
                }
            }
            let is_end = matches!(polled, Polled::End);
            if !records.is_empty() || is_end {
                heard = Instant::now();
                let next_offset = if is_end { self.range.to } else { self.next };
                let chunk = Chunk { records, erased: 0, next_offset, room: None };
                if self.send.blocking_send(Ok(chunk)).is_err() || is_end {
                    return;
                }
            } else if self.send.is_closed() {
                return;
            } else if heard.elapsed() > SILENCE {
                let silence = format!("Kafka has sent nothing for {} s", SILENCE.as_secs());
                let fault = Fault::halt("reading the topic", silence);
                return drop(self.send.blocking_send(Err(fault.into())));
            }
        }
    }

    fn poll(&mut self, records: &mut Vec<RawRecord>) -> Result<Polled, Fault> {
        if self.next >= self.range.to {
            return Ok(Polled::End);
        }
        match self.queue.poll(POLL) {
            None => Ok(Polled::Nothing),
            Some(Ok(message)) if message.offset() >= self.range.to => Ok(Polled::End),
            Some(Ok(message)) => {
                self.next = message.offset() + 1;
                records.push(copy(&message));
                Ok(Polled::More)
            }
            // The ends were fixed before: all that is in the range has come.
            Some(Err(KafkaError::PartitionEOF(_))) => Ok(Polled::End),
            Some(Err(error)) => self.heed(&error).map(|()| Polled::Nothing),
        }
    }

    fn heed(&self, error: &KafkaError) -> Result<(), Fault> {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                let (partition, from) = (self.range.partition, self.next);
                let said = format!(
                    "partition {partition}: retention has deleted offset {from} while the range was \
                     read. The archive has it: `reconciler replay archive`"
                );
                Err(Fault::halt("reading the topic", said))
            }
            Some(RDKafkaErrorCode::Fatal) => {
                Err(Fault::halt("reading the topic", error.to_string()))
            }
            // librdkafka goes on by itself.
            _ => {
                tracing::debug!(role = ROLE, %error, "consuming");
                Ok(())
            }
        }
    }
}
