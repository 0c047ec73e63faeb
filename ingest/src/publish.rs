//! What it takes to make a record durable, without saying where.

use tokio::sync::oneshot;

/// A record on its way to the raw topic, borrowing from the request.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    /// The aggregate, for locality.
    pub(crate) key: &'a str,
    /// The body, byte for byte.
    pub(crate) body: &'a [u8],
    /// Headers that are known.
    pub(crate) headers: Vec<(&'static str, &'a [u8])>,
}

/// Why a record is not known to be durable. It may still have been written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PublishError {
    /// There is no room for it now.
    #[error("the producer's queue is full")]
    QueueFull,
    /// It will never fit.
    #[error("Kafka refuses a record of this size")]
    TooLarge,
    /// No acknowledgement within the delivery time.
    #[error("Kafka did not acknowledge in time")]
    TimedOut,
    /// The producer can do nothing any more and is being replaced.
    #[error("the producer failed fatally")]
    Fatal,
    /// Anything else that Kafka says.
    #[error("Kafka: {0}")]
    Rejected(String),
}

impl PublishError {
    /// Every stable name.
    pub(crate) const CODES: [&'static str; 5] =
        ["queue_full", "too_large", "timed_out", "fatal", "rejected"];

    /// A stable name, a metric's label.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::TooLarge => "too_large",
            Self::TimedOut => "timed_out",
            Self::Fatal => "fatal",
            Self::Rejected(_) => "rejected",
        }
    }
}

/// The broker's word on one record. A sender that is dropped counts as no acknowledgement.
pub(crate) type Acknowledgement = oneshot::Receiver<Result<(), PublishError>>;

/// Where verified requests go: Kafka, or in tests something that fails as told.
pub(crate) trait Publish: Send + Sync + 'static {
    /// Takes a copy of the record and never waits; the acknowledgement comes later.
    fn publish(&self, record: &Record<'_>) -> Result<Acknowledgement, PublishError>;
}
