//! What a lifecycle must come to: rows, facts, balances and discrepancies.

use crate::Balance;
use std::collections::{BTreeMap, BTreeSet};

/// A row of `pay.txn`, once quotes and providers are known.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TxnRow {
    /// Payment intent, if there is one.
    pub stripe_pi: Option<String>,
    /// Charge, if there was an attempt.
    pub stripe_ch: Option<String>,
    /// The connected account that owns a direct charge; `None` for the platform's own.
    pub account: Option<String>,
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
    /// The quote, by metadata, checkout session or order.
    pub quote_id: Option<String>,
    /// The order, by metadata or checkout session.
    pub order_id: Option<String>,
    /// Application fee less its refunds where there is one, else the quote's share; minor units.
    pub fee: i64,
    /// The quote's share of tax, minor units.
    pub tax: i64,
    /// Who is to get the money, if known.
    pub provider_id: Option<String>,
    /// The connected account that a destination charge is for.
    pub destination_account: Option<String>,
    /// Reviews by Radar, by id.
    pub reviews: Vec<Review>,
    /// Early fraud warnings, by id.
    pub fraud_warnings: Vec<FraudWarning>,
}

impl TxnRow {
    /// The Stripe id that names the payment: the intent's, else the charge's.
    pub fn name(&self) -> &str {
        self.stripe_pi.as_deref().or(self.stripe_ch.as_deref()).unwrap_or_default()
    }
}

/// A review in a payment's meta.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Review {
    /// `prv_…`.
    pub id: String,
    /// Whether somebody still has to look at it.
    pub open: bool,
    /// Stripe's `reason`: why it was opened, or how it was closed.
    pub reason: &'static str,
}

/// An early fraud warning in a payment's meta.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FraudWarning {
    /// `issfr_…`.
    pub id: String,
    /// Stripe's `fraud_type`.
    pub fraud_type: &'static str,
    /// Whether a refund could still avoid a dispute.
    pub actionable: bool,
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
    /// The account's provider with every input there; `platform` for the platform's own payout.
    pub provider_id: Option<String>,
    /// Whether the account's own metadata names a provider, so that no link is needed.
    pub is_named: bool,
    /// Our status once the account's provider is known: see [`PayoutRow::status_when`].
    pub status: &'static str,
    /// Transfer less what was reversed, or the payout; minor units. Negative where Stripe draws
    /// from the bank account.
    pub net: i64,
    /// ISO 4217, upper case.
    pub currency: String,
}

impl PayoutRow {
    /// Our status: a connected account that neither a link (`provider_known`) nor its own
    /// metadata gives a provider needs review.
    pub fn status_when(&self, provider_known: bool) -> &'static str {
        let known = self.account.is_none() || self.is_named || provider_known;
        if known { self.status } else { "needs_review" }
    }

    /// Our status with every input there.
    pub fn status_at_last(&self) -> &'static str {
        self.status_when(self.provider_id.is_some())
    }
}

/// A row of `pay.invoice`. Amounts are minor units.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct InvoiceRow {
    /// `in_…`.
    pub stripe_invoice: String,
    /// draft, open, paid, uncollectible or void.
    pub status: &'static str,
    /// ISO 4217, upper case.
    pub currency: String,
    /// To be paid in all.
    pub amount_due: i64,
    /// Paid so far.
    pub amount_paid: i64,
    /// Still to be paid.
    pub amount_remaining: i64,
    /// The invoice's total.
    pub total: i64,
    /// The payment intent, else the charge, of each payment and what it paid, sorted.
    pub payments: Vec<(String, i64)>,
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

/// Rows, facts and balances that a set of events must come to with its quotes and providers,
/// whatever their order.
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
    /// Invoices.
    pub invoices: Vec<InvoiceRow>,
    /// Connected accounts that spoke of their state.
    pub accounts: Vec<AccountRow>,
    /// Facts, each once.
    pub facts: BTreeSet<Fact>,
    /// The ledger in the profile `marketplace`: every balance that is not zero, minor units,
    /// debits positive.
    pub balances: BTreeMap<Balance, i64>,
    /// What does not agree: kind, and the Stripe id that it is about.
    pub discrepancies: BTreeSet<(&'static str, String)>,
    /// Objects that are deleted at Stripe.
    pub deleted: BTreeSet<String>,
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
            all.invoices.extend_from_slice(&part.invoices);
            all.accounts.extend_from_slice(&part.accounts);
            all.facts.extend(part.facts.iter().cloned());
            // No two lifecycles share a subject.
            all.balances.extend(part.balances.iter().map(|(key, amount)| (key.clone(), *amount)));
            all.discrepancies.extend(part.discrepancies.iter().cloned());
            all.deleted.extend(part.deleted.iter().cloned());
        }
        all
    }

    /// How many `provider.updated` facts there must be.
    pub fn provider_updates(&self) -> usize {
        self.accounts.iter().map(|account| account.states).sum()
    }
}
