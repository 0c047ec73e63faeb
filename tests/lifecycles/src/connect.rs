//! Connected accounts: transfers to them, their payouts, and their own state.

use crate::object::{Charge, Common, Refund, Shape, list};
use crate::script::Script;
use crate::{AccountRow, PayoutRow};
use serde_json::{Value, json};

/// A transfer from the platform to a connected account.
pub(crate) struct Transfer {
    id: String,
    created: i64,
    amount: i64,
    reversals: Vec<(String, i64, i64)>,
    account: String,
    common: Common,
    /// What the connected account sees: a charge from nowhere.
    far_side: Charge,
}

impl Transfer {
    /// Money goes to a connected account; both sides tell of it.
    pub(crate) fn create(script: &mut Script<'_>) -> Self {
        script.request_after((1, 40));
        let amount = script.rng().between(500, 40_000);
        let id = script.id("tr");
        let far_side = Charge {
            id: script.id("py"),
            intent: None,
            created: script.now,
            amount,
            amount_captured: amount,
            captured: true,
            status: "succeeded",
            balance_transaction: Some(script.id("txn")),
            source_transfer: Some(id.clone()),
            refunds: Vec::new(),
            released: 0,
        };
        let livemode = script.stripe.livemode;
        let common = Common { currency: "usd", livemode, method: "card", metadata: json!({}) };
        let account = script.stripe.pick_account();
        let created = script.now;
        let transfer =
            Self { id, created, amount, reversals: Vec::new(), account, common, far_side };
        script.emit("transfer.created", transfer.json());
        script.fact("transfer.created", &[&transfer.id]);
        // Stripe has called this event `payment.created` as well.
        let kind = if script.rng().coin() { "charge.succeeded" } else { "payment.created" };
        transfer.emit_far_side(script, kind);
        transfer
    }

    /// All or part of it comes back.
    pub(crate) fn reverse(&mut self, script: &mut Script<'_>, amount: i64) {
        script.request_after((60, 90_000));
        let before = json!({"amount_reversed": self.reversed()});
        let reversal = script.id("trr");
        self.far_side.refunds.push(Refund {
            id: script.id("pyr"),
            charge: self.far_side.id.clone(),
            intent: None,
            created: script.now,
            amount,
            status: "succeeded",
            balance_transaction: Some(script.id("txn")),
            source_transfer_reversal: Some(reversal.clone()),
            is_release: false,
        });
        self.reversals.push((reversal, amount, script.now));
        script.emit_change("transfer.reversed", self.json(), before);
        script.fact("transfer.reversed", &[&self.id, &self.reversed().to_string()]);
        self.emit_far_side(script, "charge.refunded");
    }

    /// Half of the amount.
    pub(crate) fn half(&self) -> i64 {
        self.amount / 2
    }

    /// What is not reversed yet.
    pub(crate) fn net(&self) -> i64 {
        self.amount - self.reversed()
    }

    fn reversed(&self) -> i64 {
        self.reversals.iter().map(|(_, amount, _)| amount).sum()
    }

    /// States the transfer's row.
    pub(crate) fn is(&self, script: &mut Script<'_>, status: &'static str) {
        script.truth.payouts.push(PayoutRow {
            stripe_transfer: Some(self.id.clone()),
            stripe_payout: None,
            account: Some(self.account.clone()),
            status,
            net: self.net(),
            currency: self.common.currency.to_uppercase(),
        });
    }

    fn emit_far_side(&self, script: &mut Script<'_>, kind: &'static str) {
        script.account = Some(self.account.clone());
        let object = self.far_side.json(script.shape, &self.common);
        script.emit(kind, object);
        if let Some(refund) = self.far_side.refunds.last()
            && script.shape == Shape::Flat
        {
            let object = refund.json(script.shape, &self.common);
            script.emit("refund.created", object);
        }
        script.account = None;
    }

    fn json(&self) -> Value {
        let reversals = self.reversals.iter().map(|(id, amount, created)| {
            json!({
                "id": id,
                "object": "transfer_reversal",
                "amount": amount,
                "created": created,
                "currency": self.common.currency,
                "metadata": {},
                "transfer": self.id,
            })
        });
        let url = format!("/v1/transfers/{}/reversals", self.id);
        json!({
            "id": self.id,
            "object": "transfer",
            "amount": self.amount,
            "amount_reversed": self.reversed(),
            "balance_transaction": null,
            "created": self.created,
            "currency": self.common.currency,
            "description": null,
            "destination": self.account,
            "destination_payment": self.far_side.id,
            "livemode": self.common.livemode,
            "metadata": {},
            "reversals": list(reversals.collect(), &url),
            "reversed": self.net() == 0,
            "source_transaction": null,
            "source_type": "card",
            "transfer_group": null,
        })
    }
}

/// A payout to somebody's bank.
pub(crate) struct Payout {
    id: String,
    created: i64,
    amount: i64,
    status: &'static str,
    reconciliation: &'static str,
}

