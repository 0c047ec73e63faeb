//! The first page: how fresh everything is, what waits, what needs a person.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::State;
use serde_json::Value;
use sqlx::PgConnection;

use super::access::Visitor;
use super::cell::{Cell, Column, Show, Table, grouped_count};
use super::page::{Answer, Frame, html};
use super::plot::{Plot, Point};
use super::problem::Problem;
use super::web::Console;

#[derive(Template)]
#[template(path = "overview.html")]
struct Page {
    frame: Frame,
    paused: Vec<Value>,
    tiles: Vec<Tile>,
    roles: Table,
    queue: Table,
    quarantine: Table,
    discrepancies: Table,
    plots: Vec<Plot>,
    /// Why there are no plots.
    without_plots: Option<String>,
}

/// A number that is looked at first.
struct Tile {
    name: &'static str,
    value: String,
    more: String,
    tone: &'static str,
    href: &'static str,
}

/// `GET /`.
pub(super) async fn page(
    State(console): State<Arc<Console>>,
    Extension(visitor): Extension<Visitor>,
) -> Answer {
    let mut tx = console.reader.begin().await?;
    let roles = rows(&mut tx, ROLES).await?;
    let queue = rows(&mut tx, QUEUE).await?;
    let quarantine = rows(&mut tx, QUARANTINE).await?;
    let discrepancies = rows(&mut tx, DISCREPANCIES).await?;
    let paused = rows(&mut tx, PAUSED).await?;
    drop(tx);
    // Of what may be much: a page that says the rest is better than none.
    let (plots, latency, without_plots) = match plots(&console).await {
        Ok((plots, latency)) => (plots, latency, None),
        Err(problem @ (Problem::TooSlow | Problem::Unavailable)) => {
            (Vec::new(), None, Some(problem.to_string()))
        }
        Err(problem) => return Err(problem),
    };
    html(&Page {
        frame: Frame::new("Overview", "/", &visitor),
        tiles: tiles(&roles, &queue, &quarantine, &discrepancies, latency),
        roles: Table::of("Roles and how far they have read", &ROLE_COLUMNS, &roles),
        queue: Table::of("Domain events that wait to be published", &QUEUE_COLUMNS, &queue),
        quarantine: Table::of("Open quarantine by reason", &REASON_COLUMNS, &quarantine),
        discrepancies: Table::of("Open discrepancies by kind", &KIND_COLUMNS, &discrepancies),
        paused,
        plots,
        without_plots,
    })
}

const ROLE_COLUMNS: [Column; 4] = [
    Column("Role", Show::Text, &["role"]),
    Column("Records done", Show::Count, &["records"]),
    Column("Behind project", Show::Count, &["behind"]),
    Column("Last moved", Show::Time, &["moved_at"]),
];
const QUEUE_COLUMNS: [Column; 4] = [
    Column("Sink", Show::Text, &["sink"]),
    Column("Waiting", Show::Count, &["waiting"]),
    Column("Set aside", Show::Count, &["parked"]),
    Column("Oldest", Show::Time, &["oldest"]),
];
const REASON_COLUMNS: [Column; 3] = [
    Column("Reason", Show::Words, &["reason"]),
    Column("Records", Show::Count, &["records"]),
    Column("Oldest", Show::Time, &["oldest"]),
];
const KIND_COLUMNS: [Column; 3] = [
    Column("Kind", Show::Words, &["kind"]),
    Column("Open", Show::Count, &["records"]),
    Column("Oldest", Show::Time, &["oldest"]),
];

/// Positions of the topic that was read last. A topic made anew starts anew.
const ROLES: &str = "
    with newest as (
      select cluster, topic_id from pay.position
      group by 1, 2 order by max(updated_at) desc, 1, 2 limit 1),
    read as (
      select role, partition, next_offset, updated_at
      from pay.position join newest using (cluster, topic_id))
    select jsonb_build_object('role', r.role, 'records', sum(r.next_offset)::bigint, 'moved_at', max(r.updated_at),
      'age', extract(epoch from now() - max(r.updated_at))::bigint,
      'behind', case when r.role <> 'project'
        then sum(greatest(p.next_offset - r.next_offset, 0))::bigint end)
    from read as r
    left join read as p on p.role = 'project' and p.partition = r.partition
    group by r.role order by r.role = 'project' desc, r.role";

const QUEUE: &str = "
    select jsonb_build_object('sink', sink, 'waiting', count(*),
      'parked', nullif(count(*) filter (where leased_until = 'infinity'), 0),
      'oldest', min(created_at), 'age', extract(epoch from now() - min(created_at))::bigint)
    from pay.outbox group by sink order by sink";

const QUARANTINE: &str = "
    select jsonb_build_object('reason', reason, 'records', count(*),
      'oldest', min(quarantined_at))
    from pay.quarantine where state = 'open' group by reason order by count(*) desc, reason";

const DISCREPANCIES: &str = "
    select jsonb_build_object('kind', kind, 'records', count(*), 'oldest', min(first_seen))
    from pay.discrepancy where resolved_at is null group by kind order by count(*) desc, kind";

const PAUSED: &str = "
    select jsonb_build_object('topic', topic_id, 'since', tripped_at, 'looked_at', looked_at,
      'quarantined', quarantined)
    from pay.breaker where state = 'paused' order by cluster, topic_id";

