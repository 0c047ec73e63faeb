//! How to reach Kafka.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use service::exit::ConfigError;
use service::secret::{self, ExposeSecret as _, SecretString};

/// The settings of every Kafka client.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Kafka")]
#[group(id = "kafka-options")]
pub struct Options {
    /// Brokers to begin with, `host:port`, comma separated
    #[arg(long, env)]
    pub kafka_brokers: String,
    /// Topic of the raw events
    #[arg(long, env, default_value = "stripe.raw.v1")]
    pub kafka_topic: String,
    /// librdkafka properties such as TLS and SASL: `key=value`, comma separated or one a line
    #[arg(long, env, hide_env_values = true)]
    pub kafka_config: Option<SecretString>,
    /// File that holds what `KAFKA_CONFIG` would
    #[arg(long, env)]
    pub kafka_config_file: Option<PathBuf>,
}

impl Options {
    /// A client configuration with the brokers and the operator's properties, checked by
    /// librdkafka. What the caller sets after this wins over `KAFKA_CONFIG`.
    pub fn client_config(&self) -> Result<ClientConfig, ConfigError> {
        if self.kafka_brokers.trim().is_empty() {
            return Err(ConfigError::new("KAFKA_BROKERS", "is empty"));
        }
        if self.kafka_topic.trim().is_empty() {
            return Err(ConfigError::new("KAFKA_TOPIC", "is empty"));
        }
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.kafka_brokers);
        let properties = secret::optional(
            "KAFKA_CONFIG",
            self.kafka_config.as_ref(),
            self.kafka_config_file.as_deref(),
        )?;
        if let Some(properties) = properties {
            for (key, value) in pairs(properties.expose_secret())? {
                config.set(key, value);
            }
        }
        config.create_native_config().map_err(|error| refused(&error))?;
        Ok(config)
    }

    /// The configuration of a producer whose every record is acknowledged by all in-sync replicas,
    /// within this time, or reported. What the promises rest on wins over the operator's
    /// properties; the others are defaults. Limits are the caller's to add.
    pub fn producer_config(
        &self,
        client_id: &str,
        delivery_timeout: Duration,
    ) -> Result<ClientConfig, ConfigError> {
        let mut config = self.client_config()?;
        for (key, value) in [
            ("linger.ms", "2"),
            ("compression.type", "lz4"),
            // The partition of a key as Java's clients choose it.
            ("partitioner", "murmur2_random"),
            ("client.id", client_id),
            ("reconnect.backoff.max.ms", "1000"),
            ("socket.connection.setup.timeout.ms", "5000"),
            ("socket.keepalive.enable", "true"),
        ] {
            if config.get(key).is_none() {
                config.set(key, value);
            }
        }
        // Other names of properties that are set below.
        config.remove("delivery.timeout.ms");
        config.remove("request.required.acks");
        config
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("message.timeout.ms", delivery_timeout.as_millis().to_string());
        Ok(config)
    }
}

/// What librdkafka has against a configuration, as a line for the operator.
pub fn refused(error: &KafkaError) -> ConfigError {
    let problem = match error {
        // librdkafka's own message may quote the value, which may be a password.
        KafkaError::ClientConfig(_, _, key, _) => {
            format!("librdkafka does not know the property `{key}` or refuses its value")
        }
        other => other.to_string(),
    };
    ConfigError::new("KAFKA_CONFIG", problem)
}

/// The same configuration with nobody to connect to: making a client of it, and dropping it, tells
/// what librdkafka finds wrong only then, and opens nothing.
pub fn without_brokers(config: &ClientConfig) -> ClientConfig {
    let mut config = config.clone();
    config.remove("bootstrap.servers");
    config.remove("metadata.broker.list");
    config
}

/// `key=value` pairs, one a line if there are several lines (then a value may hold commas), else
/// comma separated. Empty ones and lines that begin with `#` are skipped.
fn pairs(text: &str) -> Result<Vec<(&str, &str)>, ConfigError> {
    let separator = if text.contains('\n') { '\n' } else { ',' };
    text.split(separator)
        .map(str::trim)
        .filter(|pair| !pair.is_empty() && !pair.starts_with('#'))
        .enumerate()
        .map(|(index, pair)| match pair.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => Ok((key.trim(), value.trim())),
            _ => Err(ConfigError::new(
                "KAFKA_CONFIG",
                format!("property {} is not of the form key=value", index + 1),
            )),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(config: &str) -> Options {
        Options {
            kafka_brokers: "127.0.0.1:9092".to_owned(),
            kafka_topic: "stripe.raw.v1".to_owned(),
            kafka_config: Some(SecretString::from(config)),
            kafka_config_file: None,
        }
    }

    #[test]
    fn pairs_are_comma_separated_or_one_a_line() {
        assert_eq!(pairs("a=1, b = 2,").unwrap(), [("a", "1"), ("b", "2")]);
        assert_eq!(pairs("# note\na=1,2\n\nb==").unwrap(), [("a", "1,2"), ("b", "=")]);
        assert!(pairs("a=1,oops").is_err());
    }

    #[test]
    fn a_refused_property_is_named_and_its_value_is_not() {
        let config = options("security.protocol=sasl_ssl").client_config().unwrap();
        assert_eq!(config.get("security.protocol"), Some("sasl_ssl"));
        let error = options("security.protocol=hunter2").client_config().unwrap_err().to_string();
        assert!(error.contains("security.protocol") && !error.contains("hunter2"), "{error}");
        let error = options("sasl.pasword=hunter2").client_config().unwrap_err().to_string();
        assert!(error.contains("sasl.pasword") && !error.contains("hunter2"), "{error}");
        assert!(!format!("{:?}", options("x=hunter2")).contains("hunter2"));
    }
}
