//! Which facts are told again, and in which order they are read.

use std::fmt;
use std::str::FromStr;

use domain::fact::{DomainEvent, Fact};
use sqlx::{PgPool, Row as _};

use crate::fault::Fault;
use crate::publish::Event;
use crate::source::filter::Moment;
use crate::store::fact_of_row;

/// Facts that are read at a time: what memory holds.
const PAGE: i64 = 500;

/// The place of a fact in the order of reading: Stripe's time, then the fact's id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cursor {
    created: i64,
    fact_id: String,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.created, self.fact_id)
    }
}

impl FromStr for Cursor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let problem = "is not a place that an earlier run printed, SECONDS:fct_…";
        let (created, fact_id) = text.split_once(':').ok_or(problem)?;
        let created = created.parse().map_err(|_| problem)?;
        let is_id = fact_id.strip_prefix("fct_").is_some_and(|id| !id.is_empty());
        if is_id { Ok(Self { created, fact_id: fact_id.to_owned() }) } else { Err(problem) }
    }
}

/// What is told again: all that holds of these. `from` counts and `to` does not.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selection {
    /// By the event's time, which is Stripe's.
    pub(crate) from: Option<Moment>,
    pub(crate) to: Option<Moment>,
    /// By the time at which the fact was first recorded here.
    pub(crate) recorded_from: Option<Moment>,
    pub(crate) recorded_to: Option<Moment>,
    /// Types; none for all.
    pub(crate) kinds: Vec<String>,
    /// Subjects; none for all.
    pub(crate) subjects: Vec<String>,
    /// Account that owns the object.
    pub(crate) account: Option<String>,
    /// Where to go on.
    pub(crate) after: Option<Cursor>,
}

/// How much of one type there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) kind: String,
    pub(crate) events: u64,
    /// Earliest and latest time, Unix seconds.
    pub(crate) times: (i64, i64),
}

/// A fact and the event that tells it.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) fact: Fact,
    event: DomainEvent,
    is_intact: bool,
}

impl Told {
    fn of(fact: Fact, recorded_hash: &[u8]) -> Self {
        let is_intact = fact.content_hash() == recorded_hash;
        Self { event: fact.to_domain_event(), fact, is_intact }
    }

    pub(super) fn event(&self) -> Event<'_> {
        Event { subject: &self.fact.subject, payload: &self.event.payload }
    }

    pub(super) fn cursor(&self) -> Cursor {
        Cursor { created: self.fact.created, fact_id: self.fact.fact_id.clone() }
    }

    /// Why it must not be sent, if so. A fact whose content is not what its hash says would go out
    /// under another id than before.
    pub(super) fn unfit(&self) -> Option<&'static str> {
        if self.event().is_too_large() {
            Some("too_large")
        } else if !self.is_intact {
            Some("altered")
        } else {
            None
        }
    }
}

/// What both questions ask for. The first condition is the range of the index that is read.
macro_rules! selected {
    () => {
        " from pay.fact as f
         where (f.created, f.fact_id) > (to_timestamp($1), $2) and f.created < to_timestamp($3)
           and not f.held
           and f.recorded_at >= to_timestamp($4) and f.recorded_at < to_timestamp($5)
           and (cardinality($6::text[]) = 0 or f.type = any($6))
           and (cardinality($7::text[]) = 0 or f.subject = any($7))
           and ($8::text is null or f.account = $8)"
    };
}

impl Selection {
    /// How much there is, by type.
    pub(crate) async fn plan(&self, pool: &PgPool) -> Result<Vec<Plan>, Fault> {
        let doing = "counting facts";
        let query = sqlx::query(concat!(
            "select f.type, count(*) as events, extract(epoch from min(f.created))::bigint as first,
               extract(epoch from max(f.created))::bigint as last",
            selected!(),
            " group by f.type order by f.type"
        ));
        let rows = self.bind(query, self.after.as_ref()).fetch_all(pool).await;
        let rows = rows.map_err(|error| Fault::postgres(doing, error))?;
        let plan = rows.iter().map(|row| {
            Ok(Plan {
                kind: row.try_get("type")?,
                events: row.try_get::<i64, _>("events")?.unsigned_abs(),
                times: (row.try_get("first")?, row.try_get("last")?),
            })
        });
        plan.collect::<sqlx::Result<_>>().map_err(|error| Fault::postgres(doing, error))
    }

