//! The lists that there are.

use super::cell::{Column, Show};
use super::list::{Filter, List};
use crate::story::query;

const fn choice(
    name: &'static str,
    label: &'static str,
    of: &'static str,
    choices: &'static [&'static str],
) -> Filter {
    Filter { name, label, of, choices, default: "" }
}

const fn written(name: &'static str, label: &'static str, of: &'static str) -> Filter {
    choice(name, label, of, &[])
}

pub(super) const PAYMENT: [Column; 9] = [
    Column("Created", Show::Time, &["created_at"]),
    Column("Payment", Show::Story, &["intent", "charge"]),
    Column("Status", Show::Status, &["status"]),
    Column("Amount", Show::Money, &["amount"]),
    Column("Captured", Show::Part, &["captured"]),
    Column("Refunded", Show::Part, &["refunded"]),
    Column("Method", Show::Words, &["method"]),
    Column("Order", Show::Story, &["order_id"]),
    Column("Provider", Show::Story, &["provider"]),
];

pub(super) const REFUND: [Column; 7] = [
    Column("Created", Show::Time, &["created_at"]),
    Column("Refund", Show::Story, &["refund", "refund_id"]),
    Column("Status", Show::Status, &["status"]),
    Column("Amount", Show::Money, &["amount"]),
    Column("Payment", Show::Story, &["txn_id"]),
    Column("Reason", Show::Words, &["reason"]),
    Column("By", Show::Text, &["by"]),
];

pub(super) const DISPUTE: [Column; 7] = [
    Column("Created", Show::Time, &["created_at"]),
    Column("Dispute", Show::Story, &["dispute", "dispute_id"]),
    Column("Status", Show::Status, &["status"]),
    Column("Amount", Show::Money, &["amount"]),
    Column("Reason", Show::Words, &["reason"]),
    Column("Evidence due", Show::Time, &["due_by"]),
    Column("Payment", Show::Story, &["txn_id"]),
];

pub(super) const PAYOUT: [Column; 9] = [
    Column("Created", Show::Time, &["created_at"]),
    Column("Transfer or payout", Show::Story, &["transfer", "payout"]),
    Column("Status", Show::Status, &["status"]),
    Column("Gross", Show::Money, &["gross"]),
    Column("Fee", Show::Part, &["fee"]),
    Column("Net", Show::Money, &["net"]),
    Column("Arrives", Show::Day, &["scheduled_on"]),
    Column("Provider", Show::Story, &["provider"]),
    Column("", Show::Dashboard, &["transfer", "payout"]),
];

pub(super) const INVOICE: [Column; 9] = [
    Column("Created", Show::Time, &["created_at"]),
    Column("Invoice", Show::Story, &["invoice"]),
    Column("Number", Show::Code, &["number"]),
    Column("Status", Show::Status, &["status"]),
    Column("Due", Show::Money, &["due"]),
    Column("Paid", Show::Part, &["paid"]),
    Column("Remaining", Show::Part, &["remaining"]),
    Column("Customer", Show::Story, &["customer"]),
    Column("", Show::Dashboard, &["invoice"]),
];

