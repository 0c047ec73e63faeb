//! The ledger that a lifecycle must come to: postings where money moves, balances at the end.

use crate::Quote;
use std::collections::BTreeMap;

/// What a balance is kept by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Balance {
    /// Kind of the subject: `capture`, `refund`, `refunds_unnamed`, `allocation`,
    /// `application_fee`, `dispute`, `transfer` or `payout`.
    pub kind: &'static str,
    /// The subject's Stripe id; for `capture` and `allocation` the intent's, else the charge's.
    pub subject: String,
    /// ISO 4217, upper case.
    pub currency: String,
    /// The ledger account, such as `stripe_clearing`.
    pub account: &'static str,
    /// The provider for `provider_payable`, else empty.
    pub party: String,
}

/// Balances in minor units, debits positive.
#[derive(Debug, Clone, Default)]
pub(crate) struct Books(BTreeMap<Balance, i64>);

impl Books {
    pub(crate) fn post(
        &mut self,
        (kind, subject): (&'static str, &str),
        currency: &str,
        account: &'static str,
        party: &str,
        amount: i64,
    ) {
        let balance = Balance {
            kind,
            subject: subject.to_owned(),
            currency: currency.to_uppercase(),
            account,
            party: party.to_owned(),
        };
        *self.0.entry(balance).or_default() += amount;
    }

    /// What is left: the sums that are not zero.
    pub(crate) fn close(self) -> BTreeMap<Balance, i64> {
        self.0.into_iter().filter(|(_, amount)| *amount != 0).collect()
    }
}

/// What one payment of a quote brings, minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) taken: i64,
    pub(crate) fee: i64,
    pub(crate) tax: i64,
}

impl Share {
    pub(crate) fn provider(self) -> i64 {
        self.taken - self.fee - self.tax
    }
}

/// Splits what the payments of a quote hold, in their order. Rounding is cumulative: once the
/// total is there, fees and taxes add up to the quote's.
pub(crate) fn shares(quote: &Quote, held: impl IntoIterator<Item = i64>) -> Vec<Share> {
    let mut sum = 0;
    let mut before = Share { taken: 0, fee: 0, tax: 0 };
    let share = |held: i64| {
        sum += held;
        let taken = sum.min(quote.total);
        let (fee, tax) = (
            portion(quote.platform_fee, taken, quote.total),
            portion(quote.tax, taken, quote.total),
        );
        let share =
            Share { taken: taken - before.taken, fee: fee - before.fee, tax: tax - before.tax };
        before = Share { taken, fee, tax };
        share
    };
    held.into_iter().map(share).collect()
}

/// `amount · part / whole`, rounded half up; none is negative, and `whole` is positive.
pub(crate) fn portion(amount: i64, part: i64, whole: i64) -> i64 {
    let (amount, part, whole) = (i128::from(amount), i128::from(part), i128::from(whole));
    i64::try_from((2 * amount * part + whole) / (2 * whole)).expect("a part of an i64")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quote(total: i64, platform_fee: i64, tax: i64) -> Quote {
        Quote {
            quote_id: "qte_1".to_owned(),
            order_id: None,
            buyer_id: "usr_1".to_owned(),
            provider_id: "usr_2".to_owned(),
            role_code: "photographer".to_owned(),
            currency: "USD".to_owned(),
            subtotal: total - tax,
            platform_fee,
            tax,
            deposit: 0,
            total,
        }
    }

    #[test]
    fn halves_are_rounded_up() {
        assert_eq!(portion(1, 1, 2), 1);
        assert_eq!(portion(5, 1, 10), 1);
        assert_eq!(portion(4, 1, 10), 0);
        assert_eq!(portion(i64::MAX, 7, 7), i64::MAX);
    }

    #[test]
    fn rounding_is_cumulative() {
        // A fee of 10 over three equal parts: 3.3, 6.7 and 10 are 3, 7 and 10.
        let thirds = shares(&quote(99, 10, 1), [33, 33, 33]);
        assert_eq!(thirds.iter().map(|share| share.fee).collect::<Vec<_>>(), [3, 4, 3]);
        assert_eq!(thirds.iter().map(|share| share.tax).collect::<Vec<_>>(), [0, 1, 0]);
        assert_eq!(thirds.iter().map(|share| share.provider()).collect::<Vec<_>>(), [30, 28, 30]);
    }

    #[test]
    fn what_is_beyond_the_total_is_not_shared() {
        let shares = shares(&quote(100, 10, 0), [80, 0, 80, 5]);
        assert_eq!(shares.iter().map(|share| share.taken).collect::<Vec<_>>(), [80, 0, 20, 0]);
        assert_eq!(shares.iter().map(|share| share.fee).collect::<Vec<_>>(), [8, 0, 2, 0]);
    }
}
