//! Connect: accounts, transfers, and the three ways to charge for somebody else.

use crate::Scenario;
use crate::account::{Account, Connected};
use crate::books::portion;
use crate::dispute::{Dispute, Withdrawal};
use crate::fee::ApplicationFee;
use crate::payment::{Payment, SOON, usual_amount};
use crate::quote::Links;
use crate::script::Script;
use crate::settle::Destination;
use crate::transfer::{Handed, Transfer};

pub(super) fn play(scenario: Scenario, script: &mut Script<'_>) {
    match scenario {
        Scenario::Transfer | Scenario::TransferPartlyReversed | Scenario::TransferReversed => {
            transfer(scenario, script);
        }
        Scenario::AccountRestricted
        | Scenario::AccountActive
        | Scenario::AccountDeauthorized
        | Scenario::AccountReauthorized => account(scenario, script),
        Scenario::SeparateTransfer => separate(script),
        Scenario::DirectCharge
        | Scenario::DirectChargeRefunded
        | Scenario::DirectChargeDisputed => direct(scenario, script),
        _ => destination(scenario, script),
    }
}

fn transfer(scenario: Scenario, script: &mut Script<'_>) {
    let mut transfer = Transfer::create(script);
    if scenario != Scenario::Transfer {
        transfer.reverse(script, transfer.half());
    }
    if scenario == Scenario::TransferReversed {
        transfer.reverse(script, transfer.net());
    }
    transfer.is(script);
}

fn account(scenario: Scenario, script: &mut Script<'_>) {
    let mut account = Account::begin(script);
    account.activate(script);
    match scenario {
        Scenario::AccountRestricted => {
            account.restrict(script);
            account.is(script, "restricted");
        }
        Scenario::AccountDeauthorized => {
            account.deauthorise(script);
            account.is(script, "restricted");
        }
        Scenario::AccountReauthorized => {
            account.deauthorise(script);
            account.authorise(script);
            account.is(script, "active");
        }
        _ => account.is(script, "active"),
    }
}

/// An account that is there already, or one that signs up first.
fn some_account(script: &mut Script<'_>) -> Connected {
    if script.rng().chance(0.3) { script.pick_account() } else { Connected::new(script) }
}

/// The platform charges, and hands a part on when it likes.
fn separate(script: &mut Script<'_>) {
    let account = some_account(script);
    let payment = &mut Payment::new(script, "usd");
    let group = payment.script.id("group");
    payment.common.connect.transfer_group = Some(group.clone());
    payment.open(false);
    payment.pay();
    let (amount, charge) = (payment.amount, payment.charge().id.clone());
    payment.is("captured", amount, 0);
    script.request_after((60, 90_000));
    let handed = Handed { charge, transfer: script.id("tr"), group: Some(group) };
    Transfer::of(script, account, "usd", amount * 4 / 5, Some(handed)).is(script);
}

