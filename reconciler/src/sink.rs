//! The sinks that domain events go to.

use clap::ValueEnum;

/// A place that domain events go to, each with its own queue and lag (docs/adr/0017-sinks.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Sink {
    /// A delivery stream of Firehose
    Firehose,
    /// A topic of Kafka
    Kafka,
}

impl Sink {
    /// Every sink.
    pub const ALL: [Self; 2] = [Self::Firehose, Self::Kafka];

    /// Its name in settings, logs, metrics and `pay.outbox`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Firehose => "firehose",
            Self::Kafka => "kafka",
        }
    }
}
