//! The rows of `pay` and `acc` that are derived from snapshots. Money in minor units, times in Unix
//! seconds, currencies upper case.

use crate::ledger::Target;
use crate::object::ObjectKey;
use serde_json::Value;

/// A row of `pay.txn`.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the columns are described in the database")]
#[expect(clippy::struct_excessive_bools, reason = "as in the table")]
pub struct Txn {
    pub txn_id: String,
    /// The Stripe id that names it: its intent's, else its charge's. No column.
    pub name: String,
    pub account: String,
    pub livemode: bool,
    pub quote_id: String,
    /// Whether more than one quote could be meant. No column.
    pub has_rival_quotes: bool,
    pub is_misfit: bool,
    pub order_id: Option<String>,
    pub provider_id: Option<String>,
    pub destination_account: Option<String>,
    /// Provider of the destination account, which counts where nobody else is named. No column.
    pub destination_provider: Option<String>,
    pub is_direct: bool,
    pub stripe_pi: Option<String>,
    pub stripe_ch: Option<String>,
    pub method: &'static str,
    pub stripe_method: Option<String>,
    pub status: &'static str,
    pub stripe_status: Option<String>,
    pub authorized_at: Option<i64>,
    pub captured_at: Option<i64>,
    pub amount_cents: i64,
    pub captured_cents: i64,
    pub refunded_cents: i64,
    pub kept_cents: i64,
    /// What of the kept money is the destination's, where there is one. No column.
    pub destination_cents: Option<i64>,
    pub application_fee_cents: Option<i64>,
    pub fee_cents: i64,
    pub tax_cents: i64,
    pub currency: String,
    pub meta: Value,
    pub created_at: i64,
    /// Stripe's time of the newest record about it. No column.
    pub as_of: i64,
}

/// A row of `pay.refund`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns are described in the database")]
pub struct Refund {
    pub refund_id: String,
    pub txn_id: String,
    pub account: String,
    pub stripe_ref: String,
    pub amount_cents: i64,
    pub currency: String,
    pub reason: String,
    pub status: &'static str,
    pub stripe_status: Option<String>,
    pub created_by: &'static str,
    pub created_at: i64,
}

/// A row of `pay.dispute`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns are described in the database")]
pub struct Dispute {
    pub dispute_id: String,
    pub txn_id: String,
    pub account: String,
    pub stripe_dispute: String,
    pub amount_cents: i64,
    pub currency: String,
    pub reason: Option<String>,
    pub status: &'static str,
    pub stripe_status: String,
    pub due_by: Option<i64>,
    pub created_at: i64,
}

/// A row of `pay.payout`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns are described in the database")]
pub struct Payout {
    pub payout_id: String,
    pub account: String,
    pub livemode: bool,
    pub destination_account: Option<String>,
    pub provider_id: String,
    pub stripe_transfer: Option<String>,
    pub stripe_payout: Option<String>,
    pub currency: String,
    pub gross_cents: i64,
    pub fee_cents: i64,
    pub net_cents: i64,
    pub status: &'static str,
    pub stripe_status: Option<String>,
    /// Unix seconds; the row keeps its date in UTC.
    pub scheduled_on: i64,
    pub created_at: i64,
}

/// A row of `pay.invoice`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns are described in the database")]
pub struct Invoice {
    pub invoice_id: String,
    pub account: String,
    pub livemode: bool,
    pub stripe_invoice: String,
    pub number: Option<String>,
    pub customer: Option<String>,
    pub status: &'static str,
    pub stripe_status: Option<String>,
    pub currency: String,
    pub amount_due_cents: i64,
    pub amount_paid_cents: i64,
    pub amount_remaining_cents: i64,
    pub total_cents: i64,
    pub due_at: Option<i64>,
    pub created_at: i64,
}

/// A row of `pay.invoice_payment`: one payment of an invoice.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns are described in the database")]
pub struct InvoicePayment {
    pub invoice_id: String,
    /// The payment's intent, else its charge.
    pub stripe_payment: String,
    pub txn_id: String,
    pub amount_cents: i64,
    pub status: String,
}

/// Something about an object that needs a person.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the columns are described in the database")]
pub struct Discrepancy {
    pub kind: &'static str,
    pub account: String,
    pub object_id: String,
    pub ours: String,
    pub theirs: String,
}

/// What a connected account says of the provider behind it, for `acc.provider_connect`.
#[derive(Debug, Clone, PartialEq)]
pub struct Provider {
    /// `acct_…`.
    pub stripe_acct: String,
    /// `pending`, `restricted` or `active`.
    pub status: &'static str,
    /// What Stripe still asks for.
    pub requirements: Value,
}

/// Ids of rows that must not stand, by table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "named for their tables")]
pub struct Absent {
    pub txns: Vec<String>,
    pub refunds: Vec<String>,
    pub disputes: Vec<String>,
    pub payouts: Vec<String>,
    pub invoices: Vec<String>,
}

/// Everything that an aggregate derives to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rows {
    /// Payments.
    pub txns: Vec<Txn>,
    /// Refunds of captured money.
    pub refunds: Vec<Refund>,
    /// Disputes.
    pub disputes: Vec<Dispute>,
    /// Transfers and payouts.
    pub payouts: Vec<Payout>,
    /// Providers.
    pub providers: Vec<Provider>,
    /// Rows that an earlier, less complete view may have written and that must not stand.
    pub absent: Absent,
    /// Invoices.
    pub invoices: Vec<Invoice>,
    /// Their payments; those of an invoice that are not here must not stand.
    pub invoice_payments: Vec<InvoicePayment>,
    /// What the ledger must add up to.
    pub targets: Vec<Target>,
    /// What needs a person; what is not here about these objects no longer does.
    pub discrepancies: Vec<Discrepancy>,
    /// For each object with conditional facts: whether they are held.
    pub held: Vec<(ObjectKey, bool)>,
}

impl Rows {
    /// Adds the rows of another aggregate.
    pub fn extend(&mut self, other: Self) {
        self.txns.extend(other.txns);
        self.refunds.extend(other.refunds);
        self.disputes.extend(other.disputes);
        self.payouts.extend(other.payouts);
        self.providers.extend(other.providers);
        self.absent.txns.extend(other.absent.txns);
        self.absent.refunds.extend(other.absent.refunds);
        self.absent.disputes.extend(other.absent.disputes);
        self.absent.payouts.extend(other.absent.payouts);
        self.absent.invoices.extend(other.absent.invoices);
        self.invoices.extend(other.invoices);
        self.invoice_payments.extend(other.invoice_payments);
        self.targets.extend(other.targets);
        self.discrepancies.extend(other.discrepancies);
        self.held.extend(other.held);
    }
}
