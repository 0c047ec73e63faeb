//! Every setting of the listener, with its flag, variable and default.
// A field has the name of its variable.
#![allow(clippy::struct_field_names)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use domain::endpoint::Endpoints;
use service::exit::ConfigError;
use service::secret::{self, ExposeSecret as _, SecretString};
use service::units;

/// What keys and headers may add to a record beside the body and the signature header, in bytes:
/// eight texts of at most 255, their names, numbers and framing.
const RECORD_OVERHEAD: usize = 4096;
/// Most of anything that is counted. The producer's queue has room for all that may be in flight;
/// with the largest headers, librdkafka's own limit of 2 TiB (`queue.buffering.max.kbytes`) is near.
const COUNT_MAX: usize = 1_000_000;
/// Largest body, in bytes: with the largest headers it stays within what librdkafka takes as a
/// message, 1,000,000,000 bytes (`message.max.bytes`).
const BODY_BYTES_MAX: usize = 900 << 20;

/// The settings of `ingest serve`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Settings {
    /// Check the configuration, say what it is, and end; nothing is opened
    #[arg(long)]
    pub(crate) check_config: bool,
    /// Where Stripe's requests arrive: HTTP/1.1 and HTTP/2 without TLS
    #[arg(long, env, default_value = "0.0.0.0:8080")]
    pub(crate) ingest_listen: SocketAddr,
    /// Where `/livez`, `/readyz` and `/metrics` are
    #[arg(long, env, default_value = "127.0.0.1:9464")]
    pub(crate) ingest_admin_listen: SocketAddr,
    #[command(flatten)]
    pub(crate) stripe: Stripe,
    #[command(flatten)]
    pub(crate) kafka: kafka::Options,
    /// How long Kafka may take to acknowledge a record before the answer is 503
    #[arg(long, env, default_value = "8s", value_parser = units::duration,
          help_heading = "Kafka")]
    pub(crate) kafka_delivery_timeout: Duration,
    #[command(flatten)]
    pub(crate) limits: Limits,
    #[command(flatten)]
    pub(crate) drain: Drain,
    #[command(flatten)]
    pub(crate) logs: service::logs::Options,
}

/// Who may send.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Stripe")]
pub(crate) struct Stripe {
    /// Signing secrets, comma separated: `whsec_…` for /webhooks/stripe, `NAME:whsec_…` for
    /// /webhooks/stripe/NAME; several for one endpoint while a secret is rolled
    #[arg(long, env, hide_env_values = true)]
    pub(crate) stripe_webhook_secrets: Option<SecretString>,
    /// File that holds the secrets, comma separated or one a line; read again on SIGHUP
    #[arg(long, env)]
    pub(crate) stripe_webhook_secrets_file: Option<PathBuf>,
    /// Stripe accounts that own the endpoints: `acct_…` or `NAME:acct_…`, comma separated
    #[arg(long, env, default_value = "")]
    pub(crate) stripe_accounts: String,
    /// How far a signature's time may lie from ours, both ways, in whole seconds; 0 does not check it
    #[arg(long, env, default_value = "300s", value_parser = units::whole_seconds)]
    pub(crate) stripe_signature_tolerance: Duration,
}

impl Stripe {
    /// Reads the secrets, from the file if there is one.
    pub(crate) fn endpoints(&self) -> Result<Endpoints, ConfigError> {
        let secrets = secret::required(
            "STRIPE_WEBHOOK_SECRETS",
            self.stripe_webhook_secrets.as_ref(),
            self.stripe_webhook_secrets_file.as_deref(),
        )?;
        Endpoints::parse(secrets.expose_secret(), &self.stripe_accounts)
            .map_err(|error| ConfigError::new(error.setting, error.problem))
    }
}

