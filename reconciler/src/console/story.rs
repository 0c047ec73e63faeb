//! The story of an id, as `reconciler inspect` tells it: what it is, its events as a timeline, ledger,
//! facts, and all else that belongs to it.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{Path, State};
use serde_json::Value;

use super::access::Visitor;
use super::cell::{Cell, Column, Show, Table};
use super::lists::{DISPUTE, INVOICE, PAYMENT, PAYOUT, REFUND};
use super::object;
use super::page::{Answer, Frame, html};
use super::problem::Problem;
use super::timeline::{self, Moment};
use super::web::Console;
use crate::mask;
use crate::story::{Found, Story};

#[derive(Template)]
#[template(path = "story.html")]
struct Page {
    frame: Frame,
    id: String,
    summary: Vec<String>,
    notes: Vec<String>,
    /// The page of the id itself in Stripe's dashboard.
    dashboard: Option<String>,
    payments: Vec<Card>,
    moments: Vec<Moment>,
    entries: Vec<Entry>,
    balances: Table,
    sections: Vec<Section>,
    archive: Vec<String>,
}

/// A payment with what is known of it.
struct Card {
    name: Cell,
    status: Cell,
    amount: Cell,
    facts: Vec<(&'static str, Cell)>,
}

/// An entry of the ledger.
struct Entry {
    number: i64,
    subject: Cell,
    kind: String,
    at: Cell,
    postings: Vec<Posting>,
}

struct Posting {
    account: String,
    party: String,
    debit: Cell,
    credit: Cell,
}

struct Section {
    title: &'static str,
    table: Table,
}

/// The address of an id's story.
pub(super) fn address(id: &str) -> String {
    let path = Cell::Story(id.to_owned()).address();
    path.unwrap_or_else(|| "/".to_owned())
}

/// `GET /story/{id}`.
pub(super) async fn page(
    State(console): State<Arc<Console>>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
) -> Answer {
    let mut tx = console.reader.begin().await?;
    let found = Found::by(&mut tx, &id).await?;
    let mut story = Story::read(&mut tx, &id, &found, false).await?;
    drop(tx);
    if story.is_empty() {
        return Err(Problem::NotFound(format!("nothing is known of {}", mask::text(&id))));
    }
    console.archive.name_segments(&mut story).await;
    let mut frame = Frame::new(mask::text(&id), menu_path(&story), &visitor);
    frame.search.clone_from(&id);
    html(&Page::of(story, frame))
}

/// The list that the id's own row is in.
fn menu_path(story: &Story) -> &'static str {
    let lists = [
        ("payments", "/payments", &["txn_id", "intent", "charge"][..]),
        ("refunds", "/refunds", &["refund_id", "refund"]),
        ("disputes", "/disputes", &["dispute_id", "dispute"]),
        ("payouts", "/payouts", &["payout_id", "payout", "transfer"]),
        ("invoices", "/invoices", &["invoice_id", "invoice"]),
        ("providers", "/providers", &["provider", "stripe_account"]),
    ];
    let is_own =
        |row: &Value, fields: &[&str]| fields.iter().any(|field| row[*field] == story.id.as_str());
    let own = lists
        .iter()
        .find(|(section, _, fields)| story.rows(section).iter().any(|row| is_own(row, fields)));
    own.map_or("", |(_, path, _)| path)
}

impl Page {
    fn of(story: Story, frame: Frame) -> Self {
        let told = |(section, title, columns): &(&str, &'static str, &[Column])| {
            let rows: Vec<Value> = story.rows(section).iter().map(with_page).collect();
            Section { title, table: Table::of(*title, columns, &rows) }
        };
        let sections = SECTIONS.iter().map(told).filter(|section| !section.table.rows.is_empty());
        Self {
            dashboard: dashboard(&story),
            payments: story.rows("payments").iter().map(Card::of).collect(),
            moments: timeline::moments(story.rows("events")),
            entries: story.rows("ledger").iter().map(Entry::of).collect(),
            balances: Table::of("Balances", &BALANCE, story.rows("balances")),
            sections: sections.collect(),
            id: mask::text(&story.id),
            summary: story.summary,
            notes: story.notes,
            archive: story.archive,
            frame,
        }
    }
}

/// A snapshot's row with the address of its page.
fn with_page(row: &Value) -> Value {
    let mut row = row.clone();
    if let (Some(id), true) = (row["object"].as_str(), row["kind"].is_string()) {
        let account = row["account"].as_str().unwrap_or_default();
        row["page"] = object::address(account, id).into();
    }
    row
}

/// The link that the id's own row has.
fn dashboard(story: &Story) -> Option<String> {
    let sections =
        ["payments", "refunds", "disputes", "payouts", "invoices", "providers", "events"];
    let rows = sections.iter().chain(&["snapshots"]).flat_map(|section| story.rows(section));
    let links = rows.filter_map(|row| row["dashboard"].as_str());
    let (mut own, first) =
        (links.clone().filter(|link| link.ends_with(&story.id)), links.clone().next());
    own.next().or(first).map(str::to_owned)
}

