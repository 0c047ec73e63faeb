//! Refunds of payments that were captured whole.

use crate::Scenario;
use crate::payment::Payment;
use crate::script::Script;

pub(super) fn play(scenario: Scenario, script: &mut Script<'_>) {
    let currency = super::usual_currency(script);
    let payment = &mut Payment::new(script, currency);
    let amount = payment.amount;
    let part = amount / 3;
    let alone =
        matches!(scenario, Scenario::ChargeOnlyRefunded | Scenario::ChargeOnlyPartlyRefunded);
    if !alone {
        payment.open(false);
    }
    payment.pay();
    match scenario {
        Scenario::ChargeOnlyRefunded => {
            payment.refund(amount, "succeeded");
            payment.is("refunded", amount, amount);
            payment.refund_is(0, "succeeded");
        }
        Scenario::FullyRefunded => {
            payment.refund(part, "succeeded");
            payment.refund(amount - part, "succeeded");
            payment.is("refunded", amount, amount);
            payment.refund_is(0, "succeeded");
            payment.refund_is(1, "succeeded");
        }
        Scenario::RefundFailed => {
            payment.refund(amount, "succeeded");
            payment.settle_refund(0, "failed");
            payment.is("captured", amount, 0);
            payment.refund_is(0, "failed");
        }
        Scenario::RefundSettled => {
            payment.refund(part, "pending");
            payment.settle_refund(0, "succeeded");
            payment.is("captured", amount, part);
            payment.refund_is(0, "succeeded");
        }
        Scenario::RefundPending => {
            payment.refund(part, "pending");
            payment.is("captured", amount, 0);
            payment.refund_is(0, "pending");
        }
        Scenario::RefundCanceled => {
            payment.refund(part, "pending");
            payment.settle_refund(0, "canceled");
            payment.is("captured", amount, 0);
            payment.refund_is(0, "canceled");
        }
        _ => {
            payment.refund(part, "succeeded");
            payment.is("captured", amount, part);
            payment.refund_is(0, "succeeded");
        }
    }
}
