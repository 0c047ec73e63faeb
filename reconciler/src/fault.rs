//! Errors that carry a decision. A role never matches on a message: it does what the fault says.

mod cause;

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use kafka::topic::TopicError;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

pub(crate) use self::cause::Cause;
use crate::metrics;

/// What to do about a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The same again, later.
    Retry,
    /// The same again, later, on a new connection: this one leads to a server that is gone,
    /// going, or no longer the primary.
    Reconnect,
    /// The data is at fault: find the one record, set it aside, go on with the others.
    Isolate,
    /// The breaker has tripped: stay up, commit nothing, and wait for a person to resume.
    Pause,
    /// Stop this role and call a person. Going on could lose or falsify something.
    Halt,
}

impl Decision {
    /// Every decision.
    pub(crate) const ALL: [Self; 5] =
        [Self::Retry, Self::Reconnect, Self::Isolate, Self::Pause, Self::Halt];

    /// Whether trying again can help without anybody changing anything.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Retry | Self::Reconnect)
    }

    /// The label of a metric.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Reconnect => "reconnect",
            Self::Isolate => "isolate",
            Self::Pause => "pause",
            Self::Halt => "halt",
        }
    }
}

/// What went wrong, where, and what to do about it.
#[derive(Debug)]
pub struct Fault {
    /// What to do.
    pub decision: Decision,
    doing: &'static str,
    source: Box<dyn Error + Send + Sync>,
    for_a_person: bool,
    cause: Cause,
}

impl Fault {
    /// A fault while `doing` something, such as "claiming from the outbox".
    pub(crate) fn new(
        decision: Decision,
        doing: &'static str,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self { decision, doing, source: source.into(), for_a_person: false, cause: Cause::Other }
    }

    /// It is tried again, but it will not pass until somebody changes something.
    #[must_use]
    pub(crate) fn for_a_person(self) -> Self {
        Self { for_a_person: true, ..self }
    }

    /// Why it must be tried again, for the metrics.
    #[must_use]
    pub(crate) fn because(self, cause: Cause) -> Self {
        Self { cause, ..self }
    }

    /// Why it must be tried again.
    pub(crate) fn cause(&self) -> Cause {
        self.cause
    }

    /// A fault that stops the role.
    pub(crate) fn halt(
        doing: &'static str,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self::new(Decision::Halt, doing, source)
    }

    /// A fault that passes.
    pub(crate) fn retry(
        doing: &'static str,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self::new(Decision::Retry, doing, source)
    }

    /// A fault of Postgres, classified by its SQLSTATE.
    pub(crate) fn postgres(doing: &'static str, error: sqlx::Error) -> Self {
        let (decision, cause) = (of_sqlx(&error), Cause::of_sqlx(&error));
        // The server quotes values in its messages about data; ours must not end in a log.
        let values = matches!(&error, sqlx::Error::Database(database)
            if database.code().is_some_and(|code| of_sqlstate(&code) == Decision::Isolate));
        if values && let sqlx::Error::Database(database) = &error {
            let code = database.code().unwrap_or_default();
            let place = [database.table(), database.constraint()].map(Option::unwrap_or_default);
            return Self::new(decision, doing, format!("SQLSTATE {code} {}", place.join(" ")));
        }
        Self::new(decision, doing, error).because(cause)
    }

    /// A fault of the Kafka client.
    pub(crate) fn kafka(doing: &'static str, error: KafkaError) -> Self {
        Self::new(of_kafka(&error), doing, error)
    }

    /// A topic cannot be used, or cannot be asked.
    pub(crate) fn topic(error: TopicError) -> Self {
        let decision = if error.is_transient() { Decision::Retry } else { Decision::Halt };
        Self::new(decision, "describing a topic", error)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.doing, self.source)?;
        // The SDKs keep what a person needs in the causes.
        let mut cause = self.source.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// Display already tells the causes, so there is no `source` to tell them twice.
impl Error for Fault {}

fn of_sqlx(error: &sqlx::Error) -> Decision {
    use sqlx::Error as E;
    match error {
        E::Database(database) => database.code().map_or(Decision::Halt, |code| of_sqlstate(&code)),
        E::Io(_) | E::Tls(_) | E::Protocol(_) | E::WorkerCrashed => Decision::Reconnect,
        E::PoolTimedOut => Decision::Retry,
        _ => Decision::Halt,
    }
}

fn of_sqlstate(code: &str) -> Decision {
    match code {
        // Lock not available.
        "55P03" => Decision::Retry,
        // Read-only transaction: a demoted primary.
        "25006" => Decision::Reconnect,
        _ => match code.get(..2) {
            // Serialization failure and deadlock; out of memory, disk or connections.
            Some("40" | "53") => Decision::Retry,
            // Connection lost; server shutting down, or the statement's time-out.
            Some("08" | "57") => Decision::Reconnect,
            // Data the server cannot take; a constraint; a limit of the server's own.
            Some("22" | "23" | "54") => Decision::Isolate,
            _ => Decision::Halt,
        },
    }
}

fn of_kafka(error: &KafkaError) -> Decision {
    match error {
        KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_) => Decision::Halt,
        other => match other.rdkafka_error_code() {
            Some(RDKafkaErrorCode::Fatal) => Decision::Reconnect,
            _ => Decision::Retry,
        },
    }
}

