//! What only the database can tell, read now and then: open discrepancies, the quarantine, inputs
//! that wait, and whether the ledger adds up.
//!
//! Every process does this, whatever its roles, with one connection and little time; each exports
//! the same, so max() over processes is what holds. A gauge that cannot be read keeps its value, and
//! the time of the last reading shows how old that is.

mod log;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use domain::event::Reason;
use domain::quote::Misfit;
use sqlx::{PgConnection, PgPool};
use tokio::time::{Instant, MissedTickBehavior};

use crate::database::{acquire, settle, within};
use crate::fault::{Fault, note};
use crate::metrics::{self, number};

pub(crate) use self::log::Log;

/// Its name in logs and metrics.
const ROLE: &str = "sample";
/// Kinds of inputs.
const INPUTS: [&str; 3] = ["account", "quote", "order"];

/// How often.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Intervals {
    /// What is cheap.
    pub(crate) sample: Duration,
    /// The ledger, every posting of which is added up.
    pub(crate) ledger: Duration,
}

/// Reads for ever; drop it to end it. No fault ends it.
pub(crate) async fn run(pool: PgPool, log: Log, intervals: Intervals) {
    let mut currencies = BTreeSet::new();
    let mut tick = tokio::time::interval(intervals.sample);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ledger_due = Instant::now();
    loop {
        tick.tick().await;
        let with_ledger = ledger_due <= Instant::now();
        if with_ledger {
            ledger_due = Instant::now() + intervals.ledger;
        }
        let sampled = sample(&pool, with_ledger, &mut currencies).await;
        let measured = log.show_lag(&pool).await;
        for fault in [sampled, measured].into_iter().filter_map(Result::err) {
            note(ROLE, &fault, intervals.sample);
        }
    }
}

/// `currencies` are those that discrepancies were ever about: what is settled shows as 0.
async fn sample(
    pool: &PgPool,
    with_ledger: bool,
    currencies: &mut BTreeSet<String>,
) -> Result<(), Fault> {
    let mut connection = acquire(pool).await?;
    let read = within(async {
        show_discrepancies(&mut connection).await?;
        show_disputed_money(&mut connection, currencies).await?;
        show_quarantine(&mut connection).await?;
        show_inputs(&mut connection).await?;
        metrics::SAMPLED.only().set(metrics::now_s());
        if with_ledger {
            show_ledger(&mut connection).await?;
        }
        Ok(())
    })
    .await;
    settle(connection, "reading the gauges of the database", read).await
}

async fn show_discrepancies(connection: &mut PgConnection) -> sqlx::Result<()> {
    let open: Vec<(String, i64, f64)> = sqlx::query_as(
        "select kind, count(*), extract(epoch from now() - min(first_seen))::float8
         from pay.discrepancy where resolved_at is null group by kind",
    )
    .fetch_all(connection)
    .await?;
    let kinds = Misfit::ALL.map(Misfit::as_str);
    let mut found: HashMap<&str, (i64, f64)> = HashMap::new();
    for (kind, count, age) in &open {
        let known = kinds.iter().find(|known| *known == kind);
        let (counted, oldest) = found.entry(known.unwrap_or(&metrics::OTHER)).or_default();
        *counted += count;
        *oldest = age.max(*oldest);
    }
    for kind in kinds.into_iter().chain([metrics::OTHER]) {
        let (count, oldest) = found.get(kind).copied().unwrap_or_default();
        metrics::DISCREPANCIES.with([kind]).set(number(count));
        metrics::DISCREPANCIES_OLDEST.with([kind]).set(oldest);
    }
    Ok(())
}

async fn show_disputed_money(
    connection: &mut PgConnection,
    currencies: &mut BTreeSet<String>,
) -> sqlx::Result<()> {
    let open: Vec<(String, i64)> = sqlx::query_as(
        "select currency, sum(captured_cents - refunded_cents)::bigint from pay.txn as t
         where exists (select from pay.discrepancy as d
                       where d.resolved_at is null and d.account = t.account
                         and d.object_id in (t.stripe_pi, t.stripe_ch))
         group by currency",
    )
    .fetch_all(connection)
    .await?;
    currencies.extend(open.iter().map(|(currency, _)| currency.clone()));
    for currency in currencies.iter() {
        let found = open.iter().find(|(found, _)| found == currency);
        let money = found.map_or(0, |(_, money)| *money);
        metrics::DISCREPANCIES_MONEY.with([currency]).set(number(money));
    }
    Ok(())
}

async fn show_quarantine(connection: &mut PgConnection) -> sqlx::Result<()> {
    let open: Vec<(String, i64, f64)> = sqlx::query_as(
        "select reason, count(*), extract(epoch from now() - min(quarantined_at))::float8
         from pay.quarantine where state = 'open' group by reason",
    )
    .fetch_all(connection)
    .await?;
    let oldest = open.iter().map(|(_, _, age)| *age).fold(0.0, f64::max);
    let counts: BTreeMap<&str, i64> =
        open.iter().map(|(reason, count, _)| (reason.as_str(), *count)).collect();
    for reason in Reason::ALL.map(Reason::as_str) {
        let count = counts.get(reason).copied().unwrap_or_default();
        metrics::QUARANTINE_OPEN.with([reason]).set(number(count));
    }
    metrics::QUARANTINE_OLDEST.only().set(oldest);
    Ok(())
}

async fn show_inputs(connection: &mut PgConnection) -> sqlx::Result<()> {
    let queued: Vec<(String, i64, i64)> = sqlx::query_as(
        "select kind, count(*) filter (where refused is null),
                count(*) filter (where refused is not null)
         from pay.rederive group by kind",
    )
    .fetch_all(connection)
    .await?;
    for kind in INPUTS {
        let found = queued.iter().find(|(found, ..)| found == kind);
        let (waiting, aside) = found.map_or((0, 0), |(_, waiting, aside)| (*waiting, *aside));
        metrics::INPUTS_WAITING.with([kind]).set(number(waiting));
        metrics::INPUTS_ASIDE.with([kind]).set(number(aside));
    }
    Ok(())
}

async fn show_ledger(connection: &mut PgConnection) -> sqlx::Result<()> {
    let balances: Vec<(String, String, i64)> = sqlx::query_as(
        "select ledger_account, currency, sum(amount_cents)::bigint
         from pay.ledger_posting join pay.ledger_entry using (entry_id) group by 1, 2",
    )
    .fetch_all(connection)
    .await?;
    let mut sums: BTreeMap<&str, i128> = BTreeMap::new();
    for (account, currency, balance) in &balances {
        metrics::LEDGER_BALANCE.with([account, currency]).set(number(*balance));
        *sums.entry(currency).or_default() += i128::from(*balance);
    }
    let unbalanced = sums.values().filter(|sum| **sum != 0).count();
    metrics::LEDGER_UNBALANCED.only().set(u32::try_from(unbalanced).unwrap_or(u32::MAX));
    metrics::LEDGER_CHECKED.only().set(metrics::now_s());
    if unbalanced > 0 {
        tracing::error!(role = ROLE, currencies = unbalanced, "the ledger does not add up to zero");
    }
    Ok(())
}
