//! Connections to Postgres: small pools with every time-out set, and what becomes of a
//! connection after a fault.

use std::collections::BTreeMap;
use std::future::Future;
use std::str::FromStr as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use service::exit::ConfigError;
use service::secret::{ExposeSecret as _, SecretString};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection as _, PgPool, Postgres};

use crate::fault::{Decision, Fault};
use crate::metrics;

/// Time to get a connection, made or waited for.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the server lets a connection's statements take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// Time for one statement.
    pub statement: Duration,
    /// Time to wait for a lock.
    pub lock: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { statement: Duration::from_secs(30), lock: Duration::from_secs(10) }
    }
}

/// Time that a transaction may sit idle before the server ends it.
const IDLE_IN_TRANSACTION_TIMEOUT: Duration = Duration::from_mins(1);
/// Time for one statement, by our clock: for a server that no longer answers at all.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(40);
/// Life of a connection: bounds how long a pool stays with a server that DNS no longer names.
const MAX_LIFETIME: Duration = Duration::from_mins(15);

/// How to connect. `purpose` shows in `pg_stat_activity`.
pub(crate) fn options(url: &SecretString, purpose: &str) -> Result<PgConnectOptions, ConfigError> {
    let options = PgConnectOptions::from_str(url.expose_secret())
        // The parser's message could quote the password.
        .map_err(|_| ConfigError::new("DATABASE_URL", "is not a postgres:// URL"))?;
    Ok(options
        .application_name(&format!("reconciler.{purpose}"))
        .options([("client_min_messages", "warning")]))
}

/// The same, with the server's time limits on what the connection does.
pub(crate) fn limited(options: PgConnectOptions, timeouts: Timeouts) -> PgConnectOptions {
    let milliseconds = |timeout: Duration| timeout.as_millis().to_string();
    options.options([
        ("statement_timeout", milliseconds(timeouts.statement)),
        ("lock_timeout", milliseconds(timeouts.lock)),
        ("idle_in_transaction_session_timeout", milliseconds(IDLE_IN_TRANSACTION_TIMEOUT)),
    ])
}

/// A pool that connects when it is first used.
pub fn pool(url: &SecretString, purpose: &str, connections: u32) -> Result<PgPool, ConfigError> {
    pool_with(url, purpose, connections, Timeouts::default())
}

/// [`pool`], with time-outs of its own.
pub fn pool_with(
    url: &SecretString,
    purpose: &str,
    connections: u32,
    timeouts: Timeouts,
) -> Result<PgPool, ConfigError> {
    Ok(lazy(options(url, purpose)?, connections, timeouts))
}

/// The same, of connections that can write nothing, with another time for a statement.
pub(crate) fn reading_pool(
    url: &SecretString,
    purpose: &str,
    connections: u32,
    statement: Duration,
) -> Result<PgPool, ConfigError> {
    let options = options(url, purpose)?.options([("default_transaction_read_only", "on")]);
    Ok(lazy(options, connections, Timeouts { statement, ..Timeouts::default() }))
}

fn lazy(options: PgConnectOptions, connections: u32, timeouts: Timeouts) -> PgPool {
    let options = limited(options, timeouts);
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // A slow one shows in the fault that follows it.
        .acquire_slow_threshold(ACQUIRE_TIMEOUT)
        .max_lifetime(MAX_LIFETIME)
        .connect_lazy_with(options)
}

/// A pool whose statements may take as long as they need: for a person who waits for one answer.
pub(crate) fn patient_pool(
    url: &SecretString,
    purpose: &str,
    connections: u32,
) -> Result<PgPool, ConfigError> {
    let pool = PgPoolOptions::new().max_connections(connections).acquire_timeout(ACQUIRE_TIMEOUT);
    Ok(pool.connect_lazy_with(options(url, purpose)?))
}

/// A connection from the pool.
pub(crate) async fn acquire(pool: &PgPool) -> Result<PoolConnection<Postgres>, Fault> {
    let started = Instant::now();
    let acquired = pool.acquire().await;
    metrics::ACQUIRE_SECONDS.only().record(started.elapsed());
    acquired.map_err(|error| Fault::postgres("connecting to Postgres", error))
}

/// Waits for a statement's answer, but no longer than [`ANSWER_TIMEOUT`].
pub(crate) async fn within<T>(work: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    tokio::time::timeout(ANSWER_TIMEOUT, work)
        .await
        .unwrap_or_else(|elapsed| Err(sqlx::Error::Io(elapsed.into())))
}

/// Hands a connection back after its work. If that ended in a fault that asks for a new
/// connection, this one is closed instead, so that the pool makes another.
pub(crate) async fn settle<T>(
    connection: PoolConnection<Postgres>,
    doing: &'static str,
    done: sqlx::Result<T>,
) -> Result<T, Fault> {
    let fault = match done {
        Ok(done) => return Ok(done),
        Err(error) => Fault::postgres(doing, error),
    };
    if fault.decision == Decision::Reconnect {
        // It is broken already: whether the goodbye arrives does not matter.
        let _ = connection.detach().close_hard().await;
    }
    Err(fault)
}

/// The pools of a process, for its metrics.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pools(Arc<Mutex<Vec<(&'static str, PgPool)>>>);

impl Pools {
    /// Takes note of a pool; several may serve one purpose.
    pub(crate) fn add(&self, purpose: &'static str, pool: &PgPool) {
        self.lock().push((purpose, pool.clone()));
    }

    /// Sets the gauges of the pools that are open.
    pub(crate) fn show(&self) {
        let mut pools = self.lock();
        let mut sums: BTreeMap<&str, [u32; 3]> =
            pools.iter().map(|(purpose, _)| (*purpose, [0; 3])).collect();
        pools.retain(|(_, pool)| !pool.is_closed());
        for (purpose, pool) in pools.iter() {
            let (open, idle) = (pool.size(), u32::try_from(pool.num_idle()).unwrap_or(u32::MAX));
            let sum = sums.entry(purpose).or_default();
            sum[0] += open.saturating_sub(idle);
            sum[1] += idle;
            sum[2] += pool.options().get_max_connections();
        }
        for (purpose, [in_use, idle, max]) in sums {
            metrics::POOL_CONNECTIONS.with([purpose, "in_use"]).set(in_use);
            metrics::POOL_CONNECTIONS.with([purpose, "idle"]).set(idle);
            metrics::POOL_MAX.with([purpose]).set(max);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(&'static str, PgPool)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
