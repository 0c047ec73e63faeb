//! What `/metrics` answers.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;

use super::{BUILD_INFO, Description, Kind, process};

/// How often the histograms' samples are folded into their buckets.
const UPKEEP: Duration = Duration::from_secs(5);

type Hook = Box<dyn Fn() + Send>;

/// The process' metrics, of every kind as text in Prometheus' format 0.0.4.
#[derive(Clone)]
pub struct Exporter {
    handle: PrometheusHandle,
    hooks: Arc<Mutex<Vec<Hook>>>,
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exporter")
    }
}

impl Exporter {
    /// Begins to measure what these lists and this crate's own hold; once in a process. Handles that
    /// were made before measure nothing.
    pub fn install(lists: &[Vec<Description>]) -> anyhow::Result<Self> {
        let own = super::all();
        let listed = || lists.iter().flatten().chain(&own);
        let mut builder = PrometheusBuilder::new();
        for metric in listed().filter(|metric| metric.kind == Kind::Histogram) {
            let name = Matcher::Full(metric.name.to_owned());
            builder = builder.set_buckets_for_metric(name, metric.buckets)?;
        }
        let handle = builder.install_recorder().context("installing the metrics recorder")?;
        metrics::with_recorder(|recorder| {
            for metric in listed() {
                let (name, help) = (metric.name.into(), metric.help.clone().into());
                match metric.kind {
                    Kind::Counter => recorder.describe_counter(name, None, help),
                    Kind::Gauge => recorder.describe_gauge(name, None, help),
                    Kind::Histogram => recorder.describe_histogram(name, None, help),
                }
            }
        });
        // What `process` reads at a scrape is no series of the recorder's.
        let recorded = |metric: &&Description| !process::reads(metric.name);
        listed()
            .filter(|metric| metric.kind == Kind::Counter)
            .filter(recorded)
            .for_each(Description::begin_at_zero);
        BUILD_INFO.with([env!("CARGO_PKG_VERSION"), env!("SERVICE_COMMIT")]).set(1);
        Ok(Self { handle, hooks: Arc::default() })
    }

    /// Calls `hook` before each answer: for gauges of what is known at any time. It must not block.
    pub fn on_scrape(&self, hook: impl Fn() + Send + 'static) {
        self.hooks.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(hook));
    }

    /// The answer.
    pub fn render(&self) -> String {
        for hook in self.hooks.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            hook();
        }
        let mut text = self.handle.render();
        process::render(&mut text);
        text
    }

    /// Bounds the memory that samples take between two scrapes; runs until `stop`.
    pub(crate) async fn upkeep(self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(UPKEEP);
        loop {
            tokio::select! {
                _ = tick.tick() => self.handle.run_upkeep(),
                () = stop.cancelled() => return,
            }
        }
    }
}
