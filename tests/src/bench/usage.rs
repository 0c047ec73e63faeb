//! What processes use, as Linux counts it in /proc (proc(5)).

use anyhow::{Context as _, bail};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use std::{env, fs};

/// The kernel tells CPU time in hundredths of a second, whatever its own clock (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// CPU time and memory of a process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// User and system time since it began.
    pub cpu: Duration,
    /// Resident memory now, bytes.
    pub rss: u64,
    /// Most resident memory since it began or since [`Usage::forget_peak`], bytes.
    pub peak_rss: u64,
}

impl Usage {
    /// What a process uses.
    pub fn of(pid: u32) -> anyhow::Result<Self> {
        let status = read(pid, "status")?;
        let kib = |name: &str| -> anyhow::Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let value = line.and_then(|line| line.trim().strip_suffix(" kB"));
            Ok(value.with_context(|| format!("process {pid} has no {name}"))?.parse::<u64>()? << 10)
        };
        let cpu = Stat::of(pid)?.own;
        Ok(Self { cpu, rss: kib("VmRSS:")?, peak_rss: kib("VmHWM:")? })
    }

    /// CPU time since an earlier look at the same process, seconds.
    pub fn cpu_since(self, before: Self) -> f64 {
        self.cpu.saturating_sub(before.cpu).as_secs_f64()
    }

    /// Lets the peak begin anew.
    pub fn forget_peak(pid: u32) -> anyhow::Result<()> {
        fs::write(format!("/proc/{pid}/clear_refs"), "5")
            .with_context(|| format!("forgetting the peak of process {pid}"))
    }
}

/// CPU times from /proc/PID/stat.
struct Stat {
    parent: u32,
    own: Duration,
    /// Of children that have ended.
    ended: Duration,
}

impl Stat {
    fn of(pid: u32) -> anyhow::Result<Self> {
        let stat = read(pid, "stat")?;
        // After the name, which may hold anything, in parentheses: state is the third field.
        let fields = stat.rsplit_once(") ").map(|(_, rest)| rest.split(' ').collect::<Vec<_>>());
        let fields = fields.context("no name in /proc/PID/stat")?;
        let field = |number: usize| -> anyhow::Result<u32> {
            let value = fields.get(number - 3).context("/proc/PID/stat is short")?;
            Ok(value.parse()?)
        };
        let sum = |first: usize| -> anyhow::Result<Duration> {
            Ok(TICK * field(first)? + TICK * field(first + 1)?)
        };
        Ok(Self { parent: field(4)?, own: sum(14)?, ended: sum(16)? })
    }
}

fn read(pid: u32, file: &str) -> anyhow::Result<String> {
    let path = format!("/proc/{pid}/{file}");
    fs::read_to_string(&path).context(path)
}

/// A server of the stack, which `./dev stack` started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The broker.
    Kafka,
    /// The database, with a process for each connection.
    Postgres,
}

impl Part {
    /// Name in tables, and of the file with its process id.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::Postgres => "postgres",
        }
    }

    /// Its process, the one that all others of it come from.
    pub fn pid(self) -> anyhow::Result<u32> {
        let directory = env::var("STACK_DIR").context("STACK_DIR is not set; run `./dev bench`")?;
        let file = Path::new(&directory).join(format!("{}.pid", self.as_str()));
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let pid = text.split_whitespace().next().context("no process id")?;
        Ok(pid.parse()?)
    }

    /// CPU time of it and of its children, those that have ended included.
    pub fn cpu(self) -> anyhow::Result<Duration> {
        let pid = self.pid()?;
        let root = Stat::of(pid)?;
        let mut cpu = root.own + root.ended;
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let Some(child) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
            // One that ended meanwhile is counted with its parent the next time.
            if let Ok(stat) = Stat::of(child)
                && stat.parent == pid
            {
                cpu += stat.own;
            }
        }
        Ok(cpu)
    }
}

/// Stops a server where it stands: it keeps its connections and answers nothing.
pub fn pause_part(part: Part) -> anyhow::Result<()> {
    signal(part.pid()?, "STOP")
}

/// Lets it go on.
pub fn resume_part(part: Part) -> anyhow::Result<()> {
    signal(part.pid()?, "CONT")
}

fn signal(pid: u32, name: &str) -> anyhow::Result<()> {
    let sent = Command::new("kill").args(["-s", name, &pid.to_string()]).status()?;
    if !sent.success() {
        bail!("process {pid} did not get {name}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something() {
        let own = std::process::id();
        let before = Usage::of(own).unwrap();
        let mut block = vec![1_u8; 64 << 20];
        // Seen by the optimiser as used.
        for byte in &mut block {
            *byte = std::hint::black_box(*byte).wrapping_add(1);
        }
        let after = Usage::of(own).unwrap();
        assert!(after.peak_rss >= before.rss + (60 << 20), "{before:?} {after:?}");
        assert!(after.cpu >= before.cpu);
    }

    #[test]
    fn a_process_that_is_none_is_an_error() {
        assert!(Usage::of(u32::MAX).is_err());
    }
}