/// What bounds memory, file descriptors and waiting.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct Limits {
    /// Open connections; more wait in the listener's queue
    #[arg(long, env, default_value_t = 4096)]
    pub(crate) ingest_max_connections: usize,
    /// Verified requests that Kafka has yet to acknowledge; more are answered 503
    #[arg(long, env, default_value_t = 1024)]
    pub(crate) ingest_max_in_flight: usize,
    /// Body bytes in progress; more are answered 503
    #[arg(long, env, default_value = "64MiB", value_parser = units::bytes)]
    pub(crate) ingest_max_in_flight_bytes: usize,
    /// A request's line and headers; more is answered 431
    #[arg(long, env, default_value = "16KiB", value_parser = units::bytes)]
    pub(crate) ingest_max_header_bytes: usize,
    /// A request's body; more is answered 413
    #[arg(long, env, default_value = "1MiB", value_parser = units::bytes)]
    pub(crate) ingest_max_body_bytes: usize,
    /// HTTP/2 streams of one connection
    #[arg(long, env, default_value_t = 128)]
    pub(crate) ingest_max_http2_streams: u32,
    /// From the connection to the first bytes, which tell HTTP/1.1 from HTTP/2
    #[arg(long, env, default_value = "10s", value_parser = units::duration)]
    pub(crate) ingest_protocol_timeout: Duration,
    /// From a request's first byte to the end of its headers
    #[arg(long, env, default_value = "10s", value_parser = units::duration)]
    pub(crate) ingest_header_timeout: Duration,
    /// From the headers to the end of the body
    #[arg(long, env, default_value = "10s", value_parser = units::duration)]
    pub(crate) ingest_body_timeout: Duration,
    /// A connection without a request; longer than the balancer's own, so that it closes first
    #[arg(long, env, default_value = "75s", value_parser = units::duration)]
    pub(crate) ingest_idle_timeout: Duration,
}

/// How the process leaves.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Drain")]
pub(crate) struct Drain {
    /// After SIGTERM: how long to serve on, not ready, while balancers notice
    #[arg(long, env, default_value = "5s", value_parser = units::duration)]
    pub(crate) drain_delay: Duration,
    /// After that: how long requests in progress may take
    #[arg(long, env, default_value = "20s", value_parser = units::duration)]
    pub(crate) drain_timeout: Duration,
}

impl Settings {
    /// What clap cannot check: limits that must not be zero or contradict each other.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let limits = &self.limits;
        for (name, value) in [
            ("INGEST_MAX_CONNECTIONS", limits.ingest_max_connections),
            ("INGEST_MAX_IN_FLIGHT", limits.ingest_max_in_flight),
            ("INGEST_MAX_HTTP2_STREAMS", limits.ingest_max_http2_streams as usize),
        ] {
            if !(1..=COUNT_MAX).contains(&value) {
                return Err(ConfigError::new(name, format!("must be from 1 to {COUNT_MAX}")));
            }
        }
        if !(1..=BODY_BYTES_MAX).contains(&limits.ingest_max_body_bytes) {
            return Err(ConfigError::new("INGEST_MAX_BODY_BYTES", "must be from 1 to 900MiB"));
        }
        for (name, value) in [
            ("INGEST_PROTOCOL_TIMEOUT", limits.ingest_protocol_timeout),
            ("INGEST_HEADER_TIMEOUT", limits.ingest_header_timeout),
            ("INGEST_BODY_TIMEOUT", limits.ingest_body_timeout),
            ("INGEST_IDLE_TIMEOUT", limits.ingest_idle_timeout),
            ("KAFKA_DELIVERY_TIMEOUT", self.kafka_delivery_timeout),
        ] {
            if value.is_zero() || value > Duration::from_hours(1) {
                return Err(ConfigError::new(name, "must be between 1ms and 1h"));
            }
        }
        if !(1024..=1 << 20).contains(&limits.ingest_max_header_bytes) {
            return Err(ConfigError::new("INGEST_MAX_HEADER_BYTES", "must be 1KiB to 1MiB"));
        }
        let bytes = limits.ingest_max_in_flight_bytes;
        if bytes < limits.ingest_max_body_bytes || bytes > 1 << 31 {
            return Err(ConfigError::new(
                "INGEST_MAX_IN_FLIGHT_BYTES",
                "must be at least INGEST_MAX_BODY_BYTES and at most 2GiB",
            ));
        }
        Ok(())
    }

    /// Bytes of the largest record: body, signature header and what describes them.
    pub(crate) fn record_max_bytes(&self) -> usize {
        self.limits.ingest_max_body_bytes + self.limits.ingest_max_header_bytes + RECORD_OVERHEAD
    }
}
