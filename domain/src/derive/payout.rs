//! Transfers to connected accounts, and payouts.

use super::{Providers, UNKNOWN, Unreadable, of_kind, unreadable};
use crate::id;
use crate::json::Doc;
use crate::object::payout::Payout;
use crate::object::transfer::Transfer;
use crate::row;
use crate::state::ObjectState;

/// Provider of the platform's own payouts.
const PLATFORM: &str = "platform";
pub(super) fn derive(
    aggregate: &[&ObjectState],
    providers: &Providers,
) -> Result<Vec<row::Payout>, Unreadable> {
    let mut rows = Vec::new();
    for (state, snapshot) in of_kind(aggregate, "payout") {
        let payout = Payout::read(Doc(&snapshot.doc)).map_err(unreadable(state))?;
        rows.push(payout_row(&payout, state, snapshot.livemode, providers));
    }
    for (state, snapshot) in of_kind(aggregate, "transfer") {
        if let Some(transfer) = Transfer::read(Doc(&snapshot.doc)).map_err(unreadable(state))? {
            rows.push(transfer_row(&transfer, state, snapshot.livemode, providers));
        }
    }
    Ok(rows)
}

fn payout_row(
    payout: &Payout<'_>,
    state: &ObjectState,
    livemode: bool,
    providers: &Providers,
) -> row::Payout {
    let account = &state.key.account;
    let provider =
        if state.connected { providers.get(account).map(String::as_str) } else { Some(PLATFORM) };
    let status = match payout.stripe_status {
        _ if provider.is_none() => "needs_review",
        "pending" => "scheduled",
        "in_transit" => "in_transit",
        "paid" => "paid",
        "failed" => "failed",
        "canceled" => "canceled",
        _ => "needs_review",
    };
    row::Payout {
        payout_id: id::payout_id(account, payout.id),
        account: account.clone(),
        livemode,
        destination_account: state.connected.then(|| account.clone()),
        provider_id: provider.unwrap_or(UNKNOWN).to_owned(),
        stripe_transfer: None,
        stripe_payout: Some(payout.id.to_owned()),
        currency: payout.currency.clone(),
        gross_cents: payout.amount,
        fee_cents: 0,
        net_cents: payout.amount,
        status,
        stripe_status: Some(payout.stripe_status.to_owned()),
        scheduled_on: payout.arrival,
        created_at: payout.created,
    }
}

fn transfer_row(
    transfer: &Transfer<'_>,
    state: &ObjectState,
    livemode: bool,
    providers: &Providers,
) -> row::Payout {
    let provider = providers.get(transfer.destination);
    let is_reversed = transfer.reversed > 0 && transfer.reversed >= transfer.amount;
    let status = match provider {
        None => "needs_review",
        Some(_) if is_reversed => "canceled",
        Some(_) => "in_transit",
    };
    row::Payout {
        payout_id: id::payout_id(&state.key.account, transfer.id),
        account: state.key.account.clone(),
        livemode,
        destination_account: Some(transfer.destination.to_owned()),
        provider_id: provider.map_or(UNKNOWN, String::as_str).to_owned(),
        stripe_transfer: Some(transfer.id.to_owned()),
        stripe_payout: None,
        currency: transfer.currency.clone(),
        gross_cents: transfer.amount,
        fee_cents: 0,
        net_cents: transfer.amount.saturating_sub(transfer.reversed),
        status,
        stripe_status: None,
        scheduled_on: transfer.created,
        created_at: transfer.created,
    }
}
