//! How each kind of row is shown: a few columns, and the details below.

use serde_json::Value;

use crate::commands::inspect::layout::GridRow;
use crate::story::{amount, text};

pub(super) fn payment(row: &Value) -> GridRow {
    let money = money(row);
    let name = first(row, &["intent", "charge"]);
    let charge = text(&row["charge"]);
    let charge = if charge == name { String::new() } else { charge };
    let own_words =
        |field: &str| if row[field].is_null() { String::new() } else { show_json(&row[field]) };
    GridRow {
        cells: vec![
            name,
            text(&row["status"]),
            money("amount"),
            money("captured"),
            money("refunded"),
        ],
        details: details([
            words(&[("", text(&row["txn_id"])), ("charge", charge)]),
            words(&[
                ("Stripe says", text(&row["stripe_status"])),
                ("method", text(&row["method"])),
                ("created", time(&row["created_at"])),
                ("authorized", time(&row["authorized_at"])),
                ("captured", time(&row["captured_at"])),
            ]),
            words(&[
                ("quote", text(&row["quote_id"])),
                ("order", text(&row["order_id"])),
                ("provider", text(&row["provider"])),
                ("destination", text(&row["destination"])),
                ("", flag(row, "is_direct", "direct charge")),
                ("", flag(row, "is_misfit", "not allocated: see Discrepancies")),
            ]),
            words(&[
                ("fee", money("fee")),
                ("tax", money("tax")),
                ("application fee", money("application_fee")),
                ("kept", money("kept")),
            ]),
            words(&[("failure", text(&row["failure_code"]))]),
            words(&[("reviews", own_words("reviews"))]),
            words(&[("early fraud warnings", own_words("early_fraud_warnings"))]),
            text(&row["dashboard"]),
        ]),
    }
}

pub(super) fn related_payment(row: &Value) -> GridRow {
    let relation = text(&row["relation"]).replace('_', " ");
    let name = first(row, &["intent", "charge"]);
    GridRow {
        cells: vec![name, text(&row["status"]), money(row)("amount"), relation],
        details: details([words(&[
            ("", text(&row["txn_id"])),
            ("created", time(&row["created_at"])),
            ("account", text(&row["account"])),
        ])]),
    }
}

pub(super) fn refund(row: &Value) -> GridRow {
    GridRow {
        cells: vec![
            text(&row["refund"]),
            text(&row["status"]),
            money(row)("amount"),
            text(&row["reason"]),
            text(&row["by"]),
        ],
        details: details([words(&[
            ("", text(&row["refund_id"])),
            ("created", time(&row["created_at"])),
        ])]),
    }
}

pub(super) fn dispute(row: &Value) -> GridRow {
    GridRow {
        cells: vec![
            text(&row["dispute"]),
            text(&row["status"]),
            money(row)("amount"),
            text(&row["reason"]),
        ],
        details: details([
            words(&[
                ("", text(&row["dispute_id"])),
                ("created", time(&row["created_at"])),
                ("evidence due", time(&row["due_by"])),
            ]),
            words(&[("evidence", text(&row["evidence_s3"]))]),
            text(&row["dashboard"]),
        ]),
    }
}

pub(super) fn payout(row: &Value) -> GridRow {
    let money = money(row);
    let transfer = text(&row["transfer"]);
    let paid_by = if transfer.is_empty() { String::new() } else { text(&row["payout"]) };
    GridRow {
        cells: vec![
            first(row, &["transfer", "payout"]),
            text(&row["status"]),
            money("net"),
            text(&row["scheduled_on"]),
        ],
        details: details([
            words(&[
                ("", text(&row["payout_id"])),
                ("created", time(&row["created_at"])),
                ("Stripe says", text(&row["stripe_status"])),
                ("paid by", paid_by),
            ]),
            words(&[
                ("gross", money("gross")),
                ("provider", text(&row["provider"])),
                ("destination", text(&row["destination"])),
            ]),
            text(&row["dashboard"]),
        ]),
    }
}

