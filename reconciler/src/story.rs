//! The story of an id: what the database says of all that it belongs to, and what follows from it.
//! `reconciler inspect` and the console tell it.

pub(crate) mod dashboard;
mod find;
pub(crate) mod query;
pub(crate) mod segment;
mod summary;

use std::collections::BTreeMap;

use anyhow::Context as _;
use domain::currency;
use domain::fact::Fact;
use domain::id;
use serde_json::{Map, Value, json};
use sqlx::{AssertSqlSafe, PgConnection, Row as _};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use self::find::MAX_OBJECTS;
use self::query::{NAMED, SECTIONS};
use crate::mask;

pub(crate) use self::find::Found;

/// Most rows of a section.
const MAX_ROWS: usize = 500;
/// Most rows of what is only related: a provider's newest payments and payouts, other objects.
const MAX_RELATED: usize = 20;
/// Most topics that are taken into account: a topic that is made anew starts another archive.
const MAX_TOPICS: i64 = 3;

/// Everything that is told of an id.
#[derive(Debug, Default)]
pub(crate) struct Story {
    /// What was asked for.
    pub(crate) id: String,
    sections: BTreeMap<&'static str, Vec<Value>>,
    /// A line for each thing that the id stands for.
    pub(crate) summary: Vec<String>,
    /// What was left out, and by which limit.
    pub(crate) notes: Vec<String>,
    /// Cluster and id of the topics that the events may lie in, the newest first.
    pub(crate) topics: Vec<(String, String)>,
    /// Where the archive's segments are, or how to find out.
    pub(crate) archive: Vec<String>,
}

impl Story {
    /// Reads it. The transaction must see one snapshot.
    pub(crate) async fn read(
        tx: &mut PgConnection,
        id: &str,
        found: &Found,
        with_snapshots: bool,
    ) -> anyhow::Result<Self> {
        let mut story = Self { id: id.to_owned(), ..Self::default() };
        if found.is_cut {
            story.notes.push(format!("more than {MAX_OBJECTS} objects: the others are left out"));
        }
        for (name, query) in SECTIONS.into_iter().chain([("named", NAMED)]) {
            let most =
                if name.starts_with("related") || name == "named" { MAX_RELATED } else { MAX_ROWS };
            let mut rows = section(tx, query, id, found, with_snapshots, most)
                .await
                .with_context(|| format!("reading {name}"))?;
            if rows.len() > most {
                rows.truncate(most);
                story.notes.push(format!("{name}: only {most} are shown, there are more"));
            }
            story.sections.insert(name, rows);
        }
        story.topics = sqlx::query_as(
            "select cluster, topic_id from pay.position group by 1, 2
             order by max(updated_at) desc, 1, 2 limit $1",
        )
        .bind(MAX_TOPICS)
        .fetch_all(tx)
        .await?;
        story.complete();
        Ok(story)
    }

    /// Whether nothing is known: an id that was only locked is not known.
    pub(crate) fn is_empty(&self) -> bool {
        self.sections.iter().all(|(name, rows)| match *name {
            "snapshots" => rows.iter().all(|row| row["kind"].is_null()),
            _ => rows.is_empty(),
        })
    }

    /// The rows of a section.
    pub(crate) fn rows(&self, section: &str) -> &[Value] {
        self.sections.get(section).map_or(&[], Vec::as_slice)
    }

    /// The events, to be completed.
    pub(crate) fn events_mut(&mut self) -> &mut [Value] {
        self.sections.get_mut("events").map_or(&mut [], Vec::as_mut_slice)
    }

    /// The document of `--json`.
    pub(crate) fn into_json(self) -> Value {
        let mut document = Map::from_iter([
            ("id".to_owned(), json!(self.id)),
            ("summary".to_owned(), json!(self.summary)),
            ("notes".to_owned(), json!(self.notes)),
            ("archive".to_owned(), json!(self.archive)),
        ]);
        let sections = self.sections.into_iter();
        document.extend(sections.map(|(name, rows)| (name.to_owned(), Value::Array(rows))));
        Value::Object(document)
    }

    /// Adds what follows from the rows, and takes personal data out.
    fn complete(&mut self) {
        for row in self.sections.values_mut().flatten() {
            let snapshot = row.get_mut("snapshot").map(Value::take);
            without_addresses(row);
            match snapshot {
                Some(Value::Null) => drop(row.as_object_mut().map(|row| row.remove("snapshot"))),
                Some(shown) => row["snapshot"] = mask::document(&shown),
                None => {}
            }
        }
        self.complete_events();
        for fact in self.sections.get_mut("facts").into_iter().flatten() {
            fact["domain_event"] = json!(domain_event_id(fact));
        }
        self.complete_amounts();
        self.complete_links();
        self.summary = summary::lines(self);
    }

