//! Metrics that are listed before they can be used.
//!
//! [`metrics!`](crate::metrics!) makes a module's list: each metric with its kind, labels and
//! meaning. It is the only way to a [`Family`], and a family the only way to a handle, so nothing
//! is exported that is not listed. docs/METRICS.md is made of the lists ([`document`]).
//!
//! Names follow <https://prometheus.io/docs/practices/naming/>; the unit is the name's end.

pub mod document;
mod exporter;
mod process;

use std::marker::PhantomData;

use metrics::{Key, Metadata};

pub use self::exporter::Exporter;
pub use metrics::{Counter, Gauge, Histogram};

crate::metrics! {
    pub fn all;
    /// 1, labelled with what was built.
    pub BUILD_INFO: Gauge = "service_build_info" [VERSION, COMMIT];
    /// 1 while `/readyz` answers 200, else 0.
    pub READY: Gauge = "service_ready" [];
    /// Lines logged as errors or warnings.
    pub LOG_LINES: Counter = "service_log_lines_total" [LEVEL];
    /// Calls that sent spans to the collector.
    pub TRACE_EXPORTS: Counter = "service_trace_exports_total" [RESULT];
    /// Processor time, user and system.
    pub CPU: Counter = "process_cpu_seconds_total" [];
    /// Open file descriptors.
    pub OPEN_FDS: Gauge = "process_open_fds" [];
    /// Most file descriptors that may be open.
    pub MAX_FDS: Gauge = "process_max_fds" [];
    /// Memory in RAM.
    pub RESIDENT: Gauge = "process_resident_memory_bytes" [];
    /// Virtual memory.
    pub VIRTUAL: Gauge = "process_virtual_memory_bytes" [];
    /// Threads of the operating system.
    pub THREADS: Gauge = "process_threads" [];
    /// When the process started.
    pub START_TIME: Gauge = "process_start_time_seconds" [];
    /// Worker threads of the runtime.
    pub WORKERS: Gauge = "tokio_workers" [];
    /// Tasks that have not ended.
    pub ALIVE_TASKS: Gauge = "tokio_alive_tasks" [];
    /// Tasks that are ready and wait for a worker: growing means too little processor time.
    pub GLOBAL_QUEUE: Gauge = "tokio_global_queue_tasks" [];
    /// Time that workers were busy, all together; at most `tokio_workers` a second.
    pub BUSY: Counter = "tokio_busy_seconds_total" [];
}

const VERSION: Label = Label::named("version", "version of the program");
const COMMIT: Label = Label::named("commit", "git commit of the build, or `unknown`");
const RESULT: Label = Label::one_of("result", || vec!["ok", "failed"]);
const LEVEL: Label = Label::one_of("level", || vec!["error", "warn"]);

/// Upper bounds of a histogram's buckets, in the unit of its name.
pub type Buckets = &'static [f64];
/// What takes from some microseconds to a second: work in memory.
pub const SHORT: Buckets =
    &[1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.1, 1.0];
/// What takes from a millisecond to a minute: requests, statements, calls.
pub const LONG: Buckets =
    &[0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0];
/// What takes from some milliseconds to a day: the age of things.
pub const AGE: Buckets =
    &[0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0, 86400.0];
/// Sizes of bodies and records.
pub const BYTES: Buckets = &[1e3, 2e3, 4e3, 8e3, 16e3, 32e3, 64e3, 256e3, 1e6, 4e6];
/// How many at once.
pub const COUNT: Buckets = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 5000.0];

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows; starts over at 0 with the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations in buckets.
    Histogram,
}

impl Kind {
    /// Prometheus' name of it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A label: its name and which values it can have.
#[derive(Debug, Clone, Copy)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// Its values.
    pub values: Values,
}

