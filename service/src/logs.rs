//! Logs: one event a line on stderr, as text for people or JSON for collectors.

use std::io::IsTerminal as _;

use clap::{Args, ValueEnum};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use crate::exit::ConfigError;
use crate::metrics::LOG_LINES;

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
    let lines =
        fmt::layer().with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr);
    let lines = match options.log_format {
        Format::Text => lines.boxed(),
        Format::Json => lines.json().flatten_event(true).boxed(),
    };
    // Only a logger that is already installed can make this fail, and that one serves as well.
    let _ = tracing_subscriber::registry().with(filter).with(lines).with(Counted).try_init();
    Ok(())
}

/// Counts what is logged as an error or a warning.
struct Counted;

impl<S: Subscriber> Layer<S> for Counted {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        match *event.metadata().level() {
            Level::ERROR => LOG_LINES.with(["error"]).increment(1),
            Level::WARN => LOG_LINES.with(["warn"]).increment(1),
            _ => {}
        }
    }
}
