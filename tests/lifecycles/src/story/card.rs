//! Cards: attempts, authorisations and captures.

use crate::Scenario;
use crate::capture::Rest;
use crate::payment::Payment;
use crate::script::Script;

pub(super) fn play(scenario: Scenario, script: &mut Script<'_>) {
    let currency = match scenario {
        Scenario::ZeroDecimal => "jpy",
        Scenario::ThreeDecimal => "kwd",
        _ => super::usual_currency(script),
    };
    let payment = &mut Payment::new(script, currency);
    let amount = payment.amount;
    match scenario {
        Scenario::NeverPaid => {
            payment.open(false);
            payment.is("requires_action", 0, 0);
        }
        Scenario::Canceled => {
            payment.open(false);
            payment.cancel();
            payment.is("canceled", 0, 0);
        }
        Scenario::Failed => {
            payment.open(false);
            payment.decline();
            payment.is("failed", 0, 0);
        }
        Scenario::FailedThenPaid => {
            payment.open(false);
            if payment.script.rng().coin() {
                payment.authentication_fails();
            }
            for _ in 0..payment.script.rng().between(1, 3) {
                payment.decline();
            }
            payment.pay();
            payment.is("captured", amount, 0);
        }
        Scenario::PaidAfterAction => {
            payment.open(false);
            payment.asks_for_action();
            payment.pay();
            payment.is("captured", amount, 0);
        }
        Scenario::ChargeOnly => {
            payment.pay();
            payment.is("captured", amount, 0);
        }
        Scenario::ChargeOnlyExpired => {
            payment.authorise();
            payment.release_all(true);
            payment.is("canceled", 0, 0);
        }
        Scenario::ChargeOnlyFailed => {
            payment.decline();
            payment.is("failed", 0, 0);
        }
        Scenario::ReviewOpen | Scenario::ReviewClosed | Scenario::FraudWarning => {
            payment.open(false);
            payment.pay();
            watched(scenario, payment);
        }
        Scenario::ThreeDecimal => {
            payment.open(false);
            payment.pay();
            let part = amount / 30 * 10;
            payment.refund(part, "succeeded");
            payment.is("captured", amount, part);
            payment.refund_is(0, "succeeded");
        }
        Scenario::Paid | Scenario::ZeroDecimal => {
            payment.open(false);
            payment.pay();
            payment.is("captured", amount, 0);
        }
        _ => authorised(scenario, payment),
    }
}

fn authorised(scenario: Scenario, payment: &mut Payment<'_, '_>) {
    let amount = payment.amount;
    payment.open(true);
    payment.authorise();
    match scenario {
        Scenario::AuthorizedCaptured => {
            payment.capture(amount, Rest::NONE);
            payment.is("captured", amount, 0);
        }
        Scenario::AuthorizedReleased => {
            let expires = payment.script.rng().coin();
            payment.release_all(expires);
            payment.is("canceled", 0, 0);
        }
        Scenario::PartialCapture | Scenario::PartialCaptureRefunded => {
            let captured = payment.script.rng().between(amount / 4, amount - 1);
            let rest = some_rest(payment);
            payment.capture(captured, rest);
            partly_captured(scenario, payment, captured);
        }
        Scenario::MultiCapture => {
            let first = payment.script.rng().between(amount / 5, amount / 3);
            payment.capture_part(first);
            let second = payment.script.rng().between(amount / 5, amount / 3);
            payment.capture_part(second);
            let all = payment.script.rng().coin();
            let (total, rest) = if all {
                (amount, Rest::NONE)
            } else {
                (first + second + amount / 4, some_rest(payment))
            };
            payment.capture(total, rest);
            payment.is("captured", total, 0);
        }
        Scenario::MultiCaptureOpen => {
            let part = payment.script.rng().between(amount / 5, amount / 2);
            payment.capture_part(part);
            payment.is("authorized", part, 0);
        }
        Scenario::IncrementalAuthorization => {
            for _ in 0..payment.script.rng().between(1, 3) {
                payment.increment(amount / 3);
            }
            let grown = payment.amount;
            payment.capture(grown, Rest::NONE);
            payment.is("captured", grown, 0);
        }
        _ => payment.is("authorized", 0, 0),
    }
}

fn some_rest(payment: &mut Payment<'_, '_>) -> Rest {
    Rest { shown: payment.script.rng().coin(), has_refund: payment.script.rng().coin() }
}

fn partly_captured(scenario: Scenario, payment: &mut Payment<'_, '_>, captured: i64) {
    if scenario == Scenario::PartialCapture {
        payment.is("captured", captured, 0);
        return;
    }
    let all = payment.script.rng().coin();
    let refunded = if all { captured } else { captured / 2 };
    let refund = payment.refund(refunded, "succeeded");
    payment.is(if all { "refunded" } else { "captured" }, captured, refunded);
    payment.refund_is(refund, "succeeded");
}

/// Somebody looks at the payment, or a network warns of it; the money does not move by that.
fn watched(scenario: Scenario, payment: &mut Payment<'_, '_>) {
    let amount = payment.amount;
    match scenario {
        Scenario::ReviewOpen => payment.review(),
        Scenario::ReviewClosed => {
            payment.review();
            let is_fraud = payment.script.rng().coin();
            if is_fraud {
                payment.refund(amount, "succeeded");
                payment.close_review("refunded_as_fraud");
                payment.is("refunded", amount, amount);
                payment.refund_is(0, "succeeded");
                return;
            }
            payment.close_review("approved");
        }
        _ => {
            payment.warn();
            if payment.script.rng().coin() {
                payment.refund(amount, "succeeded");
                payment.warning_is_spent();
                payment.is("refunded", amount, amount);
                payment.refund_is(0, "succeeded");
                return;
            }
        }
    }
    payment.is("captured", amount, 0);
}
