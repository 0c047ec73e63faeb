//! Transfers to connected accounts, and their far side.

use crate::PayoutRow;
use crate::account::Connected;
use crate::object::{Charge, Common, Connect, Refund, list};
use crate::script::Script;
use serde_json::{Value, json};

/// What is owed to a provider is paid from what Stripe holds.
const CLEARING: &str = "stripe_clearing";

/// The charge whose money a transfer hands on.
pub(crate) struct Handed {
    pub(crate) charge: String,
    /// The transfer's id.
    pub(crate) transfer: String,
    pub(crate) group: Option<String>,
}

/// A transfer from the platform to a connected account.
pub(crate) struct Transfer {
    pub(crate) id: String,
    created: i64,
    amount: i64,
    reversals: Vec<(String, i64, i64)>,
    account: Connected,
    common: Common,
    /// The charge that it hands on.
    source: Option<String>,
    /// What the connected account sees: a charge from nowhere.
    pub(crate) far_side: Charge,
}

impl Transfer {
    /// Money goes to one of the connected accounts.
    pub(crate) fn create(script: &mut Script<'_>) -> Self {
        let account = script.pick_account();
        script.request_after((1, 40));
        let amount = script.rng().between(500, 40_000);
        Self::of(script, account, "usd", amount, None)
    }

    /// Money of this charge, if there is one, goes to this account; both sides tell of it.
    pub(crate) fn of(
        script: &mut Script<'_>,
        account: Connected,
        currency: &'static str,
        amount: i64,
        handed: Option<Handed>,
    ) -> Self {
        let id = match &handed {
            Some(handed) => handed.transfer.clone(),
            None => script.id("tr"),
        };
        let transfer_group = handed.as_ref().and_then(|handed| handed.group.clone());
        let source = handed.map(|handed| handed.charge);
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
        let common = Common {
            currency,
            livemode: script.stripe.livemode,
            method: "card",
            metadata: json!({}),
            invoice: None,
            connect: Connect { transfer_group, ..Connect::default() },
        };
        let (created, reversals) = (script.now, Vec::new());
        let transfer = Self { id, created, amount, reversals, account, common, source, far_side };
        script.emit("transfer.created", transfer.json());
        script.fact("transfer.created", &[&transfer.id]);
        transfer.pays(script, amount);
        // Stripe has called this event `payment.created` as well.
        let kind = if script.rng().coin() { "charge.succeeded" } else { "payment.created" };
        transfer.emit_far_side(script, kind);
        transfer
    }

    /// All or part of it comes back, some time later.
    pub(crate) fn reverse(&mut self, script: &mut Script<'_>, amount: i64) {
        script.request_after((60, 90_000));
        self.reverse_now(script, amount);
    }

    /// All or part of it comes back; returns the reversal's id.
    pub(crate) fn reverse_now(&mut self, script: &mut Script<'_>, amount: i64) -> String {
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
            transfer_reversal: None,
            is_release: false,
            is_named: true,
        });
        self.reversals.push((reversal.clone(), amount, script.now));
        script.emit_change("transfer.reversed", self.json(), before);
        script.fact("transfer.reversed", &[&self.id, &self.reversed().to_string()]);
        self.pays(script, -amount);
        self.emit_far_side(script, "charge.refunded");
        reversal
    }

    /// The amount less what came back.
    pub(crate) fn net(&self) -> i64 {
        self.amount - self.reversed()
    }

    /// Half of the amount.
    pub(crate) fn half(&self) -> i64 {
        self.amount / 2
    }

    fn reversed(&self) -> i64 {
        self.reversals.iter().map(|(_, amount, _)| amount).sum()
    }

    fn pays(&self, script: &mut Script<'_>, amount: i64) {
        let (subject, currency) = (("transfer", self.id.as_str()), self.common.currency);
        script.post(subject, currency, "provider_payable", self.account.party(), amount);
        script.post(subject, currency, CLEARING, "", -amount);
    }

    /// States the transfer's row.
    pub(crate) fn is(&self, script: &mut Script<'_>) {
        script.truth.payouts.push(PayoutRow {
            stripe_transfer: Some(self.id.clone()),
            stripe_payout: None,
            account: Some(self.account.id.clone()),
            provider_id: self.account.provider().map(str::to_owned),
            is_named: self.account.named.is_some(),
            status: if self.net() == 0 { "canceled" } else { "in_transit" },
            net: self.net(),
            currency: self.common.currency.to_uppercase(),
        });
    }

    fn emit_far_side(&self, script: &mut Script<'_>, kind: &'static str) {
        script.account = Some(self.account.id.clone());
        let object = self.far_side.json(script.shape, &self.common);
        script.emit(kind, object);
        if let Some(refund) = self.far_side.refunds.last()
            && script.shape.has_refund_events()
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
            "destination": self.account.id,
            "destination_payment": self.far_side.id,
            "livemode": self.common.livemode,
            "metadata": {},
            "reversals": list(reversals.collect(), &url),
            "reversed": self.net() == 0,
            "source_transaction": self.source,
            "source_type": "card",
            "transfer_group": self.common.connect.transfer_group,
        })
    }
}
