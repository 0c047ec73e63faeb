//! Lists: rows of one kind, the newest first, narrowed by filters, a page at a time.
//!
//! An address names a page for ever: it holds the filters, and for all pages but the first the time
//! and key of the row before ("keyset pagination"), so that rows that come meanwhile move nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{Query, State};
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{Postgres, QueryBuilder, Row as _};
use time::macros::format_description;
use time::{Date, Duration, OffsetDateTime};

use super::access::Visitor;
use super::cell::{Column, Table};
use super::page::{Answer, Frame, html};
use super::problem::Problem;
use super::web::Console;

/// A kind of rows.
pub(super) struct List {
    pub(super) path: &'static str,
    pub(super) title: &'static str,
    /// What is in it, in a line.
    pub(super) about: &'static str,
    /// SQL: where the rows are.
    pub(super) from: &'static str,
    /// SQL: a row as JSON.
    pub(super) row: &'static str,
    /// SQL: the order, the newest first, and what is unique in it.
    pub(super) time: &'static str,
    pub(super) key: &'static str,
    pub(super) filters: &'static [Filter],
    pub(super) columns: &'static [Column],
}

/// A narrowing by equality.
pub(super) struct Filter {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    /// SQL: what must be equal.
    pub(super) of: &'static str,
    /// What can be chosen; none where anything can be written.
    pub(super) choices: &'static [&'static str],
    /// What holds while nothing is chosen.
    pub(super) default: &'static str,
}

/// A filter as the form shows it.
struct Field<'a> {
    filter: &'a Filter,
    value: String,
}

#[derive(Template)]
#[template(path = "list.html")]
struct Page<'a> {
    frame: Frame,
    list: &'a List,
    fields: Vec<Field<'a>>,
    from: String,
    to: String,
    table: Table,
    is_narrowed: bool,
    /// Whether this is not the first page.
    is_later: bool,
    /// Address of the first page, and of the next.
    first: String,
    older: Option<String>,
}

/// Parameters as they came.
pub(super) type Asked = Query<BTreeMap<String, String>>;

/// The handler of each list.
pub(super) async fn page(
    list: &'static List,
    State(console): State<Arc<Console>>,
    Extension(visitor): Extension<Visitor>,
    Query(asked): Asked,
) -> Answer {
    let asked = Narrowed::new(list, &asked)?;
    let rows = console.limits.rows;
    let mut tx = console.reader.begin().await?;
    let found = asked.query(rows).build().fetch_all(&mut *tx).await?;
    let shown = &found[..found.len().min(usize::from(rows))];
    let older = (found.len() > shown.len()).then(|| shown.last()).flatten();
    let documents: Vec<Value> =
        shown.iter().map(|row| row.try_get("row")).collect::<Result<_, _>>()?;
    html(&Page {
        frame: Frame::new(list.title, list.path, &visitor),
        fields: asked.fields(),
        from: asked.text("from"),
        to: asked.text("to"),
        table: Table::of(list.title, list.columns, &documents),
        is_narrowed: !asked.given.is_empty(),
        is_later: asked.after.is_some(),
        first: asked.address(None),
        older: older
            .map(|row| Ok::<_, sqlx::Error>(asked.address(Some(&cursor(row)?))))
            .transpose()?,
        list,
    })
}

/// A list with what narrows it.
struct Narrowed<'a> {
    list: &'a List,
    /// Filters and days that the address holds; an empty one lifts a default.
    given: Vec<(&'static str, String)>,
    from: Option<OffsetDateTime>,
    before: Option<OffsetDateTime>,
    after: Option<(OffsetDateTime, String)>,
}