/// The platform charges for a connected account: the transfer, and the fee that comes back from
/// it, go with the charge.
fn destination(scenario: Scenario, script: &mut Script<'_>) {
    let account = some_account(script);
    let payment = &mut Payment::new(script, "usd");
    let amount = payment.amount;
    let fee_amount = match scenario {
        Scenario::DestinationChargeWhole | Scenario::DestinationChargeAmount => None,
        _ => Some(payment.script.rng().between(1, amount / 3)),
    };
    let is_partial = scenario == Scenario::DestinationChargeAmount;
    let transfer_amount = is_partial.then(|| payment.script.rng().between(amount / 2, amount - 1));
    let is_old = payment.script.shape.nests() && !is_partial && payment.script.rng().coin();
    let (transfer, fee_id) = (payment.script.id("tr"), payment.script.id("fee"));
    let connect = &mut payment.common.connect;
    connect.destination = Some(account.id.clone());
    connect.is_old_destination = is_old;
    connect.transfer_amount = transfer_amount;
    connect.transfer = Some(transfer.clone());
    connect.transfer_group = Some(format!("group_{transfer}"));
    connect.fee_amount = fee_amount;
    connect.fee = fee_amount.map(|_| fee_id.clone());
    payment.destination = Some(Destination {
        account: account.id.clone(),
        provider: account.provider().map(str::to_owned),
        transfer_amount,
        fee_amount,
    });
    if !is_old {
        payment.open(false);
    }
    payment.pay();

    let charge = payment.charge().id.clone();
    let group = payment.common.connect.transfer_group.clone();
    let handed = Handed { charge: charge.clone(), transfer, group };
    let moved = transfer_amount.unwrap_or(amount);
    let script = &mut *payment.script;
    let mut transfer = Transfer::of(script, account.clone(), "usd", moved, Some(handed));
    let mut fee = fee_amount.map(|fee_amount| {
        let charges = (transfer.far_side.id.clone(), Some(charge));
        ApplicationFee::take(script, fee_id, &account, charges, ("usd", fee_amount))
    });

    if scenario == Scenario::DestinationChargeRefunded {
        let all = payment.script.rng().coin();
        let refunded = if all { amount } else { amount / 3 };
        give_back(payment, refunded, &mut transfer, fee.as_mut());
        payment.application_fee = fee.map(|fee| fee.net());
        payment.is(if all { "refunded" } else { "captured" }, amount, refunded);
        payment.refund_is(0, "succeeded");
    } else {
        payment.application_fee = fee.map(|fee| fee.net());
        payment.is("captured", amount, 0);
    }
    transfer.is(payment.script);
}

/// A refund may take back transfer (`reverse_transfer`) and fee (`refund_application_fee`) with it,
/// each in proportion.
fn give_back(
    payment: &mut Payment<'_, '_>,
    refunded: i64,
    transfer: &mut Transfer,
    fee: Option<&mut ApplicationFee>,
) {
    let amount = payment.amount;
    let script = &mut *payment.script;
    script.request_after((60, 90_000));
    let reversal = script.rng().coin().then(|| {
        let part = portion(transfer.net(), refunded, amount);
        transfer.reverse_now(script, part)
    });
    payment.refund_now(refunded, "succeeded", reversal);
    if let Some(fee) = fee
        && payment.script.rng().coin()
    {
        let part = portion(fee.net(), refunded, amount);
        fee.refund(payment.script, part);
    }
}

/// The connected account charges for itself, and the platform takes a fee.
fn direct(scenario: Scenario, script: &mut Script<'_>) {
    let account = some_account(script);
    let amount = usual_amount(script, "usd");
    let fee_amount = script.rng().between(2, amount / 4);
    let fee_id = script.id("fee");
    let links = Links {
        quote: None,
        order: script.rng().coin().then(|| script.id("ord")),
        provider: script.rng().coin().then(|| script.id("usr")),
    };
    script.account = Some(account.id.clone());
    let payment = &mut Payment::of(script, "usd", amount, links);
    payment.common.connect.application = Some("ca_1");
    payment.common.connect.fee_amount = Some(fee_amount);
    payment.common.connect.fee = Some(fee_id.clone());
    payment.open(false);
    payment.pay();
    let charge = (payment.charge().id.clone(), None);
    let mut fee =
        ApplicationFee::take(payment.script, fee_id, &account, charge, ("usd", fee_amount));
    match scenario {
        Scenario::DirectChargeRefunded => {
            payment.refund(amount / 2, "succeeded");
            payment.script.request_after(SOON);
            fee.refund(payment.script, fee_amount / 2);
            payment.application_fee = Some(fee.net());
            payment.is("captured", amount, amount / 2);
            payment.refund_is(0, "succeeded");
        }
        Scenario::DirectChargeDisputed => {
            let dispute = Dispute::open(payment, amount, "needs_response", Withdrawal::Later);
            dispute.is(payment.script, "needs_response");
            payment.application_fee = Some(fee.net());
            payment.is("captured", amount, 0);
        }
        _ => {
            payment.application_fee = Some(fee.net());
            payment.is("captured", amount, 0);
        }
    }
}