pub(super) fn invoice(row: &Value) -> GridRow {
    let money = money(row);
    let currency = text(&row["currency"]);
    let payments = row["payments"].as_array().into_iter().flatten().map(|payment| {
        let (id, status) = (text(&payment["payment"]), text(&payment["status"]));
        format!("{id} pays {}: {status}", amount(&payment["amount"], &currency))
    });
    let mut details = details([
        words(&[
            ("", text(&row["invoice_id"])),
            ("number", text(&row["number"])),
            ("customer", text(&row["customer"])),
            ("created", time(&row["created_at"])),
            ("due", time(&row["due_at"])),
        ]),
        text(&row["dashboard"]),
    ]);
    details.extend(payments);
    GridRow {
        cells: vec![
            text(&row["invoice"]),
            text(&row["status"]),
            money("due"),
            money("paid"),
            money("remaining"),
        ],
        details,
    }
}

pub(super) fn quote(row: &Value) -> GridRow {
    let money = money(row);
    GridRow {
        cells: vec![text(&row["quote_id"]), money("total"), money("platform_fee"), money("tax")],
        details: details([words(&[
            ("order", text(&row["order_id"])),
            ("provider", text(&row["provider"])),
            ("buyer", text(&row["buyer"])),
            ("role", text(&row["role_code"])),
            ("subtotal", money("subtotal")),
            ("deposit", money("deposit")),
            ("made", time(&row["created_at"])),
        ])]),
    }
}

pub(super) fn provider(row: &Value) -> GridRow {
    let owed = row["owed"].as_array().into_iter().flatten();
    let owed = owed.map(|owed| amount(&owed["amount"], &text(&owed["currency"])));
    let asked = row["requirements"].as_object().into_iter().flatten();
    let asked = asked
        .filter(|(_, said)| !said.is_null() && said.as_array().is_none_or(|it| !it.is_empty()));
    let asked =
        asked.map(|(name, said)| format!("{}: {}", name.replace('_', " "), show_json(said)));
    let owed = owed.collect::<Vec<_>>().join(", ");
    let mut details = details([words(&[("owed by the ledger", owed)]), text(&row["dashboard"])]);
    details.extend(asked);
    GridRow {
        cells: vec![text(&row["provider"]), text(&row["status"]), text(&row["stripe_account"])],
        details,
    }
}

pub(super) fn event(row: &Value) -> GridRow {
    let late = if row["is_late"] == true { ", late" } else { "" };
    let proved = row["proved"].as_array().into_iter().flatten().map(text);
    let object = text(&row["object"]);
    let on = if object.is_empty() { String::new() } else { format!(" on {object}") };
    let segments = row["segments"].as_array().into_iter().flatten().map(text);
    let mut details = details([
        format!("{}{on}", text(&row["event"])),
        text(&row["outcome"]),
        words(&[("proved", proved.collect::<Vec<_>>().join(", "))]),
        quarantine(&row["quarantine"]),
        words(&[
            ("received", precise(&row["received_at"])),
            ("applied", precise(&row["applied_at"])),
            ("by", text(&row["source"])),
            ("endpoint", text(&row["endpoint"])),
        ]),
        words(&[
            ("partition:offset", format!("{}:{}", row["partition"], row["offset"])),
            ("traceparent", text(&row["traceparent"])),
        ]),
    ]);
    details.extend(segments.map(|key| format!("segment {}", after_root(&key))));
    GridRow {
        cells: vec![
            row["came"].to_string(),
            time(&row["stripe_time"]),
            text(&row["type"]),
            format!("{}{late}", text(&row["verdict"])),
        ],
        details,
    }
}

/// When a record was set aside, and what became of it there.
fn quarantine(said: &Value) -> String {
    words(&[
        ("quarantined", precise(&said["quarantined_at"])),
        ("now", text(&said["state"])),
        ("since", precise(&said["resolved_at"])),
    ])
}

