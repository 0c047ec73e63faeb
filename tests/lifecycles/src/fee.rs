//! Application fees: the platform's part of a charge that is for a connected account.

use crate::account::Connected;
use crate::object::list;
use crate::script::Script;
use serde_json::{Value, json};

/// A fee, always the platform's own object.
pub(crate) struct ApplicationFee {
    id: String,
    account: Connected,
    /// The charge that paid it, on the connected account.
    charge: String,
    /// The platform's charge, for a destination charge.
    originating: Option<String>,
    currency: &'static str,
    amount: i64,
    created: i64,
    refunds: Vec<Value>,
}

impl ApplicationFee {
    /// The fee is taken from a charge (and from the platform's charge behind it).
    pub(crate) fn take(
        script: &mut Script<'_>,
        id: String,
        account: &Connected,
        (charge, originating): (String, Option<String>),
        (currency, amount): (&'static str, i64),
    ) -> Self {
        let account = account.clone();
        let (created, refunds) = (script.now, Vec::new());
        let fee = Self { id, account, charge, originating, currency, amount, created, refunds };
        fee.on_platform(script, |fee, script| {
            let object = fee.json(script);
            script.emit("application_fee.created", object);
            fee.moves(script, amount);
        });
        fee
    }

    /// A part goes back to the connected account.
    pub(crate) fn refund(&mut self, script: &mut Script<'_>, amount: i64) {
        let before = json!({"amount_refunded": self.refunded()});
        let refund = json!({
            "id": script.id("fr"),
            "object": "fee_refund",
            "amount": amount,
            "balance_transaction": script.id("txn"),
            "created": script.now,
            "currency": self.currency,
            "fee": self.id,
            "metadata": {},
        });
        self.refunds.push(refund.clone());
        self.on_platform(script, |fee, script| {
            let object = fee.json(script);
            script.emit_change("application_fee.refunded", object, before);
            fee.moves(script, -amount);
            if script.rng().coin() {
                script.request_after((60, 4000));
                let mut refund = refund;
                refund["metadata"] = json!({"reason": "goodwill"});
                let before = json!({"metadata": {"reason": null}});
                script.emit_change("application_fee.refund.updated", refund, before);
            }
        });
    }

    /// The fee less what went back.
    pub(crate) fn net(&self) -> i64 {
        self.amount - self.refunded()
    }

    fn refunded(&self) -> i64 {
        self.refunds.iter().filter_map(|refund| refund["amount"].as_i64()).sum()
    }

    /// What a destination charge's provider was given too much comes back; a direct charge's fee
    /// is earned there and then.
    fn moves(&self, script: &mut Script<'_>, amount: i64) {
        let subject = ("application_fee", self.id.as_str());
        script.post(subject, self.currency, "stripe_clearing", "", amount);
        if self.originating.is_some() {
            let party = self.account.party();
            script.post(subject, self.currency, "provider_payable", party, -amount);
        } else {
            script.post(subject, self.currency, "platform_fees", "", -amount);
        }
    }

    /// Tells something as the platform, whichever account the story is about.
    fn on_platform(&self, script: &mut Script<'_>, tell: impl FnOnce(&Self, &mut Script<'_>)) {
        let account = script.account.take();
        tell(self, script);
        script.account = account;
    }

    fn json(&self, script: &Script<'_>) -> Value {
        let url = format!("/v1/application_fees/{}/refunds", self.id);
        json!({
            "id": self.id,
            "object": "application_fee",
            "account": self.account.id,
            "amount": self.amount,
            "amount_refunded": self.refunded(),
            "application": "ca_1",
            "balance_transaction": "txn_1",
            "charge": self.charge,
            "created": self.created,
            "currency": self.currency,
            "livemode": script.stripe.livemode,
            "originating_transaction": self.originating,
            "refunded": self.net() == 0,
            "refunds": list(self.refunds.clone(), &url),
        })
    }
}