/// All of them, in the menu's order.
pub(super) static LISTS: [List; 8] = [
    List {
        path: "/payments",
        title: "Payments",
        about: "A row for each payment intent, and for each charge without one.",
        from: "pay.txn as t",
        row: query::PAYMENT,
        time: "t.created_at",
        key: "t.txn_id",
        filters: &[
            choice(
                "status",
                "Status",
                "t.status",
                &[
                    "requires_action",
                    "processing",
                    "authorized",
                    "captured",
                    "refunded",
                    "failed",
                    "canceled",
                ],
            ),
            written("currency", "Currency", "t.currency"),
            written("provider", "Provider", "t.provider_id"),
        ],
        columns: &PAYMENT,
    },
    List {
        path: "/refunds",
        title: "Refunds",
        about: "Refunds of captured money. A released authorisation is none.",
        from: "pay.refund",
        row: query::REFUND,
        time: "created_at",
        key: "refund_id",
        filters: &[
            choice(
                "status",
                "Status",
                "status",
                &["pending", "requires_action", "succeeded", "failed", "canceled"],
            ),
            written("currency", "Currency", "currency"),
        ],
        columns: &REFUND,
    },
    List {
        path: "/disputes",
        title: "Disputes",
        about: "Disputes and inquiries. What needs a response has a day until which evidence counts.",
        from: "pay.dispute",
        row: query::DISPUTE,
        time: "created_at",
        key: "dispute_id",
        filters: &[choice(
            "status",
            "Status",
            "status",
            &[
                "needs_response",
                "under_review",
                "won",
                "lost",
                "warning_needs_response",
                "warning_under_review",
                "warning_closed",
                "prevented",
            ],
        )],
        columns: &DISPUTE,
    },
    List {
        path: "/payouts",
        title: "Payouts",
        about: "Transfers to connected accounts, and payouts to banks.",
        from: "pay.payout",
        row: query::PAYOUT,
        time: "created_at",
        key: "payout_id",
        filters: &[
            choice(
                "status",
                "Status",
                "status",
                &["scheduled", "in_transit", "paid", "failed", "canceled", "needs_review"],
            ),
            written("currency", "Currency", "currency"),
            written("provider", "Provider", "provider_id"),
        ],
        columns: &PAYOUT,
    },
    List {
        path: "/invoices",
        title: "Invoices",
        about: "A row for each invoice, with what is due and what was paid.",
        from: "pay.invoice as i",
        row: query::INVOICE,
        time: "i.created_at",
        key: "i.invoice_id",
        filters: &[
            choice(
                "status",
                "Status",
                "i.status",
                &["draft", "open", "paid", "uncollectible", "void", "needs_review"],
            ),
            written("customer", "Customer", "i.customer"),
        ],
        columns: &INVOICE,
    },
    List {
        path: "/discrepancies",
        title: "Discrepancies",
        about: "What disagrees, and needs a person until it is resolved.",
        from: "(select *, case when resolved_at is null then 'open' else 'resolved' end as state,
                  concat_ws(' ', kind, account, object_id) as key from pay.discrepancy) as d",
        row: "to_jsonb(d)",
        time: "d.first_seen",
        key: "d.key",
        filters: &[
            Filter {
                name: "state",
                label: "State",
                of: "d.state",
                choices: &["open", "resolved"],
                default: "open",
            },
            written("kind", "Kind", "d.kind"),
        ],
        columns: &[
            Column("First seen", Show::Time, &["first_seen"]),
            Column("Kind", Show::Words, &["kind"]),
            Column("State", Show::Status, &["state"]),
            Column("Object", Show::Story, &["object_id"]),
            Column("Ours", Show::Text, &["ours"]),
            Column("Should agree with", Show::Text, &["theirs"]),
            Column("Resolved", Show::Time, &["resolved_at"]),
        ],
    },
    List {
        path: "/quarantine",
        title: "Quarantine",
        about: "Records that could not be applied, each kept whole with its reason.",
        from: "pay.quarantine as q",
        row: "jsonb_build_object('quarantined_at', q.quarantined_at, 'reason', q.reason,
                'detail', q.detail, 'state', q.state, 'event', q.event_id, 'note', q.note,
                'position', q.partition || ':' || q.kafka_offset,
                'page', '/quarantine/record?place=' || q.topic_id || '/' || q.partition || ':'
                  || q.kafka_offset)",
        time: "q.quarantined_at",
        key: "concat_ws(' ', q.cluster, q.topic_id, q.partition, q.kafka_offset)",
        filters: &[
            Filter {
                name: "state",
                label: "State",
                of: "q.state",
                choices: &["open", "redriven", "discarded"],
                default: "open",
            },
            choice(
                "reason",
                "Reason",
                "q.reason",
                &[
                    "unknown_source",
                    "empty",
                    "too_large",
                    "not_json",
                    "nul_character",
                    "bad_id",
                    "field_missing",
                    "wrong_type",
                    "unknown_status",
                    "database_refused",
                ],
            ),
        ],
        columns: &[
            Column("Since", Show::Time, &["quarantined_at"]),
            Column("Position", Show::Code, &["position"]),
            Column("State", Show::Status, &["state"]),
            Column("Reason", Show::Words, &["reason"]),
            Column("What is wrong", Show::Text, &["detail"]),
            Column("Event", Show::Story, &["event"]),
            Column("Note", Show::Text, &["note"]),
            Column("", Show::Page("Record"), &["page"]),
        ],
    },
    List {
        path: "/operations",
        title: "Operations",
        about: "Who ran which command that changed something, or looked at personal data.",
        from: "pay.operation as o",
        row: "to_jsonb(o)",
        time: "o.started_at",
        key: "o.operation_id::text",
        filters: &[
            choice("outcome", "Outcome", "o.outcome", &["done", "found", "failed"]),
            written("command", "Command", "o.command"),
            written("actor", "Who", "o.actor"),
        ],
        columns: &[
            Column("Began", Show::Time, &["started_at"]),
            Column("Command", Show::Code, &["command"]),
            Column("Who", Show::Text, &["actor"]),
            Column("Outcome", Show::Status, &["outcome"]),
            Column("Asked", Show::Text, &["arguments"]),
            Column("Came to", Show::Text, &["summary"]),
            Column("Where", Show::Text, &["host"]),
        ],
    },
];

#[cfg(test)]
mod tests {
    use domain::event::Reason;

    use super::*;

    #[test]
    fn quarantine_can_be_narrowed_to_every_reason() {
        let list = LISTS.iter().find(|list| list.path == "/quarantine").unwrap();
        assert_eq!(list.filters[1].choices, Reason::ALL.map(Reason::as_str));
    }
}
