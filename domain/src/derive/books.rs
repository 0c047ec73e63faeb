//! What transfers, the platform's payouts and application fees move in the ledger.

use super::{Providers, UNKNOWN, Unreadable, of_kind, unreadable};
use crate::json::Doc;
use crate::ledger::{Account, Subject, SubjectKind, Target};
use crate::object::application_fee::{self, ApplicationFee};
use crate::object::payout::Payout;
use crate::object::transfer::Transfer;
use crate::state::{ObjectState, Snapshot};

pub(super) fn derive(
    aggregate: &[&ObjectState],
    providers: &Providers,
) -> Result<Vec<Target>, Unreadable> {
    let mut targets = Vec::new();
    for (state, snapshot) in of_kind(aggregate, "payout") {
        let payout = Payout::read(Doc(&snapshot.doc)).map_err(unreadable(state))?;
        targets.push(of_payout(&payout, state, snapshot));
    }
    for (state, snapshot) in of_kind(aggregate, "transfer") {
        if let Some(transfer) = Transfer::read(Doc(&snapshot.doc)).map_err(unreadable(state))? {
            targets.push(of_transfer(&transfer, state, snapshot, providers));
        }
    }
    for (state, snapshot) in of_kind(aggregate, application_fee::NAME) {
        let fee = ApplicationFee::read(Doc(&snapshot.doc)).map_err(unreadable(state))?;
        targets.push(of_fee(&fee, state, snapshot, providers));
    }
    Ok(targets)
}

/// A subject that has moved nothing yet.
fn begin(kind: SubjectKind, state: &ObjectState, snapshot: &Snapshot, created: i64) -> Target {
    let subject = Subject::new(kind, &state.key.account, &state.key.id);
    Target::begun(subject, created, snapshot.created)
}

/// The platform's payout leaves Stripe when it is made, and comes back when it fails.
fn of_payout(payout: &Payout<'_>, state: &ObjectState, snapshot: &Snapshot) -> Target {
    let mut target = begin(SubjectKind::Payout, state, snapshot, payout.created);
    let to = match payout.stripe_status {
        _ if state.connected => return target,
        "failed" | "canceled" => return target,
        "paid" => Account::Bank,
        _ => Account::PayoutsInTransit,
    };
    target.moves(&payout.currency, payout.amount, Account::StripeClearing, to);
    target
}

/// A transfer pays a provider what is owed, less what came back.
fn of_transfer(
    transfer: &Transfer<'_>,
    state: &ObjectState,
    snapshot: &Snapshot,
    providers: &Providers,
) -> Target {
    let mut target = begin(SubjectKind::Transfer, state, snapshot, transfer.created);
    if !state.connected {
        let amount = transfer.amount.saturating_sub(transfer.reversed);
        let party = party(providers, Some(transfer.destination));
        target.posts(&transfer.currency, Account::ProviderPayable, party, amount);
        target.posts(&transfer.currency, Account::StripeClearing, "", amount.saturating_neg());
    }
    target
}

/// A fee comes from the connected account's balance. Of a direct charge it is the platform's
/// income; of a destination charge the allocation has booked that already, and the fee settles what
/// the transfer of the whole charge paid too much.
fn of_fee(
    fee: &ApplicationFee<'_>,
    state: &ObjectState,
    snapshot: &Snapshot,
    providers: &Providers,
) -> Target {
    let mut target = begin(SubjectKind::ApplicationFee, state, snapshot, fee.created);
    if state.connected {
        return target;
    }
    target.posts(&fee.currency, Account::StripeClearing, "", fee.net);
    let owed = fee.net.saturating_neg();
    if fee.originating.is_some() {
        let party = party(providers, fee.payer);
        target.posts(&fee.currency, Account::ProviderPayable, party, owed);
    } else {
        target.posts(&fee.currency, Account::PlatformFees, "", owed);
    }
    target
}

fn party<'a>(providers: &'a Providers, account: Option<&str>) -> &'a str {
    account.and_then(|account| providers.get(account)).map_or(UNKNOWN, String::as_str)
}
