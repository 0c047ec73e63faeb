//! The story for a person's eyes.

mod row;

use std::collections::BTreeSet;

use serde_json::Value;

use super::layout::{self, Grid, GridRow, fold};
use crate::story::Story;

/// How one section is shown: its key in JSON, title, columns, and how a row fills them.
struct View {
    section: &'static str,
    title: &'static str,
    header: &'static [&'static str],
    row: fn(&Value) -> GridRow,
}

/// What belongs to one account.
const OF_ACCOUNT: [View; 12] = [
    View {
        section: "payments",
        title: "Payments",
        header: &["payment", "status", "amount ", "captured ", "refunded "],
        row: row::payment,
    },
    View {
        section: "refunds",
        title: "Refunds",
        header: &["refund", "status", "amount ", "reason", "by"],
        row: row::refund,
    },
    View {
        section: "disputes",
        title: "Disputes",
        header: &["dispute", "status", "amount ", "reason"],
        row: row::dispute,
    },
    View {
        section: "payouts",
        title: "Payouts and transfers",
        header: &["payout", "status", "net ", "scheduled"],
        row: row::payout,
    },
    View {
        section: "invoices",
        title: "Invoices",
        header: &["invoice", "status", "due ", "paid ", "remaining "],
        row: row::invoice,
    },
    View {
        section: "events",
        title: "Events, in Stripe's order (came: in which order they were received)",
        header: &["came", "Stripe's time", "event", "verdict"],
        row: row::event,
    },
    View {
        section: "ledger",
        title: "Ledger (debit positive, credit negative; minor units and amount)",
        header: &["entry", "effective", "recorded", "subject"],
        row: row::entry,
    },
    View {
        section: "balances",
        title: "Balances that these entries come to",
        header: &["ledger account", "party", "minor units ", "amount "],
        row: row::balance,
    },
    View {
        section: "facts",
        title: "Facts and their publication",
        header: &["time", "fact", "state"],
        row: row::fact,
    },
    View {
        section: "discrepancies",
        title: "Discrepancies",
        header: &["kind", "object", "first seen", "resolved"],
        row: row::discrepancy,
    },
    View {
        section: "snapshots",
        title: "Newest snapshots",
        header: &["object", "kind", "status", "API version"],
        row: row::snapshot,
    },
    View {
        section: "named",
        title: "Also named; each has its own story",
        header: &["object", "names", "as"],
        row: row::named,
    },
];

/// What belongs to no account, or to any.
const SHARED: [View; 4] = [
    View {
        section: "quotes",
        title: "Quotes",
        header: &["quote", "total ", "platform fee ", "tax "],
        row: row::quote,
    },
    View {
        section: "providers",
        title: "Providers",
        header: &["provider", "status", "connected account"],
        row: row::provider,
    },
    View {
        section: "related_payments",
        title: "Related payments",
        header: &["payment", "status", "amount ", "relation"],
        row: row::related_payment,
    },
    View {
        section: "related_payouts",
        title: "Related payouts and transfers, the newest first",
        header: &["payout", "status", "net ", "scheduled"],
        row: row::payout,
    },
];

/// The whole story, no line but links wider than this.
pub(super) fn render(story: &Story, width: usize) -> String {
    let mut blocks = vec![head(story, width)];
    let of_account = OF_ACCOUNT.iter().flat_map(|view| story.rows(view.section));
    let accounts: BTreeSet<&str> = of_account.filter_map(|row| row["account"].as_str()).collect();
    for account in &accounts {
        if accounts.len() > 1 {
            let name = if account.is_empty() { "without an account" } else { account };
            blocks.push(fold(&layout::clean(&format!("=== {name}")), width, 0).join("\n"));
        }
        blocks.extend(OF_ACCOUNT.iter().filter_map(|view| {
            let rows = story.rows(view.section).iter();
            show(view, rows.filter(|row| row["account"] == *account), width)
        }));
    }
    let mut shared: Vec<String> = SHARED
        .iter()
        .filter_map(|view| show(view, story.rows(view.section).iter(), width))
        .collect();
    if accounts.len() > 1 && !shared.is_empty() {
        blocks.push("=== of all accounts".to_owned());
    }
    blocks.append(&mut shared);
    if !story.archive.is_empty() {
        let lines = story.archive.iter().flat_map(|line| fold(&layout::clean(line), width, 2));
        let lines: Vec<String> = std::iter::once("Archive".to_owned()).chain(lines).collect();
        blocks.push(lines.join("\n"));
    }
    blocks.join("\n\n") + "\n"
}

/// What it is, its link to the dashboard, and what is left out.
fn head(story: &Story, width: usize) -> String {
    let mut lines = story.summary.clone();
    let sections = OF_ACCOUNT.iter().chain(&SHARED).flat_map(|view| story.rows(view.section));
    let own: BTreeSet<&str> = sections
        .filter_map(|row| row["dashboard"].as_str())
        .filter(|link| link.ends_with(story.id.as_str()))
        .collect();
    lines.extend(own.into_iter().map(str::to_owned));
    lines.extend(story.notes.iter().map(|note| format!("note: {note}")));
    lines
        .iter()
        .flat_map(|line| fold(&layout::clean(line), width, 0))
        .collect::<Vec<_>>()
        .join("\n")
}

fn show<'a>(view: &View, rows: impl Iterator<Item = &'a Value>, width: usize) -> Option<String> {
    let rows: Vec<GridRow> = rows.map(view.row).collect();
    let grid = Grid { title: view.title.to_owned(), header: view.header.to_vec(), rows };
    (!grid.rows.is_empty()).then(|| layout::grid(&grid, width))
}
