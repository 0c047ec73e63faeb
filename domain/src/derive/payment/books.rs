//! What payments, refunds and disputes move in the ledger.
//!
//! Only the platform's own objects move the platform's balance. Of a payment that a connected
//! account owns, the application fee alone is the platform's (`derive::books`).

use super::{Payment, Seen};
use crate::ledger::{Account, Subject, SubjectKind, Target};
use crate::object::dispute::{Dispute, Status};
use crate::object::refund::Refund;
use crate::settings::{Profile, Settings};

/// Where captured money is until somebody has it.
fn income(settings: &Settings) -> Account {
    match settings.profile {
        Profile::Marketplace => Account::Unallocated,
        Profile::Merchant => Account::Revenue,
    }
}

impl Payment<'_> {
    /// What the payment itself moves. Its allocation comes once its quote is known.
    pub(super) fn targets(&self, name: &str, settings: &Settings) -> Vec<Target> {
        let (state, _) = self.speaker();
        let (account, currency) = (&state.key.account, self.currency());
        let is_direct = self.is_direct();
        let as_of = self.as_of();
        let since = self.milestones().captured_at.unwrap_or(as_of);
        let subject = Subject::new(SubjectKind::Capture, account, name);
        let mut capture = Target::begun(subject, since, as_of);
        if !is_direct {
            capture.moves(currency, self.captured(), income(settings), Account::StripeClearing);
        }
        let mut targets = vec![capture];
        for charge in &self.charges {
            let subject = Subject::new(SubjectKind::RefundsUnnamed, account, charge.object.id);
            let mut target = Target::nothing(subject, charge.snapshot.created);
            if !is_direct {
                let amount = self.unnamed_refunds(charge);
                target.moves(currency, amount, Account::StripeClearing, income(settings));
            }
            targets.push(target);
        }
        targets
    }
}

/// A refund of captured money, from the moment that it is there until it fails or is canceled.
pub(super) fn refund(
    refund: &Seen<'_, Refund<'_>>,
    gives_back_captured_money: bool,
    settings: &Settings,
) -> Target {
    let Seen { object, state, snapshot } = refund;
    let subject = Subject::new(SubjectKind::Refund, &state.key.account, object.id);
    let mut target = Target::begun(subject, object.created, snapshot.created);
    if gives_back_captured_money && !object.is_void() && !state.connected {
        let to = income(settings);
        target.moves(&object.currency, object.amount, Account::StripeClearing, to);
    }
    target
}

/// A dispute moves what its balance transactions say and nothing else.
pub(super) fn dispute(dispute: &Seen<'_, Dispute<'_>>) -> Target {
    let Seen { object, state, snapshot } = dispute;
    let subject = Subject::new(SubjectKind::Dispute, &state.key.account, object.id);
    let mut target = Target::begun(subject, object.created, snapshot.created);
    if state.connected {
        return target;
    }
    for movement in &object.movements {
        let currency = &movement.currency;
        let held = movement.amount.saturating_neg();
        target.moves(currency, held, Account::StripeClearing, Account::DisputeHold);
        let fee = movement.fee.unwrap_or(0);
        target.moves(currency, fee, Account::StripeClearing, Account::DisputeFees);
    }
    if object.status == Status::Lost {
        let lost: Vec<(String, i64)> = target
            .balances
            .iter()
            .filter(|(line, sum)| line.account == Account::DisputeHold.as_str() && **sum > 0)
            .map(|(line, sum)| (line.currency.clone(), *sum))
            .collect();
        for (currency, held) in lost {
            target.moves(&currency, held, Account::DisputeHold, Account::DisputeLosses);
        }
    }
    target
}
