//! The process and its runtime, read when somebody asks: processor time, memory, descriptors and
//! threads as `/proc` tells them (proc(5), Linux), and what tokio tells without its unstable part.
//!
//! Counters here are of seconds with fractions, which the recorder's cannot be.

use std::fmt::Write as _;
use std::fs;

use tokio::runtime::{Handle, RuntimeMetrics};

use super::{
    ALIVE_TASKS, BUSY, CPU, Description, GLOBAL_QUEUE, MAX_FDS, OPEN_FDS, RESIDENT, START_TIME,
    THREADS, VIRTUAL, WORKERS,
};

/// Clock ticks a second in `/proc`: USER_HZ, which is 100 on every architecture that Rust's
/// `std` has on Linux.
const TICKS_PER_SECOND: f64 = 100.0;

type Reading = (Description, f64);

/// Whether this module exports the metric.
pub(super) fn reads(name: &str) -> bool {
    [CPU.name, BUSY.name].contains(&name)
}

/// Writes what can be read, each metric with its help and type.
pub(super) fn render(text: &mut String) {
    let tokio = Handle::try_current().map(|handle| runtime(&handle.metrics())).unwrap_or_default();
    for (metric, value) in process().into_iter().chain(tokio) {
        let Description { name, help, kind, .. } = metric;
        let kind = kind.as_str();
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n\n");
    }
}

#[expect(clippy::cast_precision_loss, reason = "metrics are floats")]
fn runtime(metrics: &RuntimeMetrics) -> Vec<Reading> {
    let workers = metrics.num_workers();
    let busy = (0..workers).map(|worker| metrics.worker_total_busy_duration(worker).as_secs_f64());
    vec![
        (WORKERS.describe(), workers as f64),
        (ALIVE_TASKS.describe(), metrics.num_alive_tasks() as f64),
        (GLOBAL_QUEUE.describe(), metrics.global_queue_depth() as f64),
        (BUSY.describe(), busy.sum()),
    ]
}

/// Nothing where there is no `/proc`.
#[expect(clippy::cast_precision_loss, reason = "metrics are floats")]
fn process() -> Vec<Reading> {
    let read = |path: &str| fs::read_to_string(path).ok();
    let stat = read("/proc/self/stat").and_then(|text| Stat::parse(&text));
    let boot = read("/proc/stat").and_then(|text| field(&text, "btime "));
    let status = read("/proc/self/status").unwrap_or_default();
    let limits = read("/proc/self/limits").unwrap_or_default();
    let kibibytes = |name| field(&status, name).map(|size| size * 1024.0);
    // The descriptor that lists them is one of them.
    let open = fs::read_dir("/proc/self/fd").ok().map(|fds| fds.count().saturating_sub(1) as f64);
    let started = stat.as_ref().zip(boot).map(|(stat, boot)| boot + stat.started);
    [
        (CPU.describe(), stat.as_ref().map(|stat| stat.cpu)),
        (THREADS.describe(), stat.as_ref().map(|stat| stat.threads)),
        (START_TIME.describe(), started),
        (RESIDENT.describe(), kibibytes("VmRSS:")),
        (VIRTUAL.describe(), kibibytes("VmSize:")),
        (OPEN_FDS.describe(), open),
        (MAX_FDS.describe(), field(&limits, "Max open files")),
    ]
    .into_iter()
    .filter_map(|(metric, value)| Some((metric, value?)))
    .collect()
}

/// The number that follows `name` at the begin of a line.
fn field(text: &str, name: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// What `/proc/self/stat` says, in seconds.
#[derive(Debug, PartialEq)]
struct Stat {
    cpu: f64,
    threads: f64,
    /// Since the machine's boot.
    started: f64,
}

impl Stat {
    /// The second field is the program's name in parentheses and may hold anything; from the third
    /// on they are numbers.
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let number = |nth: usize| fields.get(nth - 3)?.parse::<f64>().ok();
        Some(Self {
            cpu: (number(14)? + number(15)?) / TICKS_PER_SECOND,
            threads: number(20)?,
            started: number(22)? / TICKS_PER_SECOND,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_may_be_called_anything() {
        let line = "42 (a ) b) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 17 0 1200 99 3 0";
        assert_eq!(Stat::parse(line), Some(Stat { cpu: 3.0, threads: 17.0, started: 12.0 }));
        assert_eq!(Stat::parse("42 (cut"), None);
    }

    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn everything_is_read_and_plausible() {
        let mut text = String::new();
        render(&mut text);
        let value = |name: &str| field(&text, &format!("{name} ")).unwrap();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        assert!((now.as_secs_f64() - value("process_start_time_seconds")).abs() < 3600.0, "{text}");
        assert!(value("process_resident_memory_bytes") > 1e6, "{text}");
        assert!(value("process_virtual_memory_bytes") > 1e6, "{text}");
        assert!(value("process_max_fds") >= value("process_open_fds"), "{text}");
        assert!(value("process_threads") >= 1.0 && value("process_open_fds") >= 3.0, "{text}");
        assert!(value("tokio_workers") >= 1.0, "{text}");
        assert!(text.contains("# TYPE process_cpu_seconds_total counter\n"), "{text}");
        assert!(text.contains("# TYPE tokio_busy_seconds_total counter\n"), "{text}");
    }
}
