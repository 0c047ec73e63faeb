//! The load on ingest: what a benchmark asks the sender for, and what comes back.

pub(crate) mod request;
mod sender;

use anyhow::Context as _;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

pub(crate) use sender::run;

/// What is sent, and how.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Load {
    /// Lifecycle bodies that are sent again and again, with the corpus where its folder is there
    #[arg(long, default_value_t = 2000)]
    pub(crate) bodies: usize,
    /// Send events that are each sent once instead, made from this seed on
    #[arg(long, value_name = "SEED", requires = "count")]
    pub(crate) fresh: Option<u64>,
    /// How many events are sent once
    #[arg(long)]
    pub(crate) count: Option<usize>,
    /// Connections that send
    #[arg(long)]
    pub(crate) connections: usize,
    /// Connections that sent one request and then stay
    #[arg(long, default_value_t = 0)]
    pub(crate) idle: usize,
    /// Requests a second; as fast as answers come if not given
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// Milliseconds that count
    #[arg(long, default_value_t = 0)]
    pub(crate) millis: u64,
    /// Milliseconds before them that do not
    #[arg(long, default_value_t = 0)]
    pub(crate) warm_up: u64,
    /// The one status that is an answer; any other ends the run
    #[arg(long, default_value_t = 200)]
    pub(crate) status: u16,
    /// File for each event's id and the moment of its answer, Unix microseconds
    #[arg(long)]
    pub(crate) answers: Option<PathBuf>,
}

/// The sender's command line.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where to
    #[arg(long)]
    pub(crate) address: SocketAddr,
    #[command(flatten)]
    pub(crate) load: Load,
}

/// What came back.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Sent {
    /// Requests that were sent, those of the warm-up included.
    pub(crate) requests: usize,
    /// Requests that count.
    pub(crate) counted: usize,
    /// Of these, how many a second.
    pub(crate) per_second: f64,
    /// From the moment a request was due, or sent where there is no rate, to its answer.
    #[serde(flatten)]
    pub(crate) latency: Latency,
    /// CPU time of the sender.
    pub(crate) cpu_seconds: f64,
}

/// Milliseconds that a share of requests stayed within.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(from = "Report")]
pub(crate) struct Latency {
    /// Half of them.
    pub(crate) p50: f64,
    /// 90 of 100.
    pub(crate) p90: f64,
    /// 99 of 100.
    pub(crate) p99: f64,
    /// All.
    pub(crate) max: f64,
}

#[derive(Deserialize)]
struct Report {
    latency_ms: BTreeMap<String, f64>,
}

impl From<Report> for Latency {
    fn from(report: Report) -> Self {
        let ms = |name: &str| report.latency_ms.get(name).copied().unwrap_or(f64::NAN);
        Self { p50: ms("p50"), p90: ms("p90"), p99: ms("p99"), max: ms("max") }
    }
}

/// Sends from a process of its own. An answer of another status than asked for is an error.
pub(crate) async fn send(address: SocketAddr, load: &Load) -> anyhow::Result<Sent> {
    let program = std::env::current_exe().context("finding this program")?;
    let mut command = tokio::process::Command::new(program);
    command.arg("load").args(load.arguments(address)).kill_on_drop(true);
    let output = command.output().await.context("starting the sender")?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "the sender: {}", said.trim());
    let sent: Sent = serde_json::from_slice(&output.stdout).context("what the sender printed")?;
    anyhow::ensure!(sent.counted > 0, "the sender sent nothing that counts");
    Ok(sent)
}

impl Load {
    fn arguments(&self, address: SocketAddr) -> Vec<String> {
        let path = self.answers.as_ref().map(|path| path.display().to_string());
        let given = [
            ("address", Some(address.to_string())),
            ("bodies", Some(self.bodies.to_string())),
            ("fresh", self.fresh.map(|seed| seed.to_string())),
            ("count", self.count.map(|count| count.to_string())),
            ("connections", Some(self.connections.to_string())),
            ("idle", Some(self.idle.to_string())),
            ("rate", self.rate.map(|rate| rate.to_string())),
            ("millis", Some(self.millis.to_string())),
            ("warm-up", Some(self.warm_up.to_string())),
            ("status", Some(if self.status == 0 { 200 } else { self.status }.to_string())),
            ("answers", path),
        ];
        given.into_iter().filter_map(|(name, value)| Some(format!("--{name}={}", value?))).collect()
    }
}