impl<'a> Narrowed<'a> {
    fn new(list: &'a List, asked: &BTreeMap<String, String>) -> Result<Self, Problem> {
        let text = |name: &str| asked.get(name).map(|said| said.trim().to_owned());
        let mut given = Vec::new();
        for filter in list.filters {
            let Some(said) = text(filter.name) else { continue };
            let is_known = filter.choices.is_empty() || filter.choices.contains(&&*said);
            if !said.is_empty() && !is_known {
                let choices = filter.choices.join(", ");
                return Err(Problem::BadRequest(format!("{}: one of {choices}", filter.label)));
            }
            if !said.is_empty() || !filter.default.is_empty() {
                given.push((filter.name, said));
            }
        }
        let mut day = |name: &'static str| {
            let said = text(name).filter(|said| !said.is_empty());
            let Some(said) = said else { return Ok(None) };
            let date = parse_day(&said).ok_or_else(|| {
                Problem::BadRequest(format!("{said} is no day; write it as 2025-12-31"))
            })?;
            given.push((name, said));
            Ok::<_, Problem>(Some(date))
        };
        let from = day("from")?.map(|day| day.midnight().assume_utc());
        let to = day("to")?.map(|day| day.midnight().assume_utc());
        let after = text("after").map(|said| {
            parse_cursor(&said).ok_or_else(|| Problem::BadRequest("after: is no row".to_owned()))
        });
        Ok(Self {
            list,
            given,
            from,
            before: to.and_then(|day| day.checked_add(Duration::DAY)),
            after: after.transpose()?,
        })
    }

    /// What is asked of a filter or day.
    fn text(&self, name: &str) -> String {
        let given = self.given.iter().find(|(known, _)| *known == name);
        given.map(|(_, said)| said.clone()).unwrap_or_default()
    }

    fn value(&self, filter: &Filter) -> String {
        let given = self.given.iter().find(|(known, _)| *known == filter.name);
        given.map_or_else(|| filter.default.to_owned(), |(_, said)| said.clone())
    }

    fn fields(&self) -> Vec<Field<'a>> {
        let field = |filter| Field { filter, value: self.value(filter) };
        self.list.filters.iter().map(field).collect()
    }

    /// One row more than are shown, to know whether there are more.
    fn query(&self, rows: u16) -> QueryBuilder<Postgres> {
        let List { from, row, time, key, .. } = self.list;
        let mut query = QueryBuilder::new(format!(
            "select {row} as row, (extract(epoch from {time}) * 1000000)::bigint as at, {key} as key
             from {from} where true"
        ));
        for filter in self.list.filters {
            let value = self.value(filter);
            if !value.is_empty() {
                query.push(format!(" and {} = ", filter.of)).push_bind(value);
            }
        }
        if let Some(from) = self.from {
            query.push(format!(" and {time} >= ")).push_bind(from);
        }
        if let Some(before) = self.before {
            query.push(format!(" and {time} < ")).push_bind(before);
        }
        if let Some((at, last)) = &self.after {
            query.push(format!(" and ({time}, {key}) < (")).push_bind(*at);
            query.push(", ").push_bind(last.clone()).push(")");
        }
        query.push(format!(" order by {time} desc, {key} desc limit "));
        query.push_bind(i64::from(rows) + 1);
        query
    }

    /// The address of the first page, or of what comes after a row.
    fn address(&self, after: Option<&str>) -> String {
        let mut pairs: Vec<(&str, &str)> =
            self.given.iter().map(|(name, said)| (*name, said.as_str())).collect();
        pairs.extend(after.map(|after| ("after", after)));
        let query = serde_urlencoded::to_string(pairs).unwrap_or_default();
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{}{mark}{query}", self.list.path)
    }
}

/// A row's place in its list: microseconds, a comma, its key.
fn cursor(row: &PgRow) -> sqlx::Result<String> {
    Ok(format!("{},{}", row.try_get::<i64, _>("at")?, row.try_get::<String, _>("key")?))
}

fn parse_cursor(said: &str) -> Option<(OffsetDateTime, String)> {
    let (at, key) = said.split_once(',')?;
    let nanos = i128::from(at.parse::<i64>().ok()?) * 1000;
    Some((OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()?, key.to_owned()))
}

/// A day such as `2025-12-31`.
pub(super) fn parse_day(said: &str) -> Option<Date> {
    Date::parse(said, format_description!("[year]-[month]-[day]")).ok()
}

#[cfg(test)]
mod tests {
    use super::super::lists::LISTS;
    use super::*;

    fn narrowed(pairs: &[(&str, &str)]) -> Result<Narrowed<'static>, Problem> {
        let pairs = pairs.iter().map(|(name, said)| ((*name).to_owned(), (*said).to_owned()));
        let list = LISTS.iter().find(|list| list.path == "/payments").unwrap();
        Narrowed::new(list, &pairs.collect())
    }

    #[test]
    fn an_address_holds_what_narrows_the_list_and_no_more() {
        let asked = narrowed(&[
            ("status", "captured"),
            ("currency", ""),
            ("from", " 2025-01-31 "),
            ("to", ""),
            ("other", "1"),
        ]);
        let asked = asked.unwrap();
        assert_eq!(asked.address(None), "/payments?status=captured&from=2025-01-31");
        let after = asked.address(Some("17,txn_a b"));
        assert_eq!(after, "/payments?status=captured&from=2025-01-31&after=17%2Ctxn_a+b");
        let sql = asked.query(50).sql().as_str().to_owned();
        assert!(sql.contains("and t.status = $1 and t.created_at >= $2 order by"), "{sql}");
        assert_eq!(narrowed(&[]).unwrap().address(None), "/payments");
    }

    #[test]
    fn what_cannot_be_understood_is_said() {
        for (name, said, words) in [
            ("status", "'; drop table pay.txn; --", "Status: one of"),
            ("from", "2025-02-30", "2025-02-30 is no day"),
            ("to", "yesterday", "yesterday is no day"),
            ("after", "x", "after: is no row"),
        ] {
            let problem = narrowed(&[(name, said)]).map(drop).unwrap_err().to_string();
            assert!(problem.starts_with(words), "{problem}");
        }
    }

    #[test]
    fn a_day_is_meant_to_its_end() {
        let asked = narrowed(&[("to", "2025-12-31")]).unwrap();
        let end = time::macros::datetime!(2026-01-01 00:00 UTC);
        assert_eq!((asked.from, asked.before), (None, Some(end)));
    }

    #[test]
    fn a_cursor_keeps_the_microsecond() {
        let (at, key) = parse_cursor("1760000000123456,txn_1,2").unwrap();
        assert_eq!(
            (at.unix_timestamp(), at.microsecond(), &*key),
            (1_760_000_000, 123_456, "txn_1,2")
        );
        assert!(parse_cursor("1760000000123456").is_none());
    }
}
