//! Rows of JSON as cells of a table: money in its currency's decimals, times in UTC, ids that lead to
//! their story. Every text goes through the mask for e-mail addresses, for people name quotes and
//! orders, and every cell through the template's escaping.

use askama::Template;
use domain::currency;
use serde_json::Value;

use crate::mask;
use crate::story::dashboard;

/// What one place in a table or a list of facts says.
#[derive(Debug, Clone, PartialEq, Eq, Template)]
#[template(path = "cell.html")]
pub(super) enum Cell {
    Nothing,
    Text(String),
    /// An id or code without a story of its own.
    Code(String),
    /// An id that leads to its story.
    Story(String),
    /// `shown` without the currency, grouped by thousands.
    Money {
        shown: String,
        currency: String,
        minor: i64,
    },
    Count {
        shown: String,
        count: i64,
    },
    Time(Time),
    Day(String),
    Status {
        words: String,
        tone: &'static str,
    },
    Link {
        href: String,
        words: &'static str,
    },
}

/// A time in UTC: for people to the second, for machines as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Time {
    pub(super) day: String,
    pub(super) clock: String,
    pub(super) exact: String,
}

/// How a field is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Show {
    Text,
    /// Words that are one in the database: `not_written`.
    Words,
    Code,
    Story,
    Money,
    /// Money, where there is any.
    Part,
    Count,
    Time,
    Day,
    Status,
    /// `words` where the field is true.
    Flag(&'static str),
    /// Stripe's dashboard, for the id in the field.
    Dashboard,
    /// A page of the console's own, at the address in the field.
    Page(&'static str),
}

/// A column: its title, how it is shown, and the first of these fields that says something.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column(
    pub(super) &'static str,
    pub(super) Show,
    pub(super) &'static [&'static str],
);

/// Columns with their rows.
#[derive(Debug, Default, Template)]
#[template(path = "table.html")]
pub(super) struct Table {
    /// What it shows, for those who do not see it.
    pub(super) caption: String,
    pub(super) heads: Vec<Head>,
    pub(super) rows: Vec<Vec<Cell>>,
}

#[derive(Debug)]
pub(super) struct Head {
    pub(super) title: &'static str,
    pub(super) is_number: bool,
}

impl Table {
    /// A row for each of `rows`. A column that says nothing in any of them is left out.
    pub(super) fn of(caption: impl Into<String>, columns: &[Column], rows: &[Value]) -> Self {
        let mut table = Self { caption: caption.into(), ..Self::default() };
        table.rows.resize_with(rows.len(), Vec::new);
        for column @ Column(title, show, _) in columns {
            let cells: Vec<Cell> = rows.iter().map(|row| Cell::of(row, column)).collect();
            if cells.iter().all(|cell| *cell == Cell::Nothing) {
                continue;
            }
            let is_number = matches!(show, Show::Money | Show::Part | Show::Count);
            table.heads.push(Head { title, is_number });
            for (row, cell) in table.rows.iter_mut().zip(cells) {
                row.push(cell);
            }
        }
        table
    }

    /// A cell with its column, for tables that become cards on a narrow screen.
    pub(super) fn cells<'a>(
        &'a self,
        row: &'a [Cell],
    ) -> impl Iterator<Item = (&'a Head, &'a Cell)> {
        self.heads.iter().zip(row)
    }
}

impl Cell {
    /// What the column says of the row.
    pub(super) fn of(row: &Value, Column(_, show, fields): &Column) -> Self {
        let Some(value) = fields.iter().map(|field| &row[*field]).find(|value| is_said(value))
        else {
            return Self::Nothing;
        };
        let said = || mask::text(&plain(value));
        match show {
            Show::Text => Self::Text(said()),
            Show::Words => Self::Text(said().replace('_', " ")),
            Show::Code => Self::Code(said()),
            Show::Story => Self::Story(said()),
            Show::Count => value
                .as_i64()
                .map_or(Self::Nothing, |count| Self::Count { shown: grouped_count(count), count }),
            Show::Part if value == 0 => Self::Nothing,
            Show::Money | Show::Part => {
                let currency = row["currency"].as_str().unwrap_or_default();
                value.as_i64().map_or(Self::Nothing, |minor| Self::money(minor, currency))
            }
            Show::Time => Self::time(&said()),
            Show::Day => Self::Day(said().chars().take(10).collect()),
            Show::Status => Self::status(&said()),
            Show::Flag(words) if value == true => Self::Text((*words).to_owned()),
            Show::Flag(_) => Self::Nothing,
            Show::Page(words) => Self::Link { href: plain(value), words },
            Show::Dashboard => {
                let account = row["account"].as_str().unwrap_or_default();
                let livemode = row["livemode"].as_bool().unwrap_or(true);
                let link = dashboard::link(account, livemode, &plain(value));
                link.map_or(Self::Nothing, |href| Self::Link { href, words: "Stripe" })
            }
        }
    }

    /// Where its story is: the id is one step of the path, whatever is in it.
    pub(super) fn address(&self) -> Option<String> {
        let Self::Story(id) = self else { return None };
        let Ok(id) = askama::filters::urlencode_strict(id);
        Some(format!("/story/{id}"))
    }

    /// An amount of minor units.
    pub(super) fn money(minor: i64, currency: &str) -> Self {
        let shown = currency::display(minor, currency);
        let number = shown.strip_suffix(currency).unwrap_or(&shown).trim_end();
        Self::Money { shown: grouped(number), currency: currency.to_owned(), minor }
    }

    /// A time as the database writes it.
    pub(super) fn time(said: &str) -> Self {
        let (Some(day), Some(clock)) = (said.get(..10), said.get(11..19)) else {
            return Self::Text(said.to_owned());
        };
        Self::Time(Time { day: day.to_owned(), clock: clock.to_owned(), exact: said.to_owned() })
    }

