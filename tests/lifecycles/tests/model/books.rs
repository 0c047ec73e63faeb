//! The ledger that stories state keeps the laws of books.

use super::{lifecycles, of};
use lifecycles::{Lifecycle, Scenario, Shape};
use std::collections::{BTreeMap, BTreeSet};

/// The sum of one ledger account over subjects of this kind; every kind if it is empty.
fn sum(story: &Lifecycle, kind: &str, account: &str) -> i64 {
    let balances = story.truth.balances.iter();
    balances
        .filter(|(of, _)| (kind.is_empty() || of.kind == kind) && of.account == account)
        .map(|(_, amount)| amount)
        .sum()
}

#[test]
fn every_subject_is_zero_sum_in_every_currency() {
    let mut kinds = BTreeSet::new();
    for story in lifecycles() {
        let mut sums = BTreeMap::new();
        for (of, amount) in &story.truth.balances {
            assert_ne!(*amount, 0, "{of:?}");
            assert_eq!(of.currency, of.currency.to_uppercase());
            assert_eq!(of.party.is_empty(), of.account != "provider_payable", "{of:?}");
            *sums.entry((of.kind, &of.subject, &of.currency)).or_insert(0) += amount;
            kinds.insert(of.kind);
        }
        assert!(sums.values().all(|sum| *sum == 0), "{}: {sums:?}", story.scenario);
    }
    let all = [
        "allocation",
        "application_fee",
        "capture",
        "dispute",
        "payout",
        "refund",
        "refunds_unnamed",
        "transfer",
    ];
    assert_eq!(kinds, BTreeSet::from(all));
}

/// What was captured is allocated, given back, or still nobody's.
#[test]
fn the_books_hold_what_the_rows_say() {
    for story in lifecycles() {
        let own = || story.truth.txns.iter().filter(|txn| txn.account.is_none());
        let captured: i64 = own().map(|txn| txn.captured).sum();
        assert_eq!(sum(story, "capture", "stripe_clearing"), captured, "{}", story.scenario);

        let back =
            sum(story, "refund", "unallocated") + sum(story, "refunds_unnamed", "unallocated");
        let refunded: i64 = own().map(|txn| txn.refunded).sum();
        let is_waiting = story.scenario == Scenario::RefundPending;
        assert_eq!(back > refunded, is_waiting, "{}: {back}, {refunded}", story.scenario);
        assert!(back >= refunded);

        let allocated = sum(story, "allocation", "unallocated");
        assert!(0 <= allocated && allocated <= captured - back, "{}", story.scenario);
        let unallocated = sum(story, "", "unallocated");
        assert_eq!(unallocated, allocated + back - captured, "{}", story.scenario);
    }
}

#[test]
fn shares_of_a_paid_quote_add_up_to_the_quote() {
    let (mut uneven, mut by_order) = (0, 0);
    for story in of(&[Scenario::DepositAndRest, Scenario::Quoted, Scenario::QuotedByOrder]) {
        let (quote, txns) = (&story.quotes[0], &story.truth.txns);
        assert!(txns.iter().all(|txn| txn.quote_id.as_deref() == Some(&quote.quote_id)));
        assert!(txns.iter().all(|txn| txn.provider_id.as_deref() == Some(&quote.provider_id)));
        assert_eq!(txns.iter().map(|txn| txn.fee).sum::<i64>(), quote.platform_fee);
        assert_eq!(txns.iter().map(|txn| txn.tax).sum::<i64>(), quote.tax);
        assert_eq!(sum(story, "allocation", "platform_fees"), -quote.platform_fee);
        assert_eq!(sum(story, "allocation", "tax_payable"), -quote.tax);
        let provider = quote.total - quote.platform_fee - quote.tax;
        assert_eq!(sum(story, "allocation", "provider_payable"), -provider);
        assert_eq!(sum(story, "", "unallocated"), 0);
        uneven += i32::from(quote.platform_fee * txns[0].captured % quote.total != 0);
        by_order += i32::from(quote.order_id.is_some());
    }
    assert!(uneven > 10 && by_order > 10);
}

#[test]
fn a_full_refund_returns_exactly_what_was_allocated() {
    let (mut whole, mut part) = (0, 0);
    for story in of(&[Scenario::QuotedRefunded, Scenario::DepositAndRestRefunded]) {
        let (quote, txns) = (&story.quotes[0], &story.truth.txns);
        let left: i64 = txns.iter().map(|txn| txn.captured - txn.refunded).sum();
        assert_eq!(sum(story, "allocation", "unallocated"), left);
        assert_eq!(sum(story, "", "unallocated"), 0);
        let fee: i64 = txns.iter().map(|txn| txn.fee).sum();
        assert_eq!(sum(story, "allocation", "platform_fees"), -fee);
        // Half up of the fee's part, whatever the payments were.
        let exact = 2 * quote.platform_fee * left;
        assert!((2 * fee * quote.total - exact).abs() <= quote.total, "{fee} of {quote:?}");
        if left == 0 {
            assert_eq!((sum(story, "", "stripe_clearing"), fee), (0, 0));
            assert!(!story.truth.balances.keys().any(|of| of.kind == "allocation"));
        }
        (whole, part) = if left == 0 { (whole + 1, part) } else { (whole, part + 1) };
    }
    assert!(whole > 0 && part > 0);
}

