//! What the hash covers: the tables of each part, and their columns in order.

/// A column, as SQL says it.
enum Column {
    /// As it is.
    Plain(&'static str),
    /// A time, in Unix seconds.
    Time(&'static str),
    /// A name, and what it stands for.
    As(&'static str, &'static str),
}

use Column::{As, Plain, Time};

impl Column {
    fn name(&self) -> &'static str {
        match self {
            Self::Plain(name) | Self::Time(name) | Self::As(name, _) => name,
        }
    }

    fn sql(&self) -> String {
        match self {
            Self::Plain(name) => (*name).to_owned(),
            Self::Time(name) => format!("extract(epoch from {name})::bigint"),
            Self::As(_, sql) => (*sql).to_owned(),
        }
    }
}

/// A table, or what is read from several.
pub(crate) struct Table {
    /// What its rows' arrays begin with.
    tag: &'static str,
    /// Its name for people, with the schema.
    pub(crate) name: &'static str,
    /// The columns that tell its rows apart.
    key: &'static [&'static str],
    columns: &'static [Column],
    /// What follows the columns, from `from` on.
    from: &'static str,
}

impl Table {
    /// The digest of each row.
    pub(super) fn digests(&self) -> String {
        format!("select {} {}", self.digest(), self.from)
    }

    /// Key and digest of each row, in the order of the keys' bytes.
    pub(crate) fn keyed(&self) -> String {
        format!(
            "select key, digest from (select {} as key, {} as digest {}) as rows
             order by key collate \"C\"",
            self.key(),
            self.digest(),
            self.from
        )
    }

    /// Key, key for people and columns by name of the rows with the keys `$1`.
    pub(crate) fn rows(&self) -> String {
        let named: Vec<String> = self
            .columns
            .iter()
            .map(|column| format!("'{}', {}", column.name(), column.sql()))
            .collect();
        let spoken = format!("concat_ws(' ', {})", self.keys("nullif(", "::text, '')"));
        format!(
            "select key, id, row from (select {} as key, {spoken} as id,
               jsonb_build_object({}) as row {}) as rows
             where key = any($1)",
            self.key(),
            named.join(", "),
            self.from
        )
    }

    fn digest(&self) -> String {
        let columns: Vec<String> = self.columns.iter().map(Column::sql).collect();
        let row = format!("jsonb_build_array('{}', {})", self.tag, columns.join(", "));
        format!("sha256(convert_to({row}::text, 'UTF8'))")
    }

    fn key(&self) -> String {
        format!("array[{}]::text", self.keys("", "::text"))
    }

    fn keys(&self, before: &str, after: &str) -> String {
        let is_key = |column: &&Column| self.key.contains(&column.name());
        let keys = self.columns.iter().filter(is_key);
        let keys: Vec<String> =
            keys.map(|column| format!("{before}({}){after}", column.sql())).collect();
        keys.join(", ")
    }
}

/// The parts, in the order in which they are printed.
pub(super) const PARTS: [(&str, &[Table]); 5] = [
    ("events", &[EVENT]),
    ("objects", &[OBJECT]),
    ("rows", &[TXN, REFUND, DISPUTE, PAYOUT, INVOICE, INVOICE_PAYMENT, PROVIDER]),
    ("ledger", &[BALANCE]),
    ("facts", &[FACT]),
];

const EVENT: Table = Table {
    tag: "event",
    name: "pay.event",
    key: &["event_id", "account", "created", "data_hash"],
    columns: &[
        Plain("event_id"),
        Plain("account"),
        Time("created"),
        Plain("type"),
        Plain("livemode"),
        As("data_hash", "encode(data_hash, 'hex')"),
        As("verdict", "case when verdict in ('variant', 'stale') then 'applied' else verdict end"),
    ],
    from: "from pay.event",
};

const OBJECT: Table = Table {
    tag: "object",
    name: "pay.stripe_object",
    key: &["account", "object_id"],
    columns: &[
        Plain("account"),
        Plain("object_id"),
        Plain("kind"),
        Time("created"),
        Plain("event_id"),
        Plain("livemode"),
        Plain("connected"),
        Plain("deleted"),
        Plain("tied"),
        Plain("snapshot"),
        As(
            "links",
            "(select jsonb_agg(link order by link collate \"C\") from unnest(links) as link)",
        ),
        Time("authorized_at"),
        Time("captured_at"),
        Time("failed_at"),
    ],
    from: "from pay.stripe_object where kind is not null",
};

const TXN: Table = Table {
    tag: "txn",
    name: "pay.txn",
    key: &["txn_id"],
    columns: &[
        Plain("txn_id"),
        Plain("account"),
        Plain("livemode"),
        Plain("quote_id"),
        Plain("order_id"),
        Plain("provider_id"),
        Plain("stripe_pi"),
        Plain("stripe_ch"),
        Plain("method"),
        Plain("stripe_method"),
        Plain("status"),
        Plain("stripe_status"),
        Time("authorized_at"),
        Time("captured_at"),
        Plain("amount_cents"),
        Plain("captured_cents"),
        Plain("refunded_cents"),
        Plain("fee_cents"),
        Plain("tax_cents"),
        Plain("currency"),
        Plain("meta"),
        Time("created_at"),
        Plain("destination_account"),
        Plain("is_direct"),
        Plain("kept_cents"),
        Plain("application_fee_cents"),
        Plain("is_misfit"),
    ],
    from: "from pay.txn",
};

