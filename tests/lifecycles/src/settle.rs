//! What payments come to once their quotes and providers are known.

use crate::Quote;
use crate::books::{portion, shares};
use crate::quote::Links;
use crate::script::Script;
use std::collections::BTreeMap;

/// A payment that is told: what it holds, and what it says about whose money that is.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    /// Its row among the truth's.
    pub(crate) row: usize,
    pub(crate) name: String,
    pub(crate) created: i64,
    pub(crate) currency: String,
    pub(crate) captured: i64,
    /// Captured less refunded, pending refunds included.
    pub(crate) left: i64,
    pub(crate) links: Links,
    pub(crate) destination: Option<Destination>,
    /// The application fee less its refunds, where there is one.
    pub(crate) application_fee: Option<i64>,
    /// Whether the platform owns it: only then its books speak of it.
    pub(crate) is_own: bool,
}

/// The connected account that a payment is for.
#[derive(Debug, Clone)]
pub(crate) struct Destination {
    pub(crate) account: String,
    pub(crate) provider: Option<String>,
    /// `transfer_data.amount`.
    pub(crate) transfer_amount: Option<i64>,
    /// `application_fee_amount`.
    pub(crate) fee_amount: Option<i64>,
}

impl Destination {
    /// What the provider has of what is left.
    fn provider_share(&self, held: &Held) -> i64 {
        // A fee goes back for itself, not with the money.
        if let Some(fee) = held.application_fee {
            return held.left - fee;
        }
        match (self.transfer_amount, self.fee_amount) {
            (Some(amount), _) => portion(amount, held.left, held.captured),
            (None, Some(fee)) => held.left - portion(fee, held.left, held.captured),
            (None, None) => held.left,
        }
    }
}

/// Completes the rows, states the allocations and what does not agree.
pub(crate) fn settle(script: &mut Script<'_>) {
    let mut held = std::mem::take(&mut script.held);
    held.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
    let quotes = script.quotes.clone();
    let mut by_quote: BTreeMap<&str, Vec<&Held>> = BTreeMap::new();
    for payment in &held {
        let quote = find(script, &quotes, payment);
        let destination = payment.destination.as_ref();
        let row = &mut script.truth.txns[payment.row];
        row.quote_id = payment.links.quote.clone().or(quote.map(|quote| quote.quote_id.clone()));
        row.provider_id = payment
            .links
            .provider
            .clone()
            .or(quote.map(|quote| quote.provider_id.clone()))
            .or(destination.and_then(|destination| destination.provider.clone()));
        row.fee = payment.application_fee.unwrap_or_default();
        match (quote, destination) {
            (Some(quote), _) if quote.currency == payment.currency => {
                by_quote.entry(&quote.quote_id).or_default().push(payment);
            }
            (_, Some(destination)) if payment.captured > 0 => {
                let provider = destination.provider_share(payment);
                allocate(script, payment, (payment.left - provider, 0, provider));
            }
            _ => {}
        }
        if let Some(quote) = quote
            && quote.currency != payment.currency
        {
            script.truth.discrepancies.insert(("quote_currency", payment.name.clone()));
        }
    }
    for (id, payments) in by_quote {
        let Some(quote) = quotes.iter().find(|quote| quote.quote_id == id) else { continue };
        let left = payments.iter().map(|payment| payment.left);
        for (payment, share) in payments.iter().zip(shares(quote, left)) {
            let row = &mut script.truth.txns[payment.row];
            row.fee = payment.application_fee.unwrap_or(share.fee);
            row.tax = share.tax;
            allocate(script, payment, (share.fee, share.tax, share.provider()));
        }
    }
}

/// The payment's quote; two candidates are none, and said so.
fn find<'q>(script: &mut Script<'_>, quotes: &'q [Quote], payment: &Held) -> Option<&'q Quote> {
    if let Some(id) = &payment.links.quote {
        return quotes.iter().find(|quote| quote.quote_id == *id);
    }
    let order = payment.links.order.as_ref()?;
    let mut candidates = quotes.iter().filter(|quote| quote.order_id.as_ref() == Some(order));
    let first = candidates.next();
    if candidates.next().is_some() {
        script.truth.discrepancies.insert(("quote_ambiguous", payment.name.clone()));
        return None;
    }
    first
}

fn allocate(script: &mut Script<'_>, payment: &Held, (fee, tax, provider): (i64, i64, i64)) {
    if !payment.is_own {
        return;
    }
    let party = script.truth.txns[payment.row].provider_id.clone();
    let party = party.as_deref().unwrap_or("unknown");
    let (subject, currency) = (("allocation", payment.name.as_str()), payment.currency.as_str());
    script.post(subject, currency, "unallocated", "", fee + tax + provider);
    script.post(subject, currency, "platform_fees", "", -fee);
    script.post(subject, currency, "tax_payable", "", -tax);
    script.post(subject, currency, "provider_payable", party, -provider);
}