#[test]
fn a_quote_that_does_not_fit_is_said_and_not_used() {
    for story in lifecycles() {
        let kinds: Vec<_> = story.truth.discrepancies.iter().map(|(kind, _)| *kind).collect();
        let expected: &[&str] = match story.scenario {
            Scenario::QuoteOtherCurrency => &["quote_currency"],
            Scenario::QuoteAmbiguous => &["quote_ambiguous"],
            _ => &[],
        };
        assert_eq!(kinds, expected, "{}", story.scenario);
        if let Some((_, object)) = story.truth.discrepancies.first() {
            let txn = &story.truth.txns[0];
            assert_eq!(object, txn.name());
            assert_eq!((txn.fee, txn.tax), (0, 0));
            assert_eq!(sum(story, "", "unallocated"), -txn.captured);
            assert_eq!(txn.quote_id.is_some(), story.scenario == Scenario::QuoteOtherCurrency);
        }
    }
}

/// What was captured beyond a quote's total is nobody's; of a part only a part is shared.
#[test]
fn usual_payments_pay_their_quotes_exactly_in_part_or_too_much() {
    let mut ways = BTreeSet::new();
    for story in of(&[Scenario::Paid, Scenario::FailedThenPaid]) {
        let txn = &story.truth.txns[0];
        let Some(quote) = story.quotes.first() else {
            assert_eq!(sum(story, "", "unallocated"), -txn.captured);
            continue;
        };
        let beyond = (txn.captured - quote.total).max(0);
        assert_eq!(sum(story, "", "unallocated"), -beyond);
        if txn.captured >= quote.total {
            assert_eq!((txn.fee, txn.tax), (quote.platform_fee, quote.tax));
        }
        ways.insert(txn.captured.cmp(&quote.total));
    }
    assert_eq!(ways.len(), 3);
}

#[test]
fn disputed_money_is_held_lost_or_back() {
    let cases = of(&[
        Scenario::DisputeOpen,
        Scenario::DisputeLost,
        Scenario::DisputeWon,
        Scenario::DisputeLostThenWon,
        Scenario::DisputePrevented,
        Scenario::Inquiry,
        Scenario::InquiryEscalated,
        Scenario::SeveralDisputes,
        Scenario::SepaDebitReturned,
    ]);
    for story in cases {
        let of = |statuses: &[&str]| -> i64 {
            let rows = story.truth.disputes.iter().filter(|row| statuses.contains(&row.status));
            rows.map(|row| row.amount).sum()
        };
        let what = story.scenario;
        assert_eq!(sum(story, "dispute", "dispute_losses"), of(&["lost"]), "{what}");
        let held = of(&["needs_response", "under_review"]);
        assert_eq!(sum(story, "dispute", "dispute_hold"), held, "{what}");
        let taken = of(&["lost", "needs_response", "under_review", "won"]);
        assert_eq!(sum(story, "dispute", "dispute_fees") > 0, taken > 0, "{what}");
        let fees = sum(story, "dispute", "dispute_fees");
        assert_eq!(sum(story, "dispute", "stripe_clearing"), -held - of(&["lost"]) - fees);
        assert_eq!(story.truth.txns[0].refunded, 0, "{what}");
    }
}

#[test]
fn only_the_platforms_payouts_are_in_its_books() {
    let mut negative = 0;
    for story in lifecycles() {
        for row in story.truth.payouts.iter().filter(|row| row.stripe_payout.is_some()) {
            let (bank, transit) =
                (sum(story, "payout", "bank"), sum(story, "payout", "payouts_in_transit"));
            let expected = match (row.account.is_none(), row.status) {
                (true, "paid") => (row.net, 0),
                (true, "in_transit") => (0, row.net),
                _ => (0, 0),
            };
            assert_eq!((bank, transit), expected, "{}", story.scenario);
            negative += i32::from(bank < 0);
        }
    }
    assert!(negative > 0);
    assert!(of(&[Scenario::LegacyTransfer]).all(|story| story.truth.balances.is_empty()));
    assert!(of(&[Scenario::LegacyTransfer]).all(|story| story.shape == Shape::Nested));
}