const FACTS: [Column; 20] = [
    Column("Stripe says", Show::Words, &["stripe_status"]),
    Column("Captured", Show::Part, &["captured"]),
    Column("Refunded", Show::Part, &["refunded"]),
    Column("Kept", Show::Part, &["kept"]),
    Column("Platform fee", Show::Part, &["fee"]),
    Column("Tax", Show::Part, &["tax"]),
    Column("Application fee", Show::Part, &["application_fee"]),
    Column("Method", Show::Words, &["stripe_method", "method"]),
    Column("Failure", Show::Words, &["failure_code"]),
    Column("Created", Show::Time, &["created_at"]),
    Column("Authorized", Show::Time, &["authorized_at"]),
    Column("Captured at", Show::Time, &["captured_at"]),
    Column("Order", Show::Story, &["order_id"]),
    Column("Quote", Show::Story, &["quote_id"]),
    Column("Provider", Show::Story, &["provider"]),
    Column("Destination", Show::Story, &["destination"]),
    Column("Charge", Show::Story, &["charge"]),
    Column("Our id", Show::Code, &["txn_id"]),
    Column("Account", Show::Story, &["account"]),
    Column("Kind", Show::Flag("direct charge"), &["is_direct"]),
];

const BALANCE: [Column; 4] = [
    Column("Ledger account", Show::Words, &["ledger_account"]),
    Column("Party", Show::Story, &["party"]),
    Column("Balance", Show::Money, &["balance"]),
    Column("Account", Show::Story, &["account"]),
];

const SECTIONS: [(&str, &str, &[Column]); 12] = [
    ("refunds", "Refunds", &REFUND),
    ("disputes", "Disputes", &DISPUTE),
    ("payouts", "Transfers and payouts", &PAYOUT),
    ("invoices", "Invoices", &INVOICE),
    (
        "discrepancies",
        "Discrepancies",
        &[
            Column("Kind", Show::Words, &["kind"]),
            Column("Object", Show::Story, &["object"]),
            Column("Ours", Show::Text, &["ours"]),
            Column("Should agree with", Show::Text, &["theirs"]),
            Column("First seen", Show::Time, &["first_seen"]),
            Column("Resolved", Show::Time, &["resolved_at"]),
        ],
    ),
    (
        "quotes",
        "Quotes",
        &[
            Column("Quote", Show::Story, &["quote_id"]),
            Column("Order", Show::Story, &["order_id"]),
            Column("Total", Show::Money, &["total"]),
            Column("Platform fee", Show::Part, &["platform_fee"]),
            Column("Tax", Show::Part, &["tax"]),
            Column("Provider", Show::Story, &["provider"]),
            Column("Buyer", Show::Text, &["buyer"]),
        ],
    ),
    (
        "providers",
        "Providers",
        &[
            Column("Provider", Show::Story, &["provider"]),
            Column("Status", Show::Status, &["status"]),
            Column("Connected account", Show::Story, &["stripe_account"]),
            Column("Stripe asks for", Show::Text, &["requirements"]),
            Column("", Show::Dashboard, &["stripe_account"]),
        ],
    ),
    (
        "facts",
        "Facts and their publication",
        &[
            Column("Time", Show::Time, &["time"]),
            Column("Fact", Show::Text, &["type"]),
            Column("State", Show::Status, &["state"]),
            Column("Subject", Show::Code, &["subject"]),
            Column("Proved by", Show::Story, &["event"]),
            Column("Domain event", Show::Code, &["domain_event"]),
        ],
    ),
    ("related_payments", "Related payments", &PAYMENT),
    ("related_payouts", "Related transfers and payouts, the newest first", &PAYOUT),
    (
        "snapshots",
        "Objects",
        &[
            Column("Object", Show::Story, &["object"]),
            Column("Kind", Show::Words, &["kind"]),
            Column("Status", Show::Status, &["status"]),
            Column("As of", Show::Time, &["stripe_time"]),
            Column("", Show::Flag("deleted"), &["deleted"]),
            Column("", Show::Flag("two records of one second disagree"), &["tied"]),
            Column("", Show::Page("Snapshot"), &["page"]),
            Column("", Show::Dashboard, &["object"]),
        ],
    ),
    (
        "named",
        "Also named; each has its own story",
        &[
            Column("Object", Show::Story, &["object"]),
            Column("Names", Show::Story, &["names"]),
            Column("As", Show::Words, &["as"]),
        ],
    ),
];

impl Card {
    fn of(row: &Value) -> Self {
        let show = |column: &Column| (column.0, Cell::of(row, column));
        let facts = FACTS.iter().map(show).filter(|(_, cell)| is_worth_a_line(cell));
        Self {
            name: Cell::of(row, &Column("", Show::Story, &["intent", "charge"])),
            status: Cell::of(row, &Column("", Show::Status, &["status"])),
            amount: Cell::of(row, &Column("", Show::Money, &["amount"])),
            facts: facts.collect(),
        }
    }
}

/// Neither nothing nor a quote that there is not.
fn is_worth_a_line(cell: &Cell) -> bool {
    match cell {
        Cell::Nothing => false,
        Cell::Story(id) => id != domain::quote::UNQUOTED,
        _ => true,
    }
}

impl Entry {
    fn of(row: &Value) -> Self {
        let currency = row["currency"].as_str().unwrap_or_default();
        let posting = |posting: &Value| {
            let minor = posting["amount"].as_i64().unwrap_or_default();
            let amount = Cell::money(minor.saturating_abs(), currency);
            let (debit, credit) =
                if minor > 0 { (amount, Cell::Nothing) } else { (Cell::Nothing, amount) };
            let text = |field: &str| mask::text(posting[field].as_str().unwrap_or_default());
            let account = text("ledger_account").replace('_', " ");
            Posting { account, party: text("party"), debit, credit }
        };
        Self {
            number: row["entry"].as_i64().unwrap_or_default(),
            subject: Cell::of(row, &Column("", Show::Story, &["subject"])),
            kind: row["subject_kind"].as_str().unwrap_or_default().replace('_', " "),
            at: Cell::of(row, &Column("", Show::Time, &["effective_at"])),
            postings: row["postings"].as_array().into_iter().flatten().map(posting).collect(),
        }
    }
}