    fn complete_events(&mut self) {
        let mut newest_of: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for row in self.rows("snapshots").iter().filter(|row| row["event"].is_string()) {
            newest_of.entry(text(&row["event"])).or_default().push(row["object"].clone());
        }
        let mut proved: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for row in self.rows("facts") {
            let said = format!("{} of {}", text(&row["type"]), text(&row["subject"]));
            proved.entry(text(&row["event"])).or_default().push(said);
        }
        let events = self.events_mut();
        mark_arrival(events);
        for event in events {
            let id = text(&event["event"]);
            event["newest_of"] = json!(newest_of.remove(&id).unwrap_or_default());
            event["proved"] = json!(proved.get(&id).cloned().unwrap_or_default());
            event["outcome"] = json!(outcome(event));
        }
    }

    /// Amounts of the ledger in the currency's decimals, beside the minor units.
    fn complete_amounts(&mut self) {
        for entry in self.sections.get_mut("ledger").into_iter().flatten() {
            let currency = text(&entry["currency"]);
            for posting in entry["postings"].as_array_mut().into_iter().flatten() {
                posting["display"] = json!(amount(&posting["amount"], &currency));
            }
        }
        for row in self.sections.get_mut("balances").into_iter().flatten() {
            row["display"] = json!(amount(&row["balance"], &text(&row["currency"])));
        }
    }

    /// Links to Stripe's dashboard.
    fn complete_links(&mut self) {
        let livemode = self.sections.values().flatten().find_map(|row| row["livemode"].as_bool());
        for (section, fields) in [
            ("payments", &["intent", "charge"][..]),
            ("related_payments", &["intent", "charge"]),
            ("refunds", &["refund"]),
            ("disputes", &["dispute"]),
            ("payouts", &["transfer", "payout"]),
            ("related_payouts", &["transfer", "payout"]),
            ("invoices", &["invoice"]),
            ("providers", &["stripe_account"]),
            ("events", &["event"]),
            ("snapshots", &["object"]),
        ] {
            for row in self.sections.get_mut(section).into_iter().flatten() {
                let id = fields.iter().find_map(|field| row[*field].as_str());
                let livemode = row["livemode"].as_bool().or(livemode).unwrap_or(true);
                let account = row["account"].as_str().unwrap_or_default();
                row["dashboard"] = json!(id.and_then(|id| dashboard::link(account, livemode, id)));
            }
        }
    }
}

