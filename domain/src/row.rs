//! The rows of `pay` and `acc` that are derived from snapshots. Money in minor units, times in Unix
//! seconds, currencies upper case.

use crate::object::ObjectKey;
use serde_json::Value;

/// A row of `pay.txn`.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the columns are described in the database")]
pub struct Txn {
    pub txn_id: String,
    pub account: String,
    pub livemode: bool,
    pub quote_id: String,
    pub order_id: Option<String>,
    pub provider_id: Option<String>,
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
    pub currency: String,
    pub meta: Value,
    pub created_at: i64,
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
    /// Ids of rows that an earlier, less complete view may have written and that must not stand.
    pub absent_txns: Vec<String>,
    /// The same for refunds.
    pub absent_refunds: Vec<String>,
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
        self.absent_txns.extend(other.absent_txns);
        self.absent_refunds.extend(other.absent_refunds);
        self.held.extend(other.held);
    }
}
