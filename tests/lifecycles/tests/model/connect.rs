//! Money for connected accounts: which side speaks, and who is owed what.

use super::{object, of, told};
use lifecycles::{Lifecycle, Scenario, Shape};
use std::collections::{BTreeMap, BTreeSet};

/// The sum of each party that money is owed to.
fn owed(story: &Lifecycle) -> BTreeMap<&str, i64> {
    let mut owed = BTreeMap::new();
    for (of, amount) in &story.truth.balances {
        if of.account == "provider_payable" {
            *owed.entry(of.party.as_str()).or_insert(0) += amount;
        }
    }
    owed
}

const DESTINATION: [Scenario; 4] = [
    Scenario::DestinationCharge,
    Scenario::DestinationChargeWhole,
    Scenario::DestinationChargeAmount,
    Scenario::DestinationChargeRefunded,
];

/// The allocation owes the provider what transfer and fee have paid already.
#[test]
fn a_destination_charge_leaves_nothing_owed() {
    let mut settled = 0;
    for story in of(&DESTINATION[..3]) {
        let txn = &story.truth.txns[0];
        let transfer = &story.truth.payouts[0];
        assert_eq!(txn.destination_account, transfer.account);
        // By quote, or named by its metadata, somebody else is owed.
        let is_plain = story.quotes.is_empty() && txn.provider_id == transfer.provider_id;
        if is_plain {
            assert!(owed(story).values().all(|amount| *amount == 0), "{:?}", owed(story));
            settled += 1;
        }
        if story.scenario == Scenario::DestinationChargeAmount {
            assert!(transfer.net < txn.amount);
        } else {
            assert_eq!(transfer.net, txn.amount);
        }
    }
    assert!(settled > 10);
}

#[test]
fn a_destination_is_known_by_link_by_metadata_or_not_at_all() {
    let mut ways = BTreeSet::new();
    for story in of(&DESTINATION) {
        let transfer = &story.truth.payouts[0];
        let account = transfer.account.as_ref().unwrap();
        let linked = story.providers.iter().find(|(_, linked)| linked == account);
        let named = story.truth.accounts.iter().find(|row| row.stripe_acct == *account);
        let named = named.and_then(|row| row.provider_id.as_ref());
        assert_eq!(transfer.provider_id.as_ref(), linked.map(|(user, _)| user).or(named));
        assert_eq!(transfer.is_named, named.is_some());
        let is_known = transfer.provider_id.is_some();
        assert_eq!(transfer.status_at_last() == "needs_review", !is_known);
        assert_eq!(transfer.status_when(false) == "needs_review", named.is_none());
        let party = transfer.provider_id.as_deref().unwrap_or("unknown");
        let paid = story.truth.balances.keys().filter(|of| of.kind == "transfer");
        let parties: Vec<_> =
            paid.map(|of| of.party.as_str()).filter(|it| !it.is_empty()).collect();
        assert_eq!(parties, if transfer.net > 0 { vec![party] } else { vec![] });
        ways.insert((linked.is_some(), named.is_some()));
    }
    assert_eq!(ways.len(), 4);
}

#[test]
fn the_far_side_of_a_transfer_is_no_payment() {
    let mut far = 0;
    for story in of(&DESTINATION) {
        for event in story.events.iter().filter(|event| !object(event)["source_transfer"].is_null())
        {
            assert!(event.account.is_some());
            let charge = object(event)["id"].as_str().unwrap();
            assert!(charge.starts_with("py_"));
            assert!(story.truth.txns.iter().all(|txn| txn.stripe_ch.as_deref() != Some(charge)));
            assert!(!story.truth.facts.iter().any(|fact| fact.subject.contains(charge)));
            far += 1;
        }
    }
    assert!(far > 10);
}

#[test]
fn an_application_fee_is_the_platforms_and_the_charge_is_not() {
    let direct =
        [Scenario::DirectCharge, Scenario::DirectChargeRefunded, Scenario::DirectChargeDisputed];
    for story in of(&direct) {
        let txn = &story.truth.txns[0];
        let fee = told(story, "application_fee.created")[0];
        assert_eq!(fee["account"].as_str(), txn.account.as_deref());
        assert_eq!(fee["charge"].as_str(), txn.stripe_ch.as_deref());
        assert!(fee["originating_transaction"].is_null());
        for event in &story.events {
            let is_platform = event.kind.starts_with("application_fee.");
            assert_eq!(event.account.is_none(), is_platform, "{}", event.kind);
        }
        assert!(story.truth.balances.keys().all(|of| of.kind == "application_fee"));
        let refunded = told(story, "application_fee.refunded");
        let back = refunded.last().map_or(0, |fee| fee["amount_refunded"].as_i64().unwrap());
        assert_eq!(back > 0, story.scenario == Scenario::DirectChargeRefunded);
        assert_eq!(txn.fee, fee["amount"].as_i64().unwrap() - back);
        let earned: Vec<_> =
            story.truth.balances.iter().map(|(of, it)| (of.account, *it)).collect();
        assert_eq!(earned, [("platform_fees", -txn.fee), ("stripe_clearing", txn.fee)]);
    }
    for story in of(&[Scenario::DestinationCharge]) {
        let (txn, fee) = (&story.truth.txns[0], told(story, "application_fee.created")[0]);
        assert_eq!(fee["originating_transaction"].as_str(), txn.stripe_ch.as_deref());
        assert_ne!(fee["charge"], fee["originating_transaction"]);
        assert_eq!(Some(txn.fee), fee["amount"].as_i64());
    }
}

/// Refunds may or may not take transfer and fee with them; fee refunds speak twice or once.
#[test]
fn a_destination_refund_takes_back_what_it_says() {
    let mut ways = BTreeSet::new();
    let mut old = 0;
    for story in of(&[Scenario::DestinationChargeRefunded]) {
        let (txn, transfer) = (&story.truth.txns[0], &story.truth.payouts[0]);
        let (reversed, fee_back) = (
            !told(story, "transfer.reversed").is_empty(),
            !told(story, "application_fee.refunded").is_empty(),
        );
        assert_eq!(transfer.net, if reversed { txn.amount - txn.refunded } else { txn.amount });
        let fee = told(story, "application_fee.created")[0]["amount"].as_i64().unwrap();
        assert_eq!(txn.fee < fee, fee_back);
        if txn.status == "refunded" && reversed && fee_back {
            // All is as if nothing had been.
            assert!(owed(story).values().all(|amount| *amount == 0));
            assert_eq!((txn.fee, transfer.status), (0, "canceled"));
        }
        let charge = told(story, "charge.succeeded")[0];
        if charge["destination"].is_string() && charge["transfer_data"].is_null() {
            assert_eq!((story.shape, txn.stripe_pi.is_none()), (Shape::Nested, true));
            old += 1;
        }
        ways.insert((reversed, fee_back));
    }
    assert_eq!(ways.len(), 4);
    assert!(old > 0);
}