/// Of each minute of the last hour: events that were applied, and the seconds from their receipt
/// within which nearly all of them were. The index over `applied_at` is one of ranges: it bears an
/// hour well.
const MINUTES: &str = "
    with minute as (
      select generate_series(date_trunc('minute', now()) - interval '59 minutes',
        date_trunc('minute', now()), interval '1 minute') as at),
    applied as (
      select date_trunc('minute', applied_at) as at, count(*) as events,
        percentile_disc(0.95) within group (order by applied_at - received_at) as p95
      from pay.event
      where applied_at >= date_trunc('minute', now()) - interval '59 minutes'
      group by 1)
    select to_char(m.at at time zone 'utc', 'HH24:MI'), coalesce(a.events, 0)::float8,
      extract(epoch from a.p95)::float8
    from minute as m left join applied as a using (at) order by m.at";

/// Payments of each of the last thirty days.
const DAYS: &str = "
    with day as (
      select generate_series(date_trunc('day', now() at time zone 'utc') - interval '29 days',
        date_trunc('day', now() at time zone 'utc'), interval '1 day') as at),
    made as (
      select date_trunc('day', created_at at time zone 'utc') as at, count(*) as payments
      from pay.txn
      where created_at >= (date_trunc('day', now() at time zone 'utc') - interval '29 days')
        at time zone 'utc'
      group by 1)
    select to_char(d.at, 'YYYY-MM-DD'), coalesce(m.payments, 0)::float8
    from day as d left join made as m using (at) order by d.at";

async fn rows(tx: &mut PgConnection, query: &'static str) -> sqlx::Result<Vec<Value>> {
    sqlx::query_scalar(query).fetch_all(tx).await
}

/// The plots, and the newest minute's latency in seconds.
async fn plots(console: &Console) -> Result<(Vec<Plot>, Option<f64>), Problem> {
    let mut tx = console.reader.begin().await?;
    let minutes: Vec<(String, f64, Option<f64>)> =
        sqlx::query_as(MINUTES).fetch_all(&mut *tx).await?;
    let days: Vec<(String, f64)> = sqlx::query_as(DAYS).fetch_all(&mut *tx).await?;
    let latency = minutes.iter().rev().find_map(|(_, _, p95)| *p95);
    let point = |at: &String, value| Point { at: at.clone(), value };
    let events: Vec<_> = minutes.iter().map(|(at, events, _)| point(at, Some(*events))).collect();
    let delays: Vec<_> = minutes.iter().map(|(at, _, p95)| point(at, *p95)).collect();
    let days: Vec<_> = days.iter().map(|(day, payments)| point(day, Some(*payments))).collect();
    let plots = vec![
        Plot::new("Events applied, each minute", "events", &events),
        Plot::new("From receipt to row, 95 of 100 within", "s", &delays),
        Plot::new("Payments made, each day", "payments", &days),
    ];
    Ok((plots, latency))
}

fn tiles(
    roles: &[Value],
    queue: &[Value],
    quarantine: &[Value],
    discrepancies: &[Value],
    latency: Option<f64>,
) -> Vec<Tile> {
    let total =
        |rows: &[Value], field: &str| rows.iter().filter_map(|row| row[field].as_i64()).sum();
    let project = roles.iter().find(|row| row["role"] == "project");
    let fresh = project.and_then(|row| row["age"].as_i64());
    let behind: i64 = total(roles, "behind");
    let waiting: i64 = total(queue, "waiting");
    let oldest = queue.iter().filter_map(|row| row["age"].as_i64()).max();
    let (bad, disputed): (i64, i64) =
        (total(quarantine, "records"), total(discrepancies, "records"));
    let tone = |is_bad: bool| if is_bad { "bad" } else { "good" };
    vec![
        Tile {
            name: "Newest record",
            value: fresh.map_or_else(|| "never".to_owned(), |age| format!("{} ago", duration(age))),
            more: latency.map_or_else(
                || "none in the last hour".to_owned(),
                |seconds| format!("within {seconds:.2} s of receipt"),
            ),
            tone: "calm",
            href: "#roles",
        },
        Tile {
            name: "Archive behind",
            value: grouped_count(behind),
            more: "records".to_owned(),
            tone: "calm",
            href: "#roles",
        },
        Tile {
            name: "Events waiting",
            value: grouped_count(waiting),
            more: oldest
                .map_or_else(|| "all sent".to_owned(), |age| format!("oldest {}", duration(age))),
            tone: "calm",
            href: "#queue",
        },
        Tile {
            name: "Open discrepancies",
            value: grouped_count(disputed),
            more: if disputed == 0 { "everything agrees" } else { "need a person" }.to_owned(),
            tone: tone(disputed > 0),
            href: "/discrepancies",
        },
        Tile {
            name: "Open in quarantine",
            value: grouped_count(bad),
            more: if bad == 0 { "everything was applied" } else { "could not be applied" }
                .to_owned(),
            tone: tone(bad > 0),
            href: "/quarantine",
        },
    ]
}

/// A number of seconds in its largest unit.
fn duration(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{} s", seconds.max(0)),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

impl Page {
    /// When a topic was paused.
    fn since(topic: &Value) -> Cell {
        Cell::time(topic["since"].as_str().unwrap_or_default())
    }
}