impl Payout {
    /// A payout of the connected account that the script is about, or of the platform.
    pub(crate) fn create(script: &mut Script<'_>) -> Self {
        script.request_after((1, 40));
        let payout = Self {
            id: script.id("po"),
            created: script.now,
            amount: script.rng().between(500, 90_000),
            status: "pending",
            reconciliation: "in_progress",
        };
        payout.emit(script, "payout.created");
        payout
    }

    /// The money leaves Stripe.
    pub(crate) fn send(&mut self, script: &mut Script<'_>) {
        script.happens_after_days((0, 1));
        self.status = "in_transit";
        let object = self.json(script);
        script.emit_change("payout.updated", object, json!({"status": "pending"}));
    }

    /// The bank has it, as far as Stripe knows.
    pub(crate) fn arrive(&mut self, script: &mut Script<'_>) {
        script.happens_after_days((1, 2));
        self.status = "paid";
        self.emit(script, "payout.paid");
        if script.account.is_some() {
            script.fact("payout.released", &[&self.id]);
        }
        if script.rng().coin() {
            script.happens_after_days((0, 0));
            self.reconciliation = "completed";
            self.emit(script, "payout.reconciliation_completed");
        }
    }

    /// The bank sends it back, perhaps after Stripe had called it paid.
    pub(crate) fn bounce(&mut self, script: &mut Script<'_>) {
        script.happens_after_days((1, 4));
        self.status = "failed";
        self.emit(script, "payout.failed");
        script.fact("payout.failed", &[&self.id]);
    }

    /// States the payout's row.
    pub(crate) fn is(&self, script: &mut Script<'_>, status: &'static str) {
        let row = PayoutRow {
            stripe_transfer: None,
            stripe_payout: Some(self.id.clone()),
            account: script.account.clone(),
            status,
            net: self.amount,
            currency: "USD".to_owned(),
        };
        script.truth.payouts.push(row);
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

/// A connected account from its beginning.
pub(crate) struct Account {
    id: String,
    created: i64,
    states: usize,
    provider_id: Option<String>,
}

impl Account {
    /// Somebody begins to sign up and has told nothing yet.
    pub(crate) fn begin(script: &mut Script<'_>) -> Self {
        script.request_after((1, 40));
        let provider_id = script.rng().coin().then(|| script.id("usr"));
        let mut account =
            Self { id: script.id("acct"), created: script.now, states: 0, provider_id };
        account.speak(script, false, json!({"currently_due": ["external_account"]}));
        account
    }

    /// All that Stripe asked for is there.
    pub(crate) fn activate(&mut self, script: &mut Script<'_>) {
        script.request_after((600, 90_000));
        self.speak(script, true, json!({"currently_due": []}));
    }

    /// Something is overdue, and Stripe stops the payouts.
    pub(crate) fn restrict(&mut self, script: &mut Script<'_>) {
        script.happens_after_days((10, 30));
        let due = json!(["person_1.verification.document"]);
        let reason = "requirements.past_due";
        let requirements =
            json!({"currently_due": due, "past_due": due, "disabled_reason": reason});
        self.speak(script, false, requirements);
    }

    /// The account withdraws its permission. The event's object is the platform's application.
    pub(crate) fn deauthorise(&mut self, script: &mut Script<'_>) {
        script.request_after((600, 90_000));
        script.account = Some(self.id.clone());
        let object = json!({"id": "ca_1", "object": "application", "name": "Platform"});
        script.emit("account.application.deauthorized", object);
        script.account = None;
    }

    /// States the account's status.
    pub(crate) fn is(&self, script: &mut Script<'_>, status: &'static str) {
        script.truth.accounts.push(AccountRow {
            stripe_acct: self.id.clone(),
            status,
            provider_id: self.provider_id.clone(),
            states: self.states,
        });
    }

    fn speak(&mut self, script: &mut Script<'_>, enabled: bool, requirements: Value) {
        let submitted = self.states > 0;
        let metadata = match &self.provider_id {
            Some(provider) => json!({"provider_id": provider}),
            None => json!({}),
        };
        let mut object = json!({
            "id": self.id,
            "object": "account",
            "capabilities": {"transfers": if enabled { "active" } else { "inactive" }},
            "charges_enabled": enabled,
            "country": "US",
            "created": self.created,
            "default_currency": "usd",
            "details_submitted": submitted,
            "email": null,
            "metadata": metadata,
            "payouts_enabled": enabled,
            "requirements": {
                "current_deadline": null,
                "currently_due": [],
                "disabled_reason": null,
                "errors": [],
                "eventually_due": [],
                "past_due": [],
                "pending_verification": [],
            },
            "type": "express",
        });
        if let Value::Object(fields) = requirements {
            for (field, value) in fields {
                object["requirements"][field] = value;
            }
        }
        script.account = Some(self.id.clone());
        script.emit_change("account.updated", object, json!({"capabilities": {}}));
        script.account = None;
        self.states += 1;
    }
}
