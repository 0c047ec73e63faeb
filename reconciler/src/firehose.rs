//! The sink `firehose`: a delivery stream.

use aws_sdk_firehose::Client;
use aws_sdk_firehose::primitives::Blob;
use aws_sdk_firehose::types::Record;
use service::exit::ConfigError;

use crate::aws;
use crate::fault::Fault;
use crate::publish::{CALL_TIMEOUT, Event, EventStream, Refusal};

/// A delivery stream.
#[derive(Debug)]
pub(crate) struct DeliveryStream {
    client: Client,
    name: String,
}

impl DeliveryStream {
    pub(crate) async fn open(name: String) -> Result<Self, ConfigError> {
        let config = aws::config(CALL_TIMEOUT).await?;
        Ok(Self { client: Client::new(&config), name })
    }
}

impl EventStream for DeliveryStream {
    async fn put(&self, events: &[Event<'_>]) -> Result<Vec<Refusal>, Fault> {
        let doing = "sending to Firehose";
        let records = events
            .iter()
            .map(|event| Record::builder().data(Blob::new(format!("{}\n", event.payload))).build())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| Fault::halt(doing, error))?;
        let answer = self
            .client
            .put_record_batch()
            .delivery_stream_name(&self.name)
            .set_records(Some(records))
            .send()
            .await
            .map_err(|error| aws::fault(doing, error))?;
        let entries = answer.request_responses;
        if entries.len() != events.len() {
            let (got, want) = (entries.len(), events.len());
            return Err(Fault::retry(doing, format!("{got} answers to {want} records")));
        }
        Ok(entries.into_iter().map(|entry| entry.error_code).collect())
    }
}