    pub(super) fn status(said: &str) -> Self {
        Self::Status { words: said.replace('_', " "), tone: tone(said) }
    }
}

/// How a state is to be taken, whatever it is a state of.
fn tone(status: &str) -> &'static str {
    match status {
        "captured" | "succeeded" | "paid" | "won" | "active" | "applied" | "published" | "done"
        | "resolved" | "redriven" => "good",
        "requires_action"
        | "processing"
        | "authorized"
        | "pending"
        | "scheduled"
        | "in_transit"
        | "needs_review"
        | "under_review"
        | "warning_needs_response"
        | "warning_under_review"
        | "queued"
        | "held"
        | "variant"
        | "found" => "warn",
        "failed" | "lost" | "needs_response" | "restricted" | "uncollectible" | "quarantined"
        | "open" | "paused" => "bad",
        _ => "calm",
    }
}

/// A number of things with its thousands apart.
pub(super) fn grouped_count(count: i64) -> String {
    grouped(&count.to_string())
}

/// A number with its thousands apart: `-1,234,567.89`.
fn grouped(number: &str) -> String {
    let (sign, digits) = number.strip_prefix('-').map_or(("", number), |digits| ("-", digits));
    let (whole, part) =
        digits.split_once('.').map_or((digits, None), |(it, part)| (it, Some(part)));
    let mut shown = sign.to_owned();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    part.map_or(shown.clone(), |part| format!("{shown}.{part}"))
}

fn is_said(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(said) => !said.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Bool(flag) => *flag,
        Value::Number(_) => true,
    }
}

/// A value in a line, without JSON's quotes and braces.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(said) => said.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => {
            let said = fields.iter().filter(|(_, value)| is_said(value));
            let said =
                said.map(|(name, value)| format!("{} {}", name.replace('_', " "), plain(value)));
            said.collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use serde_json::json;

    use super::*;

    #[test]
    fn money_has_its_currencys_decimals_and_keeps_its_minor_units() {
        for (minor, currency, number) in [
            (1250, "USD", "12.50"),
            (-123_456_789, "EUR", "-1,234,567.89"),
            (100_000, "USD", "1,000.00"),
            (99_999, "USD", "999.99"),
            (1_000_000, "JPY", "1,000,000"),
            (1250, "KWD", "1.250"),
            (0, "ISK", "0.00"),
            (-5, "GBP", "-0.05"),
        ] {
            let Cell::Money { shown, currency: of, minor: kept } = Cell::money(minor, currency)
            else {
                panic!("{minor} {currency} is no money");
            };
            assert_eq!((shown.as_str(), of.as_str(), kept), (number, currency, minor));
        }
        let html = Cell::money(-123_456, "USD").render().unwrap();
        assert!(html.contains("-1,234.56") && html.contains("-123456 minor units"), "{html}");
    }

    #[test]
    fn whatever_a_row_says_is_escaped() {
        const EVIL: &str = "<script>alert(1)</script>'\"&{{7*7}}";
        let row = json!({"it": EVIL, "currency": EVIL, "n": 5});
        for show in [
            Show::Text,
            Show::Words,
            Show::Code,
            Show::Story,
            Show::Time,
            Show::Day,
            Show::Status,
            Show::Money,
            Show::Page("open"),
            Show::Dashboard,
        ] {
            let field: &[&str] = if show == Show::Money { &["n"] } else { &["it"] };
            let table = Table::of(EVIL, &[Column("It", show, field)], from_ref(&row));
            let html = table.render().unwrap();
            assert!(!html.contains("<script") && !html.contains("'\""), "{show:?}: {html}");
        }
    }

    #[test]
    fn an_id_is_one_step_of_a_path() {
        let html = Cell::Story("a/../b?c#d e".to_owned()).render().unwrap();
        assert!(html.contains(r#"href="/story/a%2F..%2Fb%3Fc%23d%20e""#), "{html}");
    }

    #[test]
    fn addresses_are_masked() {
        let row = json!({"order": "for ada@example.org"});
        let cell = Cell::of(&row, &Column("Order", Show::Text, &["order"]));
        assert_eq!(cell, Cell::Text("for ***".to_owned()));
    }

    #[test]
    fn a_column_without_a_word_is_left_out() {
        let columns = [
            Column("Id", Show::Story, &["intent", "charge"]),
            Column("Order", Show::Text, &["order"]),
            Column("Direct", Show::Flag("direct"), &["is_direct"]),
        ];
        let rows = [
            json!({"intent": null, "charge": "ch_1", "order": "", "is_direct": false}),
            json!({"intent": "pi_1", "charge": "ch_2", "order": null, "is_direct": true}),
        ];
        let table = Table::of("", &columns, &rows);
        let titles: Vec<_> = table.heads.iter().map(|head| head.title).collect();
        assert_eq!(titles, ["Id", "Direct"]);
        assert_eq!(table.rows[0], [Cell::Story("ch_1".into()), Cell::Nothing]);
        assert_eq!(table.rows[1], [Cell::Story("pi_1".into()), Cell::Text("direct".into())]);
    }

    #[test]
    fn a_time_is_in_utc_to_the_second() {
        let html = Cell::time("2025-10-09T08:53:20.123456+00:00").render().unwrap();
        assert!(html.contains(r#"datetime="2025-10-09T08:53:20.123456+00:00""#), "{html}");
        assert!(html.contains("2025-10-09") && html.contains("08:53:20"), "{html}");
        assert_eq!(Cell::time("soon"), Cell::Text("soon".into()));
    }
}
