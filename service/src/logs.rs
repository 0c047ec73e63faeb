//! Logs: one event a line on stderr, as text for people or JSON for collectors.

use std::io::IsTerminal as _;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

use crate::exit::ConfigError;

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, for collectors.
    Json,
}

/// The settings of the logs.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Logs")]
#[group(id = "log-options")]
pub struct Options {
    /// How a log line looks
    #[arg(long, env, value_enum, default_value_t, global = true)]
    pub log_format: Format,
    /// What is logged: a level, or levels by module (`info,rdkafka=warn`)
    #[arg(long, env, default_value = "info,sqlx=warn", global = true)]
    pub log_filter: String,
}

/// Starts logging to stderr; stdout belongs to results. A second call changes nothing.
pub fn init(options: &Options) -> Result<(), ConfigError> {
    let filter = EnvFilter::try_new(&options.log_filter)
        .map_err(|error| ConfigError::new("LOG_FILTER", error.to_string()))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    // Only a logger that is already installed can make this fail, and that one serves as well.
    let _ = match options.log_format {
        Format::Text => builder.try_init(),
        Format::Json => builder.json().flatten_event(true).try_init(),
    };
    Ok(())
}
