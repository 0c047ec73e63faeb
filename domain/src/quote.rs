//! Quotes: which payment belongs to which, and how a quote's fee and tax spread over its payments.
//!
//! A quote may come before or after its payments, and have several of them (a deposit and the
//! rest). Fee and tax are allocated once, pro rata to what was captured and kept over the total,
//! with cumulative rounding, so that the whole comes out exact.

use crate::row::Txn;
use std::collections::{BTreeMap, BTreeSet};

/// `pay.txn.quote_id` of a payment without a quote.
pub const UNQUOTED: &str = "unquoted";

/// A row of `pay.quote`, as far as money is concerned. Amounts in minor units.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns are described in the database")]
pub struct Quote {
    pub quote_id: String,
    pub order_id: Option<String>,
    pub provider_id: String,
    /// Upper case.
    pub currency: String,
    pub platform_fee_cents: i64,
    pub tax_cents: i64,
    pub total_cents: i64,
}

impl Quote {
    /// Whether fee and tax can be parts of the total at all.
    pub fn adds_up(&self) -> bool {
        let Self { platform_fee_cents: fee, tax_cents: tax, total_cents: total, .. } = self;
        *total > 0 && *fee >= 0 && *tax >= 0 && fee.saturating_add(*tax) <= *total
    }
}

/// The quotes that some payments may belong to.
#[derive(Debug, Clone, Default)]
pub struct Quotes(BTreeMap<String, Quote>);

impl FromIterator<Quote> for Quotes {
    fn from_iter<I: IntoIterator<Item = Quote>>(quotes: I) -> Self {
        Self(quotes.into_iter().map(|quote| (quote.quote_id.clone(), quote)).collect())
    }
}

impl Quotes {
    /// The quote of this id.
    pub fn get(&self, quote_id: &str) -> Option<&Quote> {
        self.0.get(quote_id)
    }

    /// Their ids, sorted.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The quotes of this order.
    fn of_order<'a>(&'a self, order_id: &'a str) -> impl Iterator<Item = &'a Quote> {
        self.0.values().filter(move |quote| quote.order_id.as_deref() == Some(order_id))
    }
}

/// Why a payment with a quote has no part of its fee and tax.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Misfit {
    /// The quote is in another currency.
    Currency,
    /// More than one quote could be meant.
    Ambiguous,
    /// The quote's fee and tax are no parts of its total.
    Sums,
}

impl Misfit {
    /// Every misfit.
    pub const ALL: [Self; 3] = [Self::Currency, Self::Ambiguous, Self::Sums];

    /// The value in `pay.discrepancy.kind`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Currency => "quote_currency",
            Self::Ambiguous => "quote_ambiguous",
            Self::Sums => "quote_sums",
        }
    }
}

/// Links each payment that names no quote but an order to the quote of that order, and each
/// payment without a provider to its quote's. Returns the payments that more than one quote fits.
pub fn resolve(txns: &mut [Txn], quotes: &Quotes) -> BTreeSet<String> {
    let mut ambiguous = BTreeSet::new();
    for txn in txns {
        if txn.has_rival_quotes {
            ambiguous.insert(txn.txn_id.clone());
        }
        if txn.quote_id == UNQUOTED
            && let Some(order_id) = txn.order_id.as_deref()
        {
            let mut candidates = quotes.of_order(order_id);
            match (candidates.next(), candidates.next()) {
                (Some(only), None) => txn.quote_id.clone_from(&only.quote_id),
                (Some(_), Some(_)) => drop(ambiguous.insert(txn.txn_id.clone())),
                (None, _) => {}
            }
        }
        if txn.provider_id.is_none()
            && let Some(quote) = quotes.get(&txn.quote_id)
        {
            txn.provider_id = Some(quote.provider_id.clone());
        }
    }
    ambiguous
}

/// Why this payment gets no part of the quote that it names, if so.
pub fn misfit(txn: &Txn, quotes: &Quotes, ambiguous: &BTreeSet<String>) -> Option<Misfit> {
    if ambiguous.contains(&txn.txn_id) {
        return Some(Misfit::Ambiguous);
    }
    let quote = quotes.get(&txn.quote_id)?;
    if quote.currency != txn.currency {
        return Some(Misfit::Currency);
    }
    (!quote.adds_up()).then_some(Misfit::Sums)
}

/// What a payment brings to its quote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// The payment.
    pub txn_id: String,
    /// Stripe's time of its creation, Unix seconds: the first payment comes first.
    pub created_at: i64,
    /// Captured and kept, minor units.
    pub kept_cents: i64,
}

/// A payment's part of its quote, minor units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Part {
    /// Of the platform's fee.
    pub fee_cents: i64,
    /// Of the tax.
    pub tax_cents: i64,
    /// What is left, for the provider.
    pub provider_cents: i64,
}

