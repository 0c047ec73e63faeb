//! What an id stands for, in a line.

use serde_json::Value;

use super::{Story, amount, text};

/// Where an id is looked for, in this order: the section, what its rows are called, and the fields
/// that may hold the id.
const NAMES: [(&str, &str, &[&str]); 9] = [
    ("payments", "payment", &["txn_id", "intent", "charge"]),
    ("refunds", "refund", &["refund_id", "refund"]),
    ("disputes", "dispute", &["dispute_id", "dispute"]),
    ("payouts", "payout", &["payout_id", "payout", "transfer"]),
    ("invoices", "invoice", &["invoice_id", "invoice"]),
    ("quotes", "quote", &["quote_id", "order_id"]),
    ("providers", "provider", &["provider", "stripe_account"]),
    ("events", "event", &["event"]),
    ("facts", "fact", &["fact_id"]),
];

/// A line for each thing that the id stands for, or else for what it belongs to.
pub(super) fn lines(story: &Story) -> Vec<String> {
    for (section, name, fields) in NAMES {
        let rows = story.rows(section).iter().filter(|row| has(row, fields, &story.id));
        let lines: Vec<String> = rows.map(|row| line(story, section, name, row)).collect();
        if !lines.is_empty() {
            return lines;
        }
    }
    let snapshots = story.rows("snapshots").iter();
    let own = snapshots.filter(|row| row["object"] == story.id.as_str() && row["kind"].is_string());
    let own: Vec<String> = own.map(|row| object(story, row)).collect();
    if !own.is_empty() {
        return own;
    }
    let payments = story.rows("payments").iter();
    let belongs = payments.map(|row| line(story, "payments", "payment", row));
    std::iter::once(format!("{}: belongs to what follows", story.id)).chain(belongs).collect()
}

fn has(row: &Value, fields: &[&str], id: &str) -> bool {
    fields.iter().any(|field| row[*field] == id)
}

fn line(story: &Story, section: &str, name: &str, row: &Value) -> String {
    let money = |field: &str| amount(&row[field], &text(&row["currency"]));
    let (name, said) = match section {
        "payments" => (name, payment(story, row)),
        "refunds" | "disputes" => (name, vec![text(&row["status"]), money("amount")]),
        "payouts" if !row["transfer"].is_null() => {
            ("transfer", vec![text(&row["status"]), money("net")])
        }
        "payouts" => (name, vec![text(&row["status"]), money("net")]),
        "invoices" => {
            (name, vec![text(&row["status"]), money("due"), part("paid", &money("paid"))])
        }
        "quotes" if row["order_id"] == story.id.as_str() => (
            "order",
            vec![part("quote", &text(&row["quote_id"])), money("total"), payments_of_quote(story)],
        ),
        "quotes" => (name, vec![money("total"), payments_of_quote(story)]),
        "providers" => (name, vec![text(&row["status"]), text(&row["stripe_account"])]),
        "events" => (name, vec![text(&row["type"]), text(&row["verdict"]), text(&row["object"])]),
        _ => (name, vec![text(&row["type"]), text(&row["subject"]), text(&row["state"])]),
    };
    sentence(name, &id_of(story, section, row), said, row)
}

/// The id that a row is called by: the one that was asked for, else Stripe's.
fn id_of(story: &Story, section: &str, row: &Value) -> String {
    let fields = NAMES.iter().find(|(found, ..)| *found == section).map_or(&[][..], |it| it.2);
    if has(row, fields, &story.id) {
        return story.id.clone();
    }
    let fields = if section == "payments" { &["intent", "charge"][..] } else { fields };
    fields.iter().map(|field| text(&row[*field])).find(|id| !id.is_empty()).unwrap_or_default()
}

fn payment(story: &Story, row: &Value) -> Vec<String> {
    let money = |field: &str| amount(&row[field], &text(&row["currency"]));
    let mut said = vec![text(&row["status"]), money("amount")];
    if row["captured"] != row["amount"] && row["captured"] != 0 {
        said.push(part("captured", &money("captured")));
    }
    if row["refunded"] != 0 {
        said.push(part("refunded", &money("refunded")));
    }
    let disputes = story.rows("disputes").iter();
    let disputes = disputes.filter(|dispute| dispute["txn_id"] == row["txn_id"]);
    said.extend(disputes.map(|dispute| format!("dispute {}", text(&dispute["status"]))));
    said
}

fn payments_of_quote(story: &Story) -> String {
    let held = story.rows("payments").iter().chain(story.rows("related_payments"));
    match held.count() {
        0 => "no payment".to_owned(),
        1 => "1 payment".to_owned(),
        more => format!("{more} payments"),
    }
}

/// What is known of an object only by its snapshot, and the payment that it belongs to.
fn object(story: &Story, row: &Value) -> String {
    let deleted = if row["deleted"] == true { "deleted" } else { "" };
    let payment =
        story.rows("payments").iter().find(|payment| payment["account"] == row["account"]);
    let payment = payment.map_or_else(String::new, |payment| {
        let id = id_of(story, "payments", payment);
        format!("belongs to {id}, {}", text(&payment["status"]))
    });
    let amount = row["currency"].as_str().map(|currency| amount(&row["amount"], currency));
    let amount = amount.unwrap_or_default();
    let said = vec![text(&row["status"]), deleted.to_owned(), amount, payment];
    sentence(&text(&row["kind"]).replace('_', " "), &story.id, said, row)
}

fn part(name: &str, said: &str) -> String {
    format!("{name} {said}")
}

fn sentence(name: &str, id: &str, said: Vec<String>, row: &Value) -> String {
    let account = text(&row["account"]);
    let owner = if account.is_empty() || id == account {
        String::new()
    } else {
        format!("account {account}")
    };
    let mode = if row["livemode"] == false { "test mode" } else { "" };
    let said: Vec<String> = said
        .into_iter()
        .chain([owner, mode.to_owned()])
        .filter(|words| !words.is_empty())
        .collect();
    let colon = if said.is_empty() { "" } else { ": " };
    format!("{name} {id}{colon}{}", said.join(", "))
}
