//! How each story goes, and what it must come to.

use crate::Scenario;
use crate::account::{Account, Connected};
use crate::capture::Rest;
use crate::dispute::Dispute;
use crate::payment::Payment;
use crate::payout::Payout;
use crate::script::Script;
use crate::transfer::Transfer;
use serde_json::json;

impl Scenario {
    pub(crate) fn play(self, script: &mut Script<'_>) {
        match self {
            Self::Transfer | Self::TransferPartlyReversed | Self::TransferReversed => {
                self.transfer(script);
            }
            Self::PayoutPaid | Self::PayoutFailed | Self::PayoutPaidThenFailed => {
                let owner = script.pick_account();
                self.payout(script, Some(owner));
            }
            Self::PlatformPayout => self.payout(script, None),
            Self::AccountRestricted | Self::AccountActive | Self::AccountDeauthorized => {
                self.account(script);
            }
            Self::Unmodelled => unmodelled(script),
            _ => self.payment(script),
        }
    }

    fn payment(self, script: &mut Script<'_>) {
        let currency = match self {
            Self::ZeroDecimal => "jpy",
            Self::BankDebitPaid | Self::BankDebitProcessing | Self::BankDebitFailed => "usd",
            _ => script.rng().pick(&["usd", "usd", "eur", "gbp"]),
        };
        let mut payment = Payment::new(script, currency);
        let amount = payment.amount;
        match self {
            Self::NeverPaid => {
                payment.open(false);
                payment.is("requires_action", 0, 0);
            }
            Self::Canceled => {
                payment.open(false);
                payment.cancel();
                payment.is("canceled", 0, 0);
            }
            Self::Failed => {
                payment.open(false);
                payment.decline();
                payment.is("failed", 0, 0);
            }
            Self::FailedThenPaid => {
                payment.open(false);
                if payment.script.rng().coin() {
                    payment.authentication_fails();
                }
                payment.decline();
                payment.pay();
                payment.is("captured", amount, 0);
            }
            Self::PaidAfterAction => {
                payment.open(false);
                payment.asks_for_action();
                payment.pay();
                payment.is("captured", amount, 0);
            }
            Self::ChargeOnly => {
                payment.pay();
                payment.is("captured", amount, 0);
            }
            Self::ChargeOnlyRefunded => {
                payment.pay();
                payment.refund(amount, "succeeded");
                payment.is("refunded", amount, amount);
                payment.refund_is(0, "succeeded");
            }
            Self::ChargeOnlyExpired => {
                payment.authorise();
                payment.release_all(true);
                payment.is("canceled", 0, 0);
            }
            Self::ChargeOnlyFailed => {
                payment.decline();
                payment.is("failed", 0, 0);
            }
            Self::BankDebitPaid | Self::BankDebitProcessing | Self::BankDebitFailed => {
                self.bank_debit(&mut payment);
            }
            Self::Authorized | Self::AuthorizedCaptured | Self::AuthorizedReleased => {
                self.authorised(&mut payment);
            }
            Self::PartialCapture | Self::PartialCaptureRefunded => {
                self.partly_captured(&mut payment);
            }
            _ => {
                payment.open(false);
                payment.pay();
                self.after_payment(&mut payment);
            }
        }
    }

    fn bank_debit(self, payment: &mut Payment<'_, '_>) {
        payment.open(false);
        payment.start_bank_debit("us_bank_account");
        match self {
            Self::BankDebitPaid => {
                payment.settle_bank_debit((1, 4), true);
                payment.is("captured", payment.amount, 0);
            }
            Self::BankDebitFailed => {
                payment.settle_bank_debit((1, 4), false);
                payment.is("failed", 0, 0);
            }
            _ => payment.is("processing", 0, 0),
        }
    }

    fn authorised(self, payment: &mut Payment<'_, '_>) {
        payment.open(true);
        payment.authorise();
        match self {
            Self::AuthorizedCaptured => {
                payment.capture(payment.amount, Rest::NONE);
                payment.is("captured", payment.amount, 0);
            }
            Self::AuthorizedReleased => {
                let expires = payment.script.rng().coin();
                payment.release_all(expires);
                payment.is("canceled", 0, 0);
            }
            _ => payment.is("authorized", 0, 0),
        }
    }

