//! Bank debits: days go by before anybody knows.

use crate::Scenario;
use crate::dispute::{Dispute, Withdrawal};
use crate::payment::Payment;
use crate::script::Script;

pub(super) fn play(scenario: Scenario, script: &mut Script<'_>) {
    let is_sepa = matches!(
        scenario,
        Scenario::SepaDebitPaid
            | Scenario::SepaDebitProcessing
            | Scenario::SepaDebitFailed
            | Scenario::SepaDebitReturned
    );
    let (method, currency, days) =
        if is_sepa { ("sepa_debit", "eur", (5, 14)) } else { ("us_bank_account", "usd", (1, 4)) };
    let payment = &mut Payment::new(script, currency);
    let amount = payment.amount;
    payment.open(false);
    payment.start_bank_debit(method);
    match scenario {
        Scenario::BankDebitProcessing | Scenario::SepaDebitProcessing => {
            payment.is("processing", 0, 0);
        }
        Scenario::BankDebitFailed | Scenario::SepaDebitFailed => {
            payment.settle_bank_debit(days, false);
            payment.is("failed", 0, 0);
        }
        Scenario::SepaDebitReturned => {
            payment.settle_bank_debit(days, true);
            // No evidence counts against a SEPA return: the dispute is lost as it is made.
            let mut dispute = Dispute::open(payment, amount, "lost", Withdrawal::AtOnce);
            dispute.closed(payment.script);
            dispute.is(payment.script, "lost");
            payment.is("captured", amount, 0);
        }
        _ => {
            payment.settle_bank_debit(days, true);
            payment.is("captured", amount, 0);
        }
    }
}