/// Delays between attempts: doubling from `first` up to `cap`, each with jitter, without end.
#[derive(Debug)]
pub(crate) struct Backoff {
    builder: ExponentialBuilder,
    delays: ExponentialBackoff,
    cap: Duration,
}

impl Backoff {
    /// Starts at `first`; no delay is much longer than `cap`.
    pub(crate) fn new(first: Duration, cap: Duration) -> Self {
        let builder = ExponentialBuilder::new()
            .with_min_delay(first)
            .with_max_delay(cap)
            .with_jitter()
            .without_max_times();
        Self { builder, delays: builder.build(), cap }
    }

    /// How long to wait before the next attempt.
    pub(crate) fn delay(&mut self) -> Duration {
        // Jitter adds up to one delay on top.
        self.delays.next().unwrap_or(self.cap).min(self.cap)
    }

    /// It worked: start over.
    pub(crate) fn reset(&mut self) {
        self.delays = self.builder.build();
    }
}

impl Default for Backoff {
    /// From 100 ms to 15 s.
    fn default() -> Self {
        Self::new(Duration::from_millis(100), Duration::from_secs(15))
    }
}

/// Calls `attempt` until it succeeds or fails for good. Each failure that passes is logged once,
/// here, and counted by role. Cancel it by dropping it.
pub(crate) async fn persist<T, F: Future<Output = Result<T, Fault>>>(
    role: &'static str,
    mut attempt: impl FnMut() -> F,
) -> Result<T, Fault> {
    let mut backoff = Backoff::default();
    loop {
        match attempt().await {
            Err(fault) if fault.decision.is_transient() => {
                let delay = backoff.delay();
                note(role, &fault, delay);
                tokio::time::sleep(delay).await;
            }
            settled => return settled,
        }
    }
}

/// Counts a fault where it is handled.
pub(crate) fn count(role: &'static str, fault: &Fault) {
    metrics::FAULTS.with([role, fault.decision.as_str()]).increment(1);
}

/// Logs and counts a fault that will be tried again after `delay`.
pub(crate) fn note(role: &'static str, fault: &Fault, delay: Duration) {
    count(role, fault);
    let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
    if fault.for_a_person {
        tracing::error!(role, %fault, delay_ms, "needs a person; trying again");
    } else {
        tracing::warn!(role, %fault, delay_ms, "trying again");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postgres_is_classified_by_its_sqlstate() {
        use Decision::{Halt, Isolate, Reconnect, Retry};
        let table = [
            ("40001", Retry),
            ("40P01", Retry),
            ("53300", Retry),
            ("55P03", Retry),
            ("08006", Reconnect),
            ("57P01", Reconnect),
            ("57014", Reconnect),
            ("25006", Reconnect),
            ("22P05", Isolate),
            ("22021", Isolate),
            ("23514", Isolate),
            ("54000", Isolate),
            ("42P01", Halt),
            ("55000", Halt),
            ("25P02", Halt),
            ("XX000", Halt),
            ("", Halt),
        ];
        for (code, decision) in table {
            assert_eq!(of_sqlstate(code), decision, "{code}");
        }
    }

    #[test]
    fn what_the_driver_says_itself_is_classified_too() {
        let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        assert_eq!(of_sqlx(&sqlx::Error::Io(reset)), Decision::Reconnect);
        assert_eq!(of_sqlx(&sqlx::Error::PoolTimedOut), Decision::Retry);
        assert_eq!(of_sqlx(&sqlx::Error::RowNotFound), Decision::Halt);
    }

    #[test]
    fn kafka_is_retried_unless_the_client_cannot_be_made() {
        let down = KafkaError::MessageConsumption(RDKafkaErrorCode::AllBrokersDown);
        assert_eq!(of_kafka(&down), Decision::Retry);
        let fatal = KafkaError::MessageConsumptionFatal(RDKafkaErrorCode::Fatal);
        assert_eq!(of_kafka(&fatal), Decision::Reconnect);
        assert_eq!(of_kafka(&KafkaError::ClientCreation(String::new())), Decision::Halt);
    }

    #[test]
    fn delays_grow_to_the_cap_and_start_over() {
        let (first, cap) = (Duration::from_millis(10), Duration::from_millis(80));
        let mut backoff = Backoff::new(first, cap);
        let delays: Vec<_> = (0..50).map(|_| backoff.delay()).collect();
        assert!(delays[0] >= first && delays[0] <= 2 * first, "{delays:?}");
        assert!(delays[4..].iter().all(|&delay| delay == cap), "{delays:?}");
        backoff.reset();
        assert!(backoff.delay() <= 2 * first);
    }

    #[test]
    fn the_text_names_every_cause() {
        let io = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        let fault = Fault::postgres("loading positions", sqlx::Error::Io(io));
        let text = fault.to_string();
        assert!(text.starts_with("loading positions: "), "{text}");
        assert!(text.contains("connection reset"), "{text}");
    }
}
