//! Disputes of card payments. They never change the payment's own status.

use crate::Scenario;
use crate::dispute::{Dispute, Withdrawal};
use crate::payment::Payment;
use crate::script::Script;

pub(super) fn play(scenario: Scenario, script: &mut Script<'_>) {
    let currency = super::usual_currency(script);
    let payment = &mut Payment::new(script, currency);
    payment.open(false);
    payment.pay();
    let amount = payment.amount;
    disputed(scenario, payment);
    payment.is("captured", amount, 0);
}

fn disputed(scenario: Scenario, payment: &mut Payment<'_, '_>) {
    let amount = payment.amount;
    match scenario {
        Scenario::DisputeWithdrawnAtOnce => {
            let dispute = Dispute::open(payment, amount, "needs_response", Withdrawal::AtOnce);
            dispute.is(payment.script, "needs_response");
        }
        Scenario::DisputeWithdrawnLater => {
            let dispute = Dispute::open(payment, amount, "needs_response", Withdrawal::Later);
            dispute.is(payment.script, "needs_response");
        }
        Scenario::DisputeLost | Scenario::DisputeWon => {
            let status = if scenario == Scenario::DisputeWon { "won" } else { "lost" };
            let mut dispute = Dispute::of_all(payment);
            dispute.answer(payment.script);
            dispute.close(payment.script, status);
            dispute.is(payment.script, status);
        }
        Scenario::DisputeLostThenWon => {
            let mut dispute = Dispute::of_all(payment);
            dispute.answer(payment.script);
            dispute.close(payment.script, "lost");
            dispute.turn_to_won(payment.script);
            dispute.is(payment.script, "won");
        }
        Scenario::DisputePrevented => {
            let mut dispute = Dispute::open(payment, amount, "prevented", Withdrawal::Never);
            dispute.closed(payment.script);
            dispute.is(payment.script, "prevented");
        }
        Scenario::SeveralDisputes => {
            let part = amount / 3;
            let mut first = Dispute::open(payment, part, "needs_response", Withdrawal::Later);
            let mut second =
                Dispute::open(payment, amount - part, "needs_response", Withdrawal::AtOnce);
            first.close(payment.script, "lost");
            second.answer(payment.script);
            first.is(payment.script, "lost");
            second.is(payment.script, "under_review");
        }
        Scenario::Inquiry => {
            let mut inquiry = Dispute::inquiry(payment);
            inquiry.answer(payment.script);
            inquiry.close(payment.script, "warning_closed");
            inquiry.is(payment.script, "warning_closed");
        }
        Scenario::InquiryEscalated => {
            let mut inquiry = Dispute::inquiry(payment);
            inquiry.escalate(payment.script);
            let lost = payment.script.rng().coin();
            if lost {
                inquiry.answer(payment.script);
                inquiry.close(payment.script, "lost");
            }
            inquiry.is(payment.script, if lost { "lost" } else { "needs_response" });
        }
        _ => {
            let dispute = Dispute::of_all(payment);
            dispute.is(payment.script, "needs_response");
        }
    }
}
