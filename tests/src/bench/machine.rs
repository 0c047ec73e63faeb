//! Where and when a benchmark ran: its numbers mean nothing without.

use anyhow::Context as _;
use serde::Serialize;
use sqlx::{Connection as _, PgConnection};
use std::{env, fs};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A machine, what runs on it, and how busy it was.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// When the benchmark began, UTC.
    pub date: String,
    /// Model of the processor.
    pub cpu: String,
    /// Processors that this process may use.
    pub cores: usize,
    /// Memory, GiB.
    pub memory_gib: f64,
    /// Kernel.
    pub linux: String,
    /// Of the stack's database; empty where there is none.
    pub postgres: String,
    /// Runnable tasks of the minute before the benchmark began: what others did here.
    pub load_before: f64,
    /// `release`, or `debug` whose numbers mean nothing.
    pub profile: &'static str,
}

impl Machine {
    /// This machine, now.
    pub async fn look() -> anyhow::Result<Self> {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").context("/proc/cpuinfo")?;
        let model =
            cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        let meminfo = fs::read_to_string("/proc/meminfo").context("/proc/meminfo")?;
        let memory = meminfo.split_whitespace().nth(1).context("no MemTotal")?.parse::<f64>()?;
        let load = fs::read_to_string("/proc/loadavg").context("/proc/loadavg")?;
        let linux = fs::read_to_string("/proc/sys/kernel/osrelease").context("osrelease")?;
        Ok(Self {
            date: OffsetDateTime::now_utc().replace_nanosecond(0)?.format(&Rfc3339)?,
            cpu: model.map_or_else(|| "unknown".to_owned(), |(_, model)| model.trim().to_owned()),
            cores: std::thread::available_parallelism()?.get(),
            memory_gib: memory / f64::from(1 << 20),
            linux: linux.trim().to_owned(),
            postgres: postgres().await?,
            load_before: load.split(' ').next().context("no load")?.parse()?,
            profile: if cfg!(debug_assertions) { "debug" } else { "release" },
        })
    }

    /// In one line.
    pub fn line(&self) -> String {
        format!(
            "{}; {} × {}, {:.0} GiB; Linux {}; PostgreSQL {}; {} build; load before {:.2}",
            self.date,
            self.cores,
            self.cpu,
            self.memory_gib,
            self.linux,
            self.postgres,
            self.profile,
            self.load_before
        )
    }
}

async fn postgres() -> anyhow::Result<String> {
    let Ok(url) = env::var("DATABASE_URL") else { return Ok(String::new()) };
    let mut connection = PgConnection::connect(&url).await.context("DATABASE_URL")?;
    Ok(sqlx::query_scalar("show server_version").fetch_one(&mut connection).await?)
}