/// A segment's key after the place that all of them lie in.
fn after_root(key: &str) -> &str {
    key.find("/partition=").map_or(key, |at| &key[at + 1..])
}

pub(super) fn entry(row: &Value) -> GridRow {
    let postings = row["postings"].as_array().into_iter().flatten();
    let postings = postings.map(|posting| {
        let (name, party) = (text(&posting["ledger_account"]), text(&posting["party"]));
        let (minor, shown) = (posting["amount"].to_string(), text(&posting["display"]));
        format!("{name:<19}{party:<31}{minor:>13}{shown:>20}")
    });
    GridRow {
        cells: vec![
            row["entry"].to_string(),
            time(&row["effective_at"]),
            precise(&row["recorded_at"]),
            format!("{} {}", text(&row["subject_kind"]), text(&row["subject"])),
        ],
        details: postings.collect(),
    }
}

pub(super) fn balance(row: &Value) -> GridRow {
    GridRow {
        cells: vec![
            text(&row["ledger_account"]),
            text(&row["party"]),
            row["balance"].to_string(),
            text(&row["display"]),
        ],
        details: Vec::new(),
    }
}

pub(super) fn fact(row: &Value) -> GridRow {
    let queued = row["queued"].as_array().into_iter().flatten().map(|queued| {
        let is_current = queued["domain_event"] == row["domain_event"];
        let corrected = if is_current { "" } else { "superseded by a correction" };
        words(&[
            ("waits for", text(&queued["sink"])),
            ("attempts", queued["attempts"].to_string()),
            ("since", precise(&queued["since"])),
            ("leased until", precise(&queued["leased_until"])),
            ("", flag(queued, "is_parked", "set aside, too large")),
            ("", corrected.to_owned()),
            ("", if is_current { String::new() } else { text(&queued["domain_event"]) }),
        ])
    });
    let mut details = details([
        words(&[("subject", text(&row["subject"])), ("proved by", text(&row["event"]))]),
        words(&[("domain event", text(&row["domain_event"]))]),
    ]);
    details.extend(queued);
    GridRow { cells: vec![time(&row["time"]), text(&row["type"]), text(&row["state"])], details }
}

pub(super) fn discrepancy(row: &Value) -> GridRow {
    GridRow {
        cells: vec![
            text(&row["kind"]),
            text(&row["object"]),
            time(&row["first_seen"]),
            if row["resolved_at"].is_null() { "open".into() } else { time(&row["resolved_at"]) },
        ],
        details: details([
            words(&[("ours", text(&row["ours"]))]),
            words(&[("theirs", text(&row["theirs"]))]),
        ]),
    }
}

pub(super) fn snapshot(row: &Value) -> GridRow {
    let kind = if row["kind"].is_null() { "only named".to_owned() } else { text(&row["kind"]) };
    let mut details = details([words(&[
        ("", flag(row, "deleted", "deleted")),
        ("", flag(row, "tied", "tied: two records of one second disagree")),
        ("", flag(row, "is_connected", "of a connected account")),
        ("as of", time(&row["stripe_time"])),
        ("by", text(&row["event"])),
    ])]);
    if let Some(shown) = row.get("snapshot") {
        details.extend(format!("{shown:#}").lines().map(str::to_owned));
    }
    GridRow {
        cells: vec![text(&row["object"]), kind, text(&row["status"]), text(&row["api_version"])],
        details,
    }
}

pub(super) fn named(row: &Value) -> GridRow {
    GridRow {
        cells: vec![text(&row["object"]), text(&row["names"]), text(&row["as"])],
        details: Vec::new(),
    }
}

/// The row's amounts in the decimals of its currency.
fn money(row: &Value) -> impl Fn(&str) -> String + '_ {
    |field| amount(&row[field], row["currency"].as_str().unwrap_or_default())
}

/// The first of these fields that says something.
fn first(row: &Value, fields: &[&str]) -> String {
    fields.iter().map(|field| text(&row[*field])).find(|said| !said.is_empty()).unwrap_or_default()
}