/// The values of a label. Every set is bounded: by the program, by a setting or by Kafka's topology.
#[derive(Debug, Clone, Copy)]
pub enum Values {
    /// One of these.
    OneOf(fn() -> Vec<&'static str>),
    /// A number that is not negative; the text says of what.
    Number(&'static str),
    /// A name; the text says of what.
    Named(&'static str),
}

impl Label {
    /// A label with a closed set of values.
    pub const fn one_of(name: &'static str, values: fn() -> Vec<&'static str>) -> Self {
        Self { name, values: Values::OneOf(values) }
    }

    /// A label whose values are numbers of something.
    pub const fn number(name: &'static str, of: &'static str) -> Self {
        Self { name, values: Values::Number(of) }
    }

    /// A label whose values are names of something.
    pub const fn named(name: &'static str, of: &'static str) -> Self {
        Self { name, values: Values::Named(of) }
    }

    fn allows(&self, value: &str) -> bool {
        match self.values {
            Values::OneOf(values) => values().contains(&value),
            Values::Number(_) => value.parse::<u32>().is_ok(),
            Values::Named(_) => true,
        }
    }
}

/// A metric as it is listed.
#[derive(Debug, Clone)]
pub struct Description {
    /// Its name; the end is its unit.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// What it means.
    pub help: String,
    /// Its labels.
    pub labels: Vec<Label>,
    /// A histogram's buckets; empty for others.
    pub buckets: Buckets,
}

impl Description {
    /// Registers each series of a counter whose labels are closed sets, so that it begins with 0
    /// and no first increment is missed.
    fn begin_at_zero(&self) {
        let mut series = vec![Vec::new()];
        for label in &self.labels {
            let Values::OneOf(values) = label.values else { return };
            let longer = |labels: &Vec<metrics::Label>| {
                let labels = labels.clone();
                values().into_iter().map(move |value| {
                    let mut labels = labels.clone();
                    labels.push(metrics::Label::from_static_parts(label.name, value));
                    labels
                })
            };
            series = series.iter().flat_map(longer).collect();
        }
        for labels in series {
            Counter::register(&Key::from_parts(self.name, labels)).increment(0);
        }
    }
}

/// What a handle is of: a counter, a gauge or a histogram.
pub trait Instrument: Sized {
    /// Its kind.
    const KIND: Kind;

    #[doc(hidden)]
    fn register(key: &Key) -> Self;
}

const METADATA: Metadata<'static> = Metadata::new("service", metrics::Level::INFO, None);

impl Instrument for Counter {
    const KIND: Kind = Kind::Counter;

    fn register(key: &Key) -> Self {
        metrics::with_recorder(|recorder| recorder.register_counter(key, &METADATA))
    }
}

impl Instrument for Gauge {
    const KIND: Kind = Kind::Gauge;

    fn register(key: &Key) -> Self {
        metrics::with_recorder(|recorder| recorder.register_gauge(key, &METADATA))
    }
}

impl Instrument for Histogram {
    const KIND: Kind = Kind::Histogram;

    fn register(key: &Key) -> Self {
        metrics::with_recorder(|recorder| recorder.register_histogram(key, &METADATA))
    }
}

/// A listed metric with `N` labels. Handles are made by [`with`](Self::with), once the
/// [`Exporter`] is installed; what is counted for each request keeps its handle.
#[derive(Debug)]
pub struct Family<H, const N: usize> {
    name: &'static str,
    help: &'static str,
    labels: [Label; N],
    buckets: Buckets,
    handle: PhantomData<fn() -> H>,
}

impl<H: Instrument, const N: usize> Family<H, N> {
    /// For [`metrics!`](crate::metrics!) alone.
    #[doc(hidden)]
    pub const fn new(
        name: &'static str,
        help: &'static str,
        labels: [Label; N],
        buckets: &[Buckets],
    ) -> Self {
        let buckets = match (H::KIND, buckets) {
            (Kind::Histogram, [buckets]) => *buckets,
            (Kind::Counter | Kind::Gauge, []) => &[],
            _ => panic!("a histogram has buckets, and nothing else has"),
        };
        Self { name, help, labels, buckets, handle: PhantomData }
    }

    /// The series with these values of the labels, in their order. Looks it up: not for what is
    /// done for each request.
    pub fn with(&self, values: [&str; N]) -> H {
        let labels = self.labels.iter().zip(values).map(|(label, value)| {
            debug_assert!(label.allows(value), "{}{{{}={value:?}}}", self.name, label.name);
            metrics::Label::new(label.name, value.to_owned())
        });
        H::register(&Key::from_parts(self.name, labels.collect::<Vec<_>>()))
    }

    /// How it is listed.
    pub fn describe(&self) -> Description {
        Description {
            name: self.name,
            kind: H::KIND,
            help: self.help.trim().to_owned(),
            labels: self.labels.to_vec(),
            buckets: self.buckets,
        }
    }
}

impl<H: Instrument> Family<H, 0> {
    /// The one series of a metric without labels.
    pub fn only(&self) -> H {
        self.with([])
    }
}

/// Makes a list of metrics: a [`Family`](crate::metrics::Family) for each, whose documentation is
/// the metric's meaning, and a function `all` that describes them. The types `Counter`, `Gauge` and
/// `Histogram` and the labels must be in scope. A histogram names its buckets.
///
/// ```
/// use service::metrics::{Counter, Histogram, Label, SHORT};
///
/// const RESULT: Label = Label::one_of("result", || vec!["ok", "failed"]);
/// service::metrics! {
///     pub fn all;
///     /// Cakes that were baked.
///     pub CAKES: Counter = "bakery_cakes_total" [RESULT];
///     /// Time in the oven.
///     pub BAKING: Histogram = "bakery_baking_seconds" [] in SHORT;
/// }
/// CAKES.with(["ok"]).increment(1);
/// assert_eq!(all()[1].help, "Time in the oven.");
/// ```
#[macro_export]
macro_rules! metrics {
    ($all:vis fn all; $(
        $(#[doc = $help:literal])+
        $vis:vis $family:ident: $handle:ident = $name:literal [$($label:ident),*]
        $(in $buckets:ident)?;
    )+) => {
        $(
            $(#[doc = $help])+
            $vis static $family: $crate::metrics::Family<
                $handle,
                { <[$crate::metrics::Label]>::len(&[$($label),*]) },
            > = $crate::metrics::Family::new(
                $name, concat!($($help),+), [$($label),*], &[$($buckets)?],
            );
        )+

        /// The list.
        $all fn all() -> Vec<$crate::metrics::Description> {
            vec![$($family.describe()),+]
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_of_closed_sets_begins_with_every_series_at_zero() {
        const A: Label = Label::one_of("a", || vec!["1", "2"]);
        const B: Label = Label::one_of("b", || vec!["x", "y"]);
        const PLACE: Label = Label::number("place", "place");
        crate::metrics! {
            fn all;
            /// Closed.
            CLOSED: Counter = "t_closed_total" [A, B];
            /// Open.
            OPEN: Counter = "t_open_total" [A, PLACE];
        }
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            all().iter().for_each(Description::begin_at_zero);
            CLOSED.with(["2", "y"]).increment(3);
            OPEN.with(["1", "7"]).increment(1);
        });
        let text = handle.render();
        let mut series: Vec<&str> = text.lines().filter(|line| line.starts_with("t_")).collect();
        series.sort_unstable();
        assert_eq!(
            series,
            [
                r#"t_closed_total{a="1",b="x"} 0"#,
                r#"t_closed_total{a="1",b="y"} 0"#,
                r#"t_closed_total{a="2",b="x"} 0"#,
                r#"t_closed_total{a="2",b="y"} 3"#,
                r#"t_open_total{a="1",place="7"} 1"#,
            ]
        );
    }

    #[test]
    #[should_panic(expected = r#"service_log_lines_total{level="shout"}"#)]
    fn a_value_outside_its_set_is_a_mistake_of_the_program() {
        LOG_LINES.with(["shout"]).increment(1);
    }
}
