//! Disputes and inquiries, told step by step.

use crate::DisputeRow;
use crate::object::Common;
use crate::payment::Payment;
use crate::script::Script;
use serde_json::{Value, json};

/// Stripe's fee for a dispute, minor units.
const FEE: i64 = 1500;

/// A dispute of a payment's last charge.
pub(crate) struct Dispute {
    id: String,
    charge: String,
    intent: Option<String>,
    common: Common,
    created: i64,
    amount: i64,
    status: &'static str,
    submissions: i64,
    balance_transactions: Vec<Value>,
}

impl Dispute {
    /// The cardholder disputes the charge, or asks about it.
    pub(crate) fn open(payment: &mut Payment<'_, '_>, status: &'static str) -> Self {
        payment.script.happens_after_days((3, 20));
        let charge = payment.charge();
        let (id, amount) = (charge.id.clone(), charge.amount_captured);
        let mut dispute = Self {
            id: payment.script.id("du"),
            charge: id,
            intent: payment.intent_id().map(str::to_owned),
            common: payment.common.clone(),
            created: payment.script.now,
            amount,
            status,
            submissions: 0,
            balance_transactions: Vec::new(),
        };
        payment.script.fact("dispute.opened", &[&dispute.id]);
        if status.starts_with("warning_") {
            dispute.emit(payment.script, "charge.dispute.created");
        } else {
            dispute.withdraw(payment.script);
        }
        dispute
    }

    /// The first event may already show the withdrawal, or not yet.
    fn withdraw(&mut self, script: &mut Script<'_>) {
        let at_once = script.rng().coin();
        if !at_once {
            self.emit(script, "charge.dispute.created");
        }
        let id = self.move_money(script, -self.amount, FEE);
        script.fact("dispute.funds_withdrawn", &[&id]);
        if at_once {
            self.emit(script, "charge.dispute.created");
        }
        self.emit(script, "charge.dispute.funds_withdrawn");
    }

    /// The merchant sends evidence.
    pub(crate) fn answer(&mut self, script: &mut Script<'_>) {
        script.request_after((3600, 200_000));
        let before = json!({"status": self.status, "evidence_details": {"submission_count": 0}});
        self.submissions = 1;
        self.status =
            if self.status == "needs_response" { "under_review" } else { "warning_under_review" };
        let object = self.json();
        script.emit_change("charge.dispute.updated", object, before);
    }

    /// The bank decides: `won`, `lost` or `warning_closed`.
    pub(crate) fn close(mut self, script: &mut Script<'_>, status: &'static str) {
        script.happens_after_days((20, 60));
        self.status = status;
        self.emit(script, "charge.dispute.closed");
        script.fact("dispute.closed", &[&self.id]);
        if status == "lost" {
            script.fact("dispute.lost", &[&self.id]);
        }
        if status == "won" {
            script.fact("dispute.won", &[&self.id]);
            script.happens_after_days((0, 0));
            let id = self.move_money(script, self.amount, 0);
            script.fact("dispute.funds_reinstated", &[&id]);
            self.emit(script, "charge.dispute.funds_reinstated");
        }
        self.is(script, status);
    }

    /// States the dispute's row.
    pub(crate) fn is(&self, script: &mut Script<'_>, status: &'static str) {
        let row = DisputeRow { stripe_dispute: self.id.clone(), status, amount: self.amount };
        script.truth.disputes.push(row);
    }

    fn move_money(&mut self, script: &mut Script<'_>, amount: i64, fee: i64) -> String {
        let id = script.id("txn");
        self.balance_transactions.push(json!({
            "id": id,
            "object": "balance_transaction",
            "amount": amount,
            "available_on": script.now + 86_400,
            "created": script.now,
            "currency": self.common.currency,
            "description": format!("Chargeback for {}", self.charge),
            "exchange_rate": null,
            "fee": fee,
            "fee_details": [],
            "net": amount - fee,
            "reporting_category": if amount < 0 { "dispute" } else { "dispute_reversal" },
            "source": self.id,
            "status": "available",
            "type": "adjustment",
        }));
        id
    }

    fn emit(&self, script: &mut Script<'_>, kind: &'static str) {
        script.emit(kind, self.json());
    }

    fn json(&self) -> Value {
        json!({
            "id": self.id,
            "object": "dispute",
            "amount": self.amount,
            "balance_transactions": self.balance_transactions,
            "charge": self.charge,
            "created": self.created,
            "currency": self.common.currency,
            "evidence": {"product_description": null, "uncategorized_text": null},
            "evidence_details": {
                "due_by": self.created + 10 * 86_400,
                "has_evidence": self.submissions > 0,
                "past_due": false,
                "submission_count": self.submissions,
            },
            "is_charge_refundable": self.status.starts_with("warning_"),
            "livemode": self.common.livemode,
            "metadata": {},
            "payment_intent": self.intent,
            "payment_method_details": {
                "card": {"brand": "visa", "case_type": "chargeback", "network_reason_code": "13.1"},
                "type": "card",
            },
            "reason": "product_not_received",
            "status": self.status,
        })
    }
}