/// Spreads a quote's fee and tax over its payments, by payment. What was captured beyond the total
/// is nobody's part, and a quote that does not add up has none.
pub fn allocate(quote: &Quote, mut shares: Vec<Share>) -> BTreeMap<String, Part> {
    if !quote.adds_up() {
        return shares.into_iter().map(|share| (share.txn_id, Part::default())).collect();
    }
    shares.sort_by(|a, b| (a.created_at, &a.txn_id).cmp(&(b.created_at, &b.txn_id)));
    let total = quote.total_cents;
    let up_to = |whole: i64, kept: i64| pro_rata(whole, kept, total);
    let mut before = 0_i64;
    let mut parts = BTreeMap::new();
    for share in shares {
        let after = before.saturating_add(share.kept_cents.max(0)).min(total);
        let of = |whole| up_to(whole, after) - up_to(whole, before);
        let (fee_cents, tax_cents) = (of(quote.platform_fee_cents), of(quote.tax_cents));
        let provider_cents = after - before - fee_cents - tax_cents;
        parts.insert(share.txn_id, Part { fee_cents, tax_cents, provider_cents });
        before = after;
    }
    parts
}

/// `whole × part ÷ of`, rounded half up. All amounts are in minor units and none is negative; zero
/// for a part of nothing.
pub fn pro_rata(whole: i64, part: i64, of: i64) -> i64 {
    if of <= 0 {
        return 0;
    }
    let (whole, part, of) = (i128::from(whole), i128::from(part), i128::from(of));
    let rounded = (2 * whole * part + of) / (2 * of);
    i64::try_from(rounded).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn quote(total: i64, fee: i64, tax: i64) -> Quote {
        Quote {
            quote_id: "qte_1".to_owned(),
            order_id: None,
            provider_id: "p_1".to_owned(),
            currency: "USD".to_owned(),
            platform_fee_cents: fee,
            tax_cents: tax,
            total_cents: total,
        }
    }

    fn share(number: usize, kept_cents: i64) -> Share {
        Share { txn_id: format!("txn_{number}"), created_at: 10, kept_cents }
    }

    #[test]
    fn a_deposit_and_the_rest_come_out_exact() {
        let parts = allocate(&quote(1000, 101, 33), vec![share(1, 333), share(2, 667)]);
        assert_eq!(
            parts["txn_1"],
            Part { fee_cents: 34, tax_cents: 11, provider_cents: 333 - 34 - 11 }
        );
        assert_eq!(parts["txn_2"].fee_cents, 101 - 34);
        assert_eq!(parts["txn_2"].tax_cents, 33 - 11);
    }

    #[test]
    fn what_was_paid_twice_is_allocated_once() {
        let parts = allocate(&quote(1000, 100, 0), vec![share(1, 1000), share(2, 1000)]);
        assert_eq!(parts["txn_1"].fee_cents, 100);
        assert_eq!(parts["txn_2"], Part::default());
    }

    #[test]
    fn a_quote_that_does_not_add_up_allocates_nothing() {
        for quote in [quote(0, 0, 0), quote(100, 60, 41), quote(100, -1, 0)] {
            assert_eq!(allocate(&quote, vec![share(1, 100)])["txn_1"], Part::default());
        }
    }

    #[test]
    fn a_refunded_payment_leaves_its_part_to_others() {
        let parts = allocate(&quote(1000, 100, 50), vec![share(1, 0), share(2, 1000)]);
        assert_eq!(parts["txn_1"], Part::default());
        assert_eq!(parts["txn_2"].fee_cents, 100);
    }

    proptest! {
        #[test]
        fn a_quote_paid_whole_is_allocated_whole(
            cuts in prop::collection::vec(1..5_000_i64, 1..6),
            fee in 0..1_000_i64,
            tax in 0..1_000_i64,
        ) {
            let total: i64 = cuts.iter().sum::<i64>() + fee + tax;
            let quote = quote(total, fee, tax);
            let mut shares: Vec<Share> =
                cuts.iter().enumerate().map(|(number, cut)| share(number, *cut)).collect();
            shares.push(share(cuts.len(), fee + tax));
            let parts = allocate(&quote, shares.clone());
            prop_assert_eq!(parts.values().map(|part| part.fee_cents).sum::<i64>(), fee);
            prop_assert_eq!(parts.values().map(|part| part.tax_cents).sum::<i64>(), tax);
            prop_assert_eq!(
                parts.values().map(|part| part.provider_cents).sum::<i64>(),
                total - fee - tax
            );
            shares.reverse();
            prop_assert_eq!(allocate(&quote, shares), parts);
        }
    }
}
