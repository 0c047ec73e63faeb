//! The Firehose stream that domain events go to.

use std::future::Future;
use std::time::Duration;

use aws_sdk_firehose::Client;
use aws_sdk_firehose::primitives::Blob;
use aws_sdk_firehose::types::Record;
use service::exit::ConfigError;

use crate::aws;
use crate::fault::Fault;

/// Time for one call. The lease on what is being sent must be longer.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// Most records of one call.
pub(crate) const BATCH_RECORDS: usize = 500;
/// Most bytes of one call.
pub(crate) const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// Most bytes of one record, its newline included.
pub(crate) const RECORD_BYTES: usize = 1000 * 1024;

/// What the service says of one record: nothing, or the code of its error.
pub(crate) type Refusal = Option<String>;

/// Where domain events go.
pub(crate) trait EventStream: Send + Sync + 'static {
    /// Sends a batch within the limits above, a line each. The answer has an entry for each.
    fn put(&self, events: &[&str]) -> impl Future<Output = Result<Vec<Refusal>, Fault>> + Send;
}

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
    async fn put(&self, events: &[&str]) -> Result<Vec<Refusal>, Fault> {
        let doing = "sending to Firehose";
        let records = events
            .iter()
            .map(|event| Record::builder().data(Blob::new(format!("{event}\n"))).build())
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