const REFUND: Table = Table {
    tag: "refund",
    name: "pay.refund",
    key: &["refund_id"],
    columns: &[
        Plain("refund_id"),
        Plain("txn_id"),
        Plain("account"),
        Plain("stripe_ref"),
        Plain("amount_cents"),
        Plain("currency"),
        Plain("reason"),
        Plain("status"),
        Plain("stripe_status"),
        Plain("created_by"),
        Time("created_at"),
    ],
    from: "from pay.refund",
};

const DISPUTE: Table = Table {
    tag: "dispute",
    name: "pay.dispute",
    key: &["dispute_id"],
    columns: &[
        Plain("dispute_id"),
        Plain("txn_id"),
        Plain("account"),
        Plain("stripe_dispute"),
        Plain("amount_cents"),
        Plain("currency"),
        Plain("reason"),
        Plain("status"),
        Plain("stripe_status"),
        Time("due_by"),
        Time("created_at"),
    ],
    from: "from pay.dispute",
};

const PAYOUT: Table = Table {
    tag: "payout",
    name: "pay.payout",
    key: &["payout_id"],
    columns: &[
        Plain("payout_id"),
        Plain("account"),
        Plain("livemode"),
        Plain("destination_account"),
        Plain("provider_id"),
        Plain("stripe_transfer"),
        Plain("stripe_payout"),
        Plain("currency"),
        Plain("gross_cents"),
        Plain("fee_cents"),
        Plain("net_cents"),
        Plain("status"),
        Plain("stripe_status"),
        Plain("scheduled_on"),
        Time("created_at"),
    ],
    from: "from pay.payout",
};

const INVOICE: Table = Table {
    tag: "invoice",
    name: "pay.invoice",
    key: &["invoice_id"],
    columns: &[
        Plain("invoice_id"),
        Plain("account"),
        Plain("livemode"),
        Plain("stripe_invoice"),
        Plain("number"),
        Plain("customer"),
        Plain("status"),
        Plain("stripe_status"),
        Plain("currency"),
        Plain("amount_due_cents"),
        Plain("amount_paid_cents"),
        Plain("amount_remaining_cents"),
        Plain("total_cents"),
        Time("due_at"),
        Time("created_at"),
    ],
    from: "from pay.invoice",
};

const INVOICE_PAYMENT: Table = Table {
    tag: "invoice_payment",
    name: "pay.invoice_payment",
    key: &["invoice_id", "stripe_payment"],
    columns: &[
        Plain("invoice_id"),
        Plain("stripe_payment"),
        Plain("txn_id"),
        Plain("amount_cents"),
        Plain("status"),
    ],
    from: "from pay.invoice_payment",
};

const PROVIDER: Table = Table {
    tag: "provider",
    name: "acc.provider_connect",
    key: &["user_id"],
    columns: &[Plain("user_id"), Plain("stripe_acct"), Plain("status"), Plain("requirements")],
    from: "from acc.provider_connect",
};

const BALANCE: Table = Table {
    tag: "balance",
    name: "pay.ledger_posting",
    key: &["account", "subject_kind", "subject_id", "currency", "ledger_account", "party"],
    columns: &[
        As("account", "e.account"),
        As("subject_kind", "e.subject_kind"),
        As("subject_id", "e.subject_id"),
        As("currency", "e.currency"),
        As("ledger_account", "p.ledger_account"),
        As("party", "p.party"),
        As("amount_cents", "sum(p.amount_cents)"),
    ],
    from: "from pay.ledger_entry as e join pay.ledger_posting as p using (entry_id)
        group by e.account, e.subject_kind, e.subject_id, e.currency, p.ledger_account, p.party
        having sum(p.amount_cents) <> 0",
};

const FACT: Table = Table {
    tag: "fact",
    name: "pay.fact",
    key: &["fact_id"],
    columns: &[
        Plain("fact_id"),
        Plain("type"),
        Plain("account"),
        Plain("subject"),
        Plain("object_id"),
        Time("created"),
        Plain("event_id"),
        Plain("livemode"),
        Plain("data"),
        Plain("held"),
    ],
    from: "from pay.fact",
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_a_column() {
        for table in PARTS.iter().flat_map(|(_, tables)| *tables) {
            for key in table.key {
                assert!(table.columns.iter().any(|column| column.name() == *key), "{key}");
            }
            assert!(!table.key.is_empty(), "{}", table.name);
        }
    }

    #[test]
    fn the_sql_reads_as_written() {
        assert_eq!(
            INVOICE_PAYMENT.digests(),
            "select sha256(convert_to(jsonb_build_array('invoice_payment', invoice_id, \
             stripe_payment, txn_id, amount_cents, status)::text, 'UTF8')) \
             from pay.invoice_payment"
        );
        assert!(EVENT.keyed().contains(
            "array[(event_id)::text, (account)::text, (extract(epoch from created)::bigint)::text, \
             (encode(data_hash, 'hex'))::text]::text as key"
        ));
    }
}