fn flag(row: &Value, field: &str, words: &str) -> String {
    if row[field] == true { words.to_owned() } else { String::new() }
}

/// What is said, each with its name, without what says nothing.
fn words(said: &[(&str, String)]) -> String {
    let said = said.iter().filter(|(_, value)| !value.is_empty() && value != "null");
    let said = said.map(|(name, value)| format!("{name} {value}").trim_start().to_owned());
    said.collect::<Vec<_>>().join(", ")
}

fn details<const N: usize>(lines: [String; N]) -> Vec<String> {
    lines.into_iter().filter(|line| !line.is_empty()).collect()
}

/// Fields of a JSON value in a line, without its quotes and braces.
fn show_json(value: &Value) -> String {
    match value {
        Value::String(said) => said.clone(),
        Value::Array(items) => items.iter().map(show_json).collect::<Vec<_>>().join("; "),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| format!("{name} {}", show_json(value)));
            fields.collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

/// A time in UTC to the second.
fn time(value: &Value) -> String {
    value.as_str().and_then(|said| said.get(..19)).unwrap_or_default().replace('T', " ")
}

/// A time in UTC to the millisecond.
fn precise(value: &Value) -> String {
    let said = value.as_str().unwrap_or_default();
    let moment = said.trim_end_matches("+00:00");
    moment.get(..23).unwrap_or(moment).replace('T', " ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_are_short_and_in_utc() {
        let at = json!("2025-10-09T08:53:20.123456+00:00");
        assert_eq!(time(&at), "2025-10-09 08:53:20");
        assert_eq!(precise(&at), "2025-10-09 08:53:20.123");
        assert_eq!(precise(&json!("2025-10-09T08:53:20+00:00")), "2025-10-09 08:53:20");
        assert_eq!((time(&Value::Null), precise(&Value::Null)), Default::default());
    }

    #[test]
    fn only_what_says_something_is_said() {
        let said = words(&[("", "txn_1".into()), ("charge", String::new()), ("fee", "1".into())]);
        assert_eq!(said, "txn_1, fee 1");
    }

    #[test]
    fn an_event_shows_what_it_changed_and_where_it_is() {
        let row = json!({"came": 2, "is_late": true, "stripe_time": "2025-10-09T08:53:20+00:00",
            "event": "evt_1", "type": "charge.succeeded", "object": "ch_1", "verdict": "stale",
            "outcome": "a newer state was known; its facts and times count", "source": "webhook",
            "proved": ["payment.captured of ch_1:5"], "partition": 3, "offset": 42,
            "received_at": "2025-10-09T08:53:21.5+00:00",
            "segments": ["p/c.t/partition=3/date=2025-10-09/00000000000000000042.jsonl.zst"]});
        let shown = event(&row);
        assert_eq!(shown.cells, ["2", "2025-10-09 08:53:20", "charge.succeeded", "stale, late"]);
        assert_eq!(
            shown.details,
            [
                "evt_1 on ch_1",
                "a newer state was known; its facts and times count",
                "proved payment.captured of ch_1:5",
                "received 2025-10-09 08:53:21.5, by webhook",
                "partition:offset 3:42",
                "segment partition=3/date=2025-10-09/00000000000000000042.jsonl.zst",
            ]
        );
    }

    #[test]
    fn a_correction_that_waits_is_told_apart() {
        let row = json!({"time": "2025-10-09T08:53:20+00:00", "type": "payment.captured",
            "state": "queued", "subject": "ch_1:5", "event": "evt_1", "domain_event": "fct_1.b",
            "queued": [
                {"sink": "firehose", "domain_event": "fct_1.a", "attempts": 2},
                {"sink": "kafka", "domain_event": "fct_1.b", "attempts": 0, "is_parked": true}]});
        assert_eq!(
            fact(&row).details[2..],
            [
                "waits for firehose, attempts 2, superseded by a correction, fct_1.a",
                "waits for kafka, attempts 0, set aside, too large",
            ]
        );
    }
}