async fn section(
    tx: &mut PgConnection,
    query: &str,
    id: &str,
    found: &Found,
    with_snapshots: bool,
    most: usize,
) -> sqlx::Result<Vec<Value>> {
    let rows = sqlx::query(AssertSqlSafe(format!("{query} limit {}", most + 1)))
        .bind(found.accounts())
        .bind(found.objects())
        .bind(found.kinds())
        .bind(found.txns())
        .bind(found.row_ids(id::refund_id))
        .bind(found.row_ids(id::dispute_id))
        .bind(found.row_ids(id::payout_id))
        .bind(found.row_ids(id::invoice_id))
        .bind(id)
        .bind(found.newest_events())
        .bind(with_snapshots)
        .fetch_all(tx)
        .await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

/// The order in which an account's events came (`came`, from 1), and which of them are older by
/// Stripe's time than one that had come before (`is_late`).
fn mark_arrival(events: &mut [Value]) {
    let mut order: Vec<usize> = (0..events.len()).collect();
    let arrival = |event: &Value| {
        let at = event["received_at"].as_str().or(event["applied_at"].as_str());
        (at.map(moment), event["partition"].as_i64(), event["offset"].as_i64())
    };
    order.sort_by_key(|index| arrival(&events[*index]));
    let mut accounts: BTreeMap<String, (u64, Option<OffsetDateTime>)> = BTreeMap::new();
    for index in order {
        let event = &mut events[index];
        let created = event["stripe_time"].as_str().map(moment);
        let (came, newest) = accounts.entry(text(&event["account"])).or_default();
        *came += 1;
        event["came"] = json!(came);
        event["is_late"] = json!(created < *newest);
        *newest = created.max(*newest);
    }
}

/// What an event changed, or why it changed nothing.
fn outcome(event: &Value) -> String {
    let is_newest = event["newest_of"].as_array().is_some_and(|objects| !objects.is_empty());
    // A thin event only names its object. <https://docs.stripe.com/event-destinations#thin-events>
    let is_thin = ["v1.", "v2."].iter().any(|version| text(&event["type"]).starts_with(version));
    let newest = if is_newest { ": gave the newest snapshot" } else { "" };
    match event["verdict"].as_str().unwrap_or_default() {
        "applied" if is_newest => "gave the newest snapshot".to_owned(),
        "applied" => "was the newest when it came".to_owned(),
        "variant" => format!("known id with other data, ordered like any record{newest}"),
        "stale" => "a newer state was known; its facts and times count".to_owned(),
        "unhandled" if event["object"].is_null() || is_thin => {
            "holds no object to keep: recorded only".to_owned()
        }
        "unhandled" if is_newest => "not modelled; gave the newest snapshot".to_owned(),
        "unhandled" => "not modelled; a newer snapshot is kept".to_owned(),
        "wrong_livemode" => "the other livemode: recorded, not projected".to_owned(),
        "quarantined" => {
            let said = &event["quarantine"];
            let (reason, detail) = (text(&said["reason"]), text(&said["detail"]));
            let end = match said["state"].as_str() {
                Some("discarded") => format!("; given up: {}", text(&said["note"])),
                _ => String::new(),
            };
            if reason.is_empty() {
                "cannot be applied".to_owned()
            } else {
                format!("cannot be applied: {reason}, {detail}{end}")
            }
        }
        other => other.to_owned(),
    }
}

/// The id of the domain event that tells this fact as it is now.
fn domain_event_id(row: &Value) -> Option<String> {
    let fact = Fact {
        fact_id: text(&row["fact_id"]),
        kind: text(&row["type"]),
        account: text(&row["account"]),
        subject: text(&row["subject"]),
        object_id: text(&row["object"]),
        created: OffsetDateTime::parse(row["time"].as_str()?, &Rfc3339).ok()?.unix_timestamp(),
        event_id: text(&row["event"]),
        livemode: row["livemode"].as_bool()?,
        data: row["data"].clone(),
        held: row["state"] == "held",
    };
    Some(fact.to_domain_event().id)
}

/// A time as the database writes it; what is none comes before all.
fn moment(text: &str) -> OffsetDateTime {
    OffsetDateTime::parse(text, &Rfc3339).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// A text; empty for what is none.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Minor units in the currency's decimals; empty for what is no amount.
pub(crate) fn amount(minor_units: &Value, currency: &str) -> String {
    minor_units.as_i64().map(|units| currency::display(units, currency)).unwrap_or_default()
}

/// Masks e-mail addresses: quotes, orders and providers are named by whoever writes metadata.
fn without_addresses(value: &mut Value) {
    match value {
        Value::String(said) => *said = mask::text(said),
        Value::Array(items) => items.iter_mut().for_each(without_addresses),
        Value::Object(fields) => fields.values_mut().for_each(without_addresses),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str, created: &str, received: Option<&str>, offset: i64) -> Value {
        json!({"event": id, "account": "", "stripe_time": created, "received_at": received,
            "applied_at": "2025-10-09T09:00:00.5+00:00", "partition": 0, "offset": offset})
    }

    #[test]
    fn late_is_what_is_older_than_what_came_before() {
        let mut events = [
            event("evt_1", "2025-10-09T08:00:00+00:00", Some("2025-10-09T08:00:09.25+00:00"), 2),
            event("evt_2", "2025-10-09T08:00:01+00:00", Some("2025-10-09T08:00:02+00:00"), 0),
            event("evt_3", "2025-10-09T08:00:01+00:00", Some("2025-10-09T08:00:02+00:00"), 1),
            event("evt_4", "2025-10-09T08:00:05+00:00", None, 3),
        ];
        mark_arrival(&mut events);
        let marks: Vec<_> =
            events.iter().map(|it| (it["came"].as_i64(), it["is_late"].as_bool())).collect();
        let expected = [(3, true), (1, false), (2, false), (4, false)];
        assert_eq!(marks, expected.map(|(came, late)| (Some(came), Some(late))));
    }

    #[test]
    fn accounts_are_counted_apart() {
        let mut events = [
            event("evt_1", "2025-10-09T08:00:00+00:00", None, 1),
            event("evt_2", "2025-10-09T08:00:09+00:00", None, 0),
        ];
        events[1]["account"] = "acct_1".into();
        mark_arrival(&mut events);
        assert_eq!((&events[0]["came"], &events[0]["is_late"]), (&json!(1), &json!(false)));
        assert_eq!(events[1]["came"], 1);
    }

    #[test]
    fn every_verdict_has_its_words() {
        let quarantine = json!({"reason": "field_missing", "detail": "amount: missing"});
        for (verdict, newest, words) in [
            ("applied", true, "gave the newest snapshot"),
            ("applied", false, "was the newest when it came"),
            (
                "variant",
                true,
                "known id with other data, ordered like any record: gave the newest snapshot",
            ),
            ("stale", false, "a newer state was known; its facts and times count"),
            ("unhandled", true, "not modelled; gave the newest snapshot"),
            ("wrong_livemode", false, "the other livemode: recorded, not projected"),
            ("quarantined", false, "cannot be applied: field_missing, amount: missing"),
        ] {
            let newest_of = if newest { json!(["ch_1"]) } else { json!([]) };
            let event = json!({"verdict": verdict, "object": "ch_1", "newest_of": newest_of,
                "quarantine": quarantine});
            assert_eq!(outcome(&event), words);
        }
        let thin = json!({"verdict": "unhandled", "object": "acct_1", "newest_of": [],
            "type": "v2.core.account.updated"});
        assert_eq!(outcome(&thin), "holds no object to keep: recorded only");
    }

    #[test]
    fn addresses_are_masked_wherever_they_are() {
        let mut row = json!({"order_id": "ada@example.org", "reviews": [{"id": "prv_1"}], "n": 1});
        without_addresses(&mut row);
        assert_eq!(row, json!({"order_id": "***", "reviews": [{"id": "prv_1"}], "n": 1}));
    }
}