    /// The facts that follow, in order; none at the end.
    pub(super) async fn page(
        &self,
        pool: &PgPool,
        after: Option<&Cursor>,
    ) -> Result<Vec<Told>, Fault> {
        let doing = "reading facts";
        let query = sqlx::query(concat!(
            "select f.fact_id, f.type, f.account, f.subject, f.object_id,
               extract(epoch from f.created)::bigint as created, f.event_id, f.livemode, f.data,
               f.held, f.content_hash",
            selected!(),
            " order by f.created, f.fact_id limit $9"
        ));
        let rows = self.bind(query, after).bind(PAGE).fetch_all(pool).await;
        let rows = rows.map_err(|error| Fault::postgres(doing, error))?;
        let told = rows.iter().map(|row| {
            let recorded_hash: &[u8] = row.try_get("content_hash")?;
            Ok(Told::of(fact_of_row(row)?, recorded_hash))
        });
        told.collect::<sqlx::Result<_>>().map_err(|error| Fault::postgres(doing, error))
    }

    fn bind<'q>(&'q self, query: Query<'q>, after: Option<&'q Cursor>) -> Query<'q> {
        let since = seconds(self.from, f64::NEG_INFINITY);
        let after = after.map(|cursor| (unix(cursor.created), &*cursor.fact_id));
        // The empty id comes before every other, so `from` counts.
        let (created, fact_id) = after.filter(|after| after.0 >= since).unwrap_or((since, ""));
        query
            .bind(created)
            .bind(fact_id)
            .bind(seconds(self.to, f64::INFINITY))
            .bind(seconds(self.recorded_from, f64::NEG_INFINITY))
            .bind(seconds(self.recorded_to, f64::INFINITY))
            .bind(&self.kinds)
            .bind(&self.subjects)
            .bind(self.account.as_deref())
    }
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

/// A moment in seconds.
fn seconds(moment: Option<Moment>, otherwise: f64) -> f64 {
    moment.map_or(otherwise, |moment| unix(moment.0) / 1000.0)
}

/// Exact for every time that PostgreSQL has.
#[expect(clippy::cast_precision_loss, reason = "times of PostgreSQL fit")]
fn unix(time: i64) -> f64 {
    time as f64
}

#[cfg(test)]
mod tests {
    use domain::id::fact_id;
    use serde_json::json;

    use super::*;

    fn fact(order: &str) -> Fact {
        Fact {
            fact_id: fact_id("payment.captured", "", "ch_1:100"),
            kind: "payment.captured".into(),
            account: String::new(),
            subject: "ch_1:100".into(),
            object_id: "ch_1".into(),
            created: 1_760_000_000,
            event_id: "evt_1".into(),
            livemode: false,
            data: json!({"order_id": order}),
            held: false,
        }
    }

    #[test]
    fn a_cursor_reads_as_it_is_written() {
        let told = Told::of(fact("a"), &fact("a").content_hash());
        let cursor = told.cursor();
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for text in ["", "1", "1:", "1:fct_", "x:fct_1", "1:evt_1"] {
            assert!(text.parse::<Cursor>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_would_go_out_under_another_id_is_unfit() {
        assert_eq!(Told::of(fact("a"), &fact("a").content_hash()).unfit(), None);
        assert_eq!(Told::of(fact("b"), &fact("a").content_hash()).unfit(), Some("altered"));
        let large = fact(&"x".repeat(1000 * 1024));
        assert_eq!(Told::of(large.clone(), &large.content_hash()).unfit(), Some("too_large"));
    }
}