    fn partly_captured(self, payment: &mut Payment<'_, '_>) {
        payment.open(true);
        payment.authorise();
        let captured = payment.script.rng().between(payment.amount / 4, payment.amount - 1);
        let rest =
            Rest { shown: payment.script.rng().coin(), has_refund: payment.script.rng().coin() };
        payment.capture(captured, rest);
        if self == Self::PartialCapture {
            payment.is("captured", captured, 0);
            return;
        }
        let all = payment.script.rng().coin();
        let refunded = if all { captured } else { captured / 2 };
        let refund = payment.refund(refunded, "succeeded");
        payment.is(if all { "refunded" } else { "captured" }, captured, refunded);
        payment.refund_is(refund, "succeeded");
    }

    /// What happens to a payment that was captured whole.
    fn after_payment(self, payment: &mut Payment<'_, '_>) {
        let amount = payment.amount;
        let part = amount / 3;
        match self {
            Self::PartlyRefunded => {
                payment.refund(part, "succeeded");
                payment.is("captured", amount, part);
                payment.refund_is(0, "succeeded");
            }
            Self::FullyRefunded => {
                payment.refund(part, "succeeded");
                payment.refund(amount - part, "succeeded");
                payment.is("refunded", amount, amount);
                payment.refund_is(0, "succeeded");
                payment.refund_is(1, "succeeded");
            }
            Self::RefundFailed => {
                payment.refund(amount, "succeeded");
                payment.settle_refund(0, "failed");
                payment.is("captured", amount, 0);
                payment.refund_is(0, "failed");
            }
            Self::RefundSettled => {
                payment.refund(part, "pending");
                payment.settle_refund(0, "succeeded");
                payment.is("captured", amount, part);
                payment.refund_is(0, "succeeded");
            }
            Self::RefundPending => {
                payment.refund(part, "pending");
                payment.is("captured", amount, 0);
                payment.refund_is(0, "pending");
            }
            Self::RefundCanceled => {
                payment.refund(part, "pending");
                payment.settle_refund(0, "canceled");
                payment.is("captured", amount, 0);
                payment.refund_is(0, "canceled");
            }
            Self::DisputeOpen => {
                let dispute = Dispute::of_all(payment);
                dispute.is(payment.script, "needs_response");
                payment.is("captured", amount, 0);
            }
            Self::DisputeLost | Self::DisputeWon => {
                let mut dispute = Dispute::of_all(payment);
                dispute.answer(payment.script);
                let won = self == Self::DisputeWon;
                let status = if won { "won" } else { "lost" };
                dispute.close(payment.script, status);
                dispute.is(payment.script, status);
                payment.is("captured", amount, 0);
            }
            Self::Inquiry => {
                let mut inquiry = Dispute::inquiry(payment);
                inquiry.answer(payment.script);
                inquiry.close(payment.script, "warning_closed");
                inquiry.is(payment.script, "warning_closed");
                payment.is("captured", amount, 0);
            }
            _ => payment.is("captured", amount, 0),
        }
    }

    fn transfer(self, script: &mut Script<'_>) {
        let mut transfer = Transfer::create(script);
        if self != Self::Transfer {
            transfer.reverse(script, transfer.half());
        }
        if self == Self::TransferReversed {
            transfer.reverse(script, transfer.net());
        }
        transfer.is(script);
    }

    fn payout(self, script: &mut Script<'_>, owner: Option<Connected>) {
        let mut payout = Payout::create(script, owner);
        payout.send(script);
        if self != Self::PayoutFailed {
            payout.arrive(script);
        }
        let bounces = matches!(self, Self::PayoutFailed | Self::PayoutPaidThenFailed);
        if bounces {
            payout.bounce(script);
        }
        payout.is(script, if bounces { "failed" } else { "paid" });
    }

    fn account(self, script: &mut Script<'_>) {
        let mut account = Account::begin(script);
        account.activate(script);
        match self {
            Self::AccountRestricted => {
                account.restrict(script);
                account.is(script, "restricted");
            }
            Self::AccountDeauthorized => {
                account.deauthorise(script);
                account.is(script, "restricted");
            }
            _ => account.is(script, "active"),
        }
    }
}

/// Events whose objects have no rows, one of them without an id.
fn unmodelled(script: &mut Script<'_>) {
    script.request_after((1, 40));
    let (customer, invoice) = (script.id("cus"), script.id("in"));
    script.emit("customer.created", json!({"id": customer, "object": "customer", "metadata": {}}));
    script.emit(
        "invoice.paid",
        json!({"id": invoice, "object": "invoice", "customer": customer, "status": "paid"}),
    );
    script.emit(
        "balance.available",
        json!({"object": "balance", "available": [{"amount": 0, "currency": "usd"}]}),
    );
}
