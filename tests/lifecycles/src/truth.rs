//! What a lifecycle must come to: rows and facts.

use std::collections::BTreeSet;

/// A row of `pay.txn`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TxnRow {
    /// Payment intent, if there is one.
    pub stripe_pi: Option<String>,
    /// Charge, if there was an attempt.
    pub stripe_ch: Option<String>,
    /// Our status.
    pub status: &'static str,
    /// Amount asked for, minor units.
    pub amount: i64,
    /// Amount captured, minor units.
    pub captured: i64,
    /// Amount of captured money that was refunded, minor units.
    pub refunded: i64,
    /// ISO 4217, upper case.
    pub currency: String,
    /// The quote named by metadata.
    pub quote_id: Option<String>,
}

/// A row of `pay.refund`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RefundRow {
    /// Stripe's refund.
    pub stripe_ref: String,
    /// Our status.
    pub status: &'static str,
    /// Minor units.
    pub amount: i64,
}

/// A row of `pay.dispute`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DisputeRow {
    /// Stripe's dispute.
    pub stripe_dispute: String,
    /// Our status.
    pub status: &'static str,
    /// Minor units.
    pub amount: i64,
}

/// A row of `pay.payout`: a transfer to a connected account, or a payout.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PayoutRow {
    /// Stripe's transfer.
    pub stripe_transfer: Option<String>,
    /// Stripe's payout.
    pub stripe_payout: Option<String>,
    /// The connected account that gets the money; `None` for the platform's own payout.
    pub account: Option<String>,
    /// Our status once the account's provider is known: see [`PayoutRow::status_when`].
    pub status: &'static str,
    /// Transfer less what was reversed, or the payout; minor units.
    pub net: i64,
    /// ISO 4217, upper case.
    pub currency: String,
}

impl PayoutRow {
    /// Our status: a connected account without a known provider needs review.
    pub fn status_when(&self, provider_known: bool) -> &'static str {
        if self.account.is_none() || provider_known { self.status } else { "needs_review" }
    }
}

/// Our status of a connected account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AccountRow {
    /// Stripe's account.
    pub stripe_acct: String,
    /// pending, active or restricted.
    pub status: &'static str,
    /// The provider that its metadata names.
    pub provider_id: Option<String>,
    /// How many different states its `account.updated` events show: as many facts.
    pub states: usize,
}

/// A domain fact by its type and what it is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fact {
    /// Such as `payment.captured`.
    pub kind: &'static str,
    /// Ids, and where the amount tells facts apart the amount, joined by `:`.
    pub subject: String,
}

/// Rows and facts that a set of events must come to, whatever their order.
///
/// `provider.updated` is not among the facts, since its subject holds a hash of our projection:
/// [`AccountRow::states`] says how many there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Truth {
    /// Payments.
    pub txns: Vec<TxnRow>,
    /// Refunds of captured money.
    pub refunds: Vec<RefundRow>,
    /// Disputes and inquiries.
    pub disputes: Vec<DisputeRow>,
    /// Transfers and payouts.
    pub payouts: Vec<PayoutRow>,
    /// Connected accounts that spoke of their state.
    pub accounts: Vec<AccountRow>,
    /// Facts, each once.
    pub facts: BTreeSet<Fact>,
}

impl Truth {
    /// The truth of several lifecycles together.
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a Truth>) -> Self {
        let mut all = Self::default();
        for part in parts {
            all.txns.extend_from_slice(&part.txns);
            all.refunds.extend_from_slice(&part.refunds);
            all.disputes.extend_from_slice(&part.disputes);
            all.payouts.extend_from_slice(&part.payouts);
            all.accounts.extend_from_slice(&part.accounts);
            all.facts.extend(part.facts.iter().cloned());
        }
        all
    }

    /// How many `provider.updated` facts there must be.
    pub fn provider_updates(&self) -> usize {
        self.accounts.iter().map(|account| account.states).sum()
    }
}
