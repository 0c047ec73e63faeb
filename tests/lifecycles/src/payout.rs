//! Payouts to banks: of the platform, of its connected accounts, and of old times.

use crate::PayoutRow;
use crate::account::Connected;
use crate::script::Script;
use serde_json::{Value, json};

/// A payout to somebody's bank.
pub(crate) struct Payout {
    id: String,
    created: i64,
    amount: i64,
    status: &'static str,
    reconciliation: &'static str,
    /// `None` for the platform's own.
    owner: Option<Connected>,
}

impl Payout {
    /// A payout of a connected account, or of the platform.
    pub(crate) fn create(script: &mut Script<'_>, owner: Option<Connected>) -> Self {
        let amount = script.rng().between(500, 90_000);
        Self::of(script, owner, amount)
    }

    /// Stripe draws from the platform's bank account, as after many refunds.
    pub(crate) fn draw(script: &mut Script<'_>) -> Self {
        let amount = script.rng().between(500, 90_000);
        Self::of(script, None, -amount)
    }

    fn of(script: &mut Script<'_>, owner: Option<Connected>, amount: i64) -> Self {
        script.request_after((1, 40));
        script.account = owner.as_ref().map(|account| account.id.clone());
        let payout = Self {
            id: script.id("po"),
            created: script.now,
            amount,
            status: "pending",
            reconciliation: "in_progress",
            owner,
        };
        payout.emit(script, "payout.created");
        payout.moves(script, ("payouts_in_transit", "stripe_clearing"));
        payout
    }

    /// The money leaves Stripe.
    pub(crate) fn send(&mut self, script: &mut Script<'_>) {
        script.happens_after_days((0, 1));
        self.status = "in_transit";
        let object = self.json(script);
        script.emit_change("payout.updated", object, json!({"status": "pending"}));
    }

    /// Somebody thinks better of it before the money leaves.
    pub(crate) fn cancel(&mut self, script: &mut Script<'_>) {
        script.request_after((60, 4000));
        self.status = "canceled";
        self.emit(script, "payout.canceled");
        self.moves(script, ("stripe_clearing", "payouts_in_transit"));
    }

    /// The bank has it, as far as Stripe knows.
    pub(crate) fn arrive(&mut self, script: &mut Script<'_>) {
        script.happens_after_days((1, 2));
        self.status = "paid";
        self.emit(script, "payout.paid");
        self.moves(script, ("bank", "payouts_in_transit"));
        if self.owner.is_some() {
            script.fact("payout.released", &[&self.id]);
        }
    }

    /// Stripe has worked out which balance transactions the payout holds.
    pub(crate) fn reconcile(&mut self, script: &mut Script<'_>) {
        script.happens_after_days((0, 0));
        self.reconciliation = "completed";
        self.emit(script, "payout.reconciliation_completed");
    }

    /// The bank sends it back, perhaps after Stripe had called it paid.
    pub(crate) fn bounce(&mut self, script: &mut Script<'_>) {
        script.happens_after_days((1, 4));
        let was_at = if self.status == "paid" { "bank" } else { "payouts_in_transit" };
        self.status = "failed";
        self.emit(script, "payout.failed");
        self.moves(script, ("stripe_clearing", was_at));
        script.fact("payout.failed", &[&self.id]);
    }

    /// States the payout's row.
    pub(crate) fn is(&self, script: &mut Script<'_>, status: &'static str) {
        let provider_id = match &self.owner {
            Some(account) => account.provider().map(str::to_owned),
            None => Some("platform".to_owned()),
        };
        let row = PayoutRow {
            stripe_transfer: None,
            stripe_payout: Some(self.id.clone()),
            account: self.owner.as_ref().map(|account| account.id.clone()),
            provider_id,
            is_named: self.owner.as_ref().is_some_and(|account| account.named.is_some()),
            status,
            net: self.amount,
            currency: "USD".to_owned(),
        };
        script.truth.payouts.push(row);
    }

    fn moves(&self, script: &mut Script<'_>, accounts: (&'static str, &'static str)) {
        script.moves(("payout", &self.id), "usd", self.amount, accounts);
    }

    fn emit(&self, script: &mut Script<'_>, kind: &'static str) {
        let object = self.json(script);
        script.emit(kind, object);
    }

    fn json(&self, script: &Script<'_>) -> Value {
        let failed = self.status == "failed";
        json!({
            "id": self.id,
            "object": "payout",
            "amount": self.amount,
            "arrival_date": (self.created / 86_400 + 2) * 86_400,
            "automatic": true,
            "balance_transaction": "txn_1",
            "created": self.created,
            "currency": "usd",
            "description": "STRIPE PAYOUT",
            "destination": "ba_1",
            "failure_balance_transaction": failed.then_some("txn_2"),
            "failure_code": failed.then_some("account_closed"),
            "failure_message": failed.then_some("The bank account has been closed."),
            "livemode": script.stripe.livemode,
            "metadata": {},
            "method": "standard",
            "original_payout": null,
            "reconciliation_status": self.reconciliation,
            "reversed_by": null,
            "source_type": "card",
            "statement_descriptor": null,
            "status": self.status,
            "type": "bank_account",
        })
    }
}

/// Before 2017-04-06 a payout was a transfer, with a status and a bank account as destination. It
/// is recorded only: no row, no fact, no posting.
pub(crate) fn of_old(script: &mut Script<'_>, arrives: bool) {
    script.request_after((1, 40));
    let (id, bank_account) = (script.id("tr"), script.id("ba"));
    let (created, livemode) = (script.now, script.stripe.livemode);
    let amount = script.rng().between(500, 90_000);
    let transfer = |status: &str| {
        json!({
            "id": id,
            "object": "transfer",
            "amount": amount,
            "amount_reversed": 0,
            "application_fee": null,
            "balance_transaction": "txn_1",
            "created": created,
            "currency": "usd",
            "date": created + 2 * 86_400,
            "description": "STRIPE TRANSFER",
            "destination": bank_account,
            "failure_code": (status == "failed").then_some("account_closed"),
            "failure_message": null,
            "livemode": livemode,
            "metadata": {},
            "recipient": null,
            "reversals": {"object": "list", "data": [], "has_more": false, "total_count": 0,
                "url": format!("/v1/transfers/{id}/reversals")},
            "reversed": false,
            "source_transaction": null,
            "source_type": "card",
            "statement_descriptor": null,
            "status": status,
            "type": "bank_account",
        })
    };
    script.emit_of_old("transfer.created", transfer("pending"));
    script.happens_after_days((1, 3));
    let (kind, status) =
        if arrives { ("transfer.paid", "paid") } else { ("transfer.failed", "failed") };
    script.emit_of_old(kind, transfer(status));
}
