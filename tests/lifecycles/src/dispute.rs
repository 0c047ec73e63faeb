//! Disputes and inquiries, told step by step.

use crate::object::Common;
use crate::payment::Payment;
use crate::script::Script;
use crate::{DisputeRow, Shape};
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

/// When the money is withdrawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Withdrawal {
    /// Before the first event, which shows it.
    AtOnce,
    /// After the first event: the same state with one more balance transaction.
    Later,
    /// Not at all, as for an inquiry.
    Never,
}

impl Dispute {
    /// The cardholder disputes this much of the charge, or asks about it (`warning_…`).
    pub(crate) fn open(
        payment: &mut Payment<'_, '_>,
        amount: i64,
        status: &'static str,
        withdrawal: Withdrawal,
    ) -> Self {
        payment.script.happens_after_days((3, 20));
        let mut dispute = Self {
            id: payment.script.id("du"),
            charge: payment.charge().id.clone(),
            intent: payment.intent_id().map(str::to_owned),
            common: payment.common.clone(),
            created: payment.script.now,
            amount,
            status,
            submissions: 0,
            balance_transactions: Vec::new(),
        };
        let script = &mut *payment.script;
        script.fact("dispute.opened", &[&dispute.id]);
        if withdrawal == Withdrawal::AtOnce {
            dispute.move_money(script, -amount, FEE);
        }
        dispute.emit(script, "charge.dispute.created");
        match withdrawal {
            Withdrawal::AtOnce => dispute.emit(script, "charge.dispute.funds_withdrawn"),
            Withdrawal::Later => dispute.withdraw(script),
            Withdrawal::Never => {}
        }
        dispute
    }

    /// A dispute of the whole charge that takes its money, now or in a moment.
    pub(crate) fn of_all(payment: &mut Payment<'_, '_>) -> Self {
        let withdrawal =
            if payment.script.rng().coin() { Withdrawal::AtOnce } else { Withdrawal::Later };
        let amount = payment.charge().amount_captured;
        Self::open(payment, amount, "needs_response", withdrawal)
    }

    /// A question about the whole charge; the money stays.
    pub(crate) fn inquiry(payment: &mut Payment<'_, '_>) -> Self {
        let amount = payment.charge().amount_captured;
        Self::open(payment, amount, "warning_needs_response", Withdrawal::Never)
    }

    fn withdraw(&mut self, script: &mut Script<'_>) {
        if script.rng().coin() {
            script.happens_after_days((0, 0));
        }
        self.move_money(script, -self.amount, FEE);
        self.emit(script, "charge.dispute.funds_withdrawn");
    }

    /// The inquiry becomes a dispute: the same object, now with the money gone.
    pub(crate) fn escalate(&mut self, script: &mut Script<'_>) {
        script.happens_after_days((5, 20));
        let before = json!({"status": self.status});
        self.status = "needs_response";
        let object = self.json(script.shape);
        script.emit_change("charge.dispute.updated", object, before);
        self.withdraw(script);
    }

    /// The merchant sends evidence.
    pub(crate) fn answer(&mut self, script: &mut Script<'_>) {
        script.request_after((3600, 200_000));
        let count = json!({"submission_count": self.submissions});
        let before = json!({"status": self.status, "evidence_details": count});
        self.submissions += 1;
        self.status =
            if self.status == "needs_response" { "under_review" } else { "warning_under_review" };
        let object = self.json(script.shape);
        script.emit_change("charge.dispute.updated", object, before);
    }

    /// The bank decides: `won`, `lost`, `warning_closed` or `prevented`.
    pub(crate) fn close(&mut self, script: &mut Script<'_>, status: &'static str) {
        script.happens_after_days((20, 60));
        self.status = status;
        self.closed(script);
    }

    /// The decision is there, whenever it came.
    pub(crate) fn closed(&mut self, script: &mut Script<'_>) {
        self.emit(script, "charge.dispute.closed");
        script.fact("dispute.closed", &[&self.id]);
        match self.status {
            "lost" => {
                script.fact("dispute.lost", &[&self.id]);
                self.loses(script, self.amount);
            }
            "won" => self.won(script),
            _ => {}
        }
    }

    /// The bank decides once more, for the merchant.
    pub(crate) fn turn_to_won(&mut self, script: &mut Script<'_>) {
        script.happens_after_days((5, 30));
        let before = json!({"status": self.status});
        self.status = "won";
        self.loses(script, -self.amount);
        let object = self.json(script.shape);
        script.emit_change("charge.dispute.updated", object, before);
        self.won(script);
    }

    fn won(&mut self, script: &mut Script<'_>) {
        script.fact("dispute.won", &[&self.id]);
        script.happens_after_days((0, 0));
        self.move_money(script, self.amount, 0);
        self.emit(script, "charge.dispute.funds_reinstated");
    }

    /// States the dispute's row.
    pub(crate) fn is(&self, script: &mut Script<'_>, status: &'static str) {
        let row = DisputeRow { stripe_dispute: self.id.clone(), status, amount: self.amount };
        script.truth.disputes.push(row);
    }

    fn loses(&self, script: &mut Script<'_>, amount: i64) {
        let accounts = ("dispute_losses", "dispute_hold");
        script.moves(("dispute", &self.id), self.common.currency, amount, accounts);
    }

    /// A balance transaction: negative when money is withdrawn, and the fee on top.
    fn move_money(&mut self, script: &mut Script<'_>, amount: i64, fee: i64) {
        let id = script.id("txn");
        let fact = if amount < 0 { "dispute.funds_withdrawn" } else { "dispute.funds_reinstated" };
        script.fact(fact, &[&id]);
        let (subject, currency) = (("dispute", self.id.as_str()), self.common.currency);
        script.post(subject, currency, "dispute_hold", "", -amount);
        script.post(subject, currency, "dispute_fees", "", fee);
        script.post(subject, currency, "stripe_clearing", "", amount - fee);
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
    }

    fn emit(&self, script: &mut Script<'_>, kind: &'static str) {
        script.emit(kind, self.json(script.shape));
    }

    fn json(&self, shape: Shape) -> Value {
        let mut object = json!({
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
            "reason": if self.common.method == "card" { "product_not_received" } else { "general" },
            "status": self.status,
        });
        if self.common.method == "card" && !shape.nests() {
            let case = match self.status {
                "prevented" => "block",
                status if status.starts_with("warning_") => "inquiry",
                _ => "chargeback",
            };
            object["payment_method_details"] = json!({
                "card": {"brand": "visa", "case_type": case, "network_reason_code": "13.1"},
                "type": "card",
            });
        }
        if shape == Shape::Flat {
            object["enhanced_eligibility_types"] = json!([]);
            let latest = self.balance_transactions.last();
            object["balance_transaction"] = json!(latest.map(|moved| &moved["id"]));
        }
        object
    }
}
