//! Invoices, and how they are tied to payments before and since basil.

use crate::InvoiceRow;
use crate::payment::{Payment, SOON};
use crate::script::Script;
use serde_json::{Value, json};

/// One invoice, step by step.
pub(crate) struct Invoice {
    pub(crate) id: String,
    created: i64,
    currency: &'static str,
    total: i64,
    paid: i64,
    status: &'static str,
    /// Shown on the invoice itself, until basil.
    intent: Option<String>,
    charge: Option<String>,
    payments: Vec<(String, i64)>,
}

impl Invoice {
    /// A draft.
    pub(crate) fn draft(script: &mut Script<'_>, currency: &'static str, total: i64) -> Self {
        script.request_after(SOON);
        let invoice = Self {
            id: script.id("in"),
            created: script.now,
            currency,
            total,
            paid: 0,
            status: "draft",
            intent: None,
            charge: None,
            payments: Vec::new(),
        };
        invoice.emit(script, "invoice.created");
        invoice
    }

    /// The draft becomes a bill, with a first intent to pay it unless it is `charged` the old way.
    pub(crate) fn finalize(&mut self, payment: &mut Payment<'_, '_>, charged: bool) {
        payment.script.request_after(SOON);
        payment.common.invoice = Some(self.id.clone());
        self.status = "open";
        if !charged {
            payment.open_now(false);
            self.intent = payment.intent_id().map(str::to_owned);
        }
        self.emit(payment.script, "invoice.finalized");
    }

    /// The payment has paid all of its amount towards the invoice.
    pub(crate) fn takes(&mut self, payment: &mut Payment<'_, '_>) {
        let (name, amount) = (payment.name(), payment.amount);
        self.charge = Some(payment.charge().id.clone());
        self.paid += amount;
        let is_first = self.payments.is_empty();
        self.payments.push((name.clone(), amount));
        let script = &mut *payment.script;
        if script.shape.has_invoice_payments() {
            let object = self.payment_json(script, &name, amount, is_first);
            script.emit("invoice_payment.paid", object);
        }
        if self.paid < self.total {
            let before = json!({"amount_paid": self.paid - amount});
            script.emit_change("invoice.updated", self.json(script), before);
        } else {
            self.status = "paid";
            self.emit(script, "invoice.paid");
            self.emit(script, "invoice.payment_succeeded");
        }
    }

    /// The bill is withdrawn, and with it the intent.
    pub(crate) fn void(&mut self, payment: &mut Payment<'_, '_>) {
        payment.script.request_after((60, 90_000));
        self.status = "void";
        payment.canceled("void_invoice");
        self.emit(payment.script, "invoice.voided");
    }

    /// Nobody expects the money any more.
    pub(crate) fn give_up(&mut self, script: &mut Script<'_>) {
        script.happens_after_days((20, 60));
        self.status = "uncollectible";
        self.emit(script, "invoice.marked_uncollectible");
    }

    /// States the invoice's row.
    pub(crate) fn is(&self, script: &mut Script<'_>, status: &'static str) {
        let mut payments = self.payments.clone();
        payments.sort();
        script.truth.invoices.push(InvoiceRow {
            stripe_invoice: self.id.clone(),
            status,
            currency: self.currency.to_uppercase(),
            amount_due: self.total,
            amount_paid: self.paid,
            amount_remaining: self.total - self.paid,
            total: self.total,
            payments,
        });
    }

    fn emit(&self, script: &mut Script<'_>, kind: &'static str) {
        let object = self.json(script);
        script.emit(kind, object);
    }

    fn json(&self, script: &Script<'_>) -> Value {
        let mut object = json!({
            "id": self.id,
            "object": "invoice",
            "amount_due": self.total,
            "amount_paid": self.paid,
            "amount_remaining": self.total - self.paid,
            "attempted": self.charge.is_some(),
            "billing_reason": "manual",
            "collection_method": "send_invoice",
            "created": self.created,
            "currency": self.currency,
            "customer": "cus_1",
            "livemode": script.stripe.livemode,
            "metadata": {},
            "number": (self.status != "draft").then_some("EXAMPLE-0001"),
            "status": self.status,
            "subtotal": self.total,
            "total": self.total,
        });
        if script.shape.has_invoice_payments() {
            object["amount_overpaid"] = json!(0);
            object["parent"] = Value::Null;
        } else {
            object["application_fee_amount"] = Value::Null;
            object["charge"] = json!(self.charge);
            object["paid"] = json!(self.status == "paid");
            object["paid_out_of_band"] = json!(false);
            object["payment_intent"] = json!(self.intent);
            object["subscription"] = Value::Null;
        }
        object
    }

    fn payment_json(
        &self,
        script: &mut Script<'_>,
        intent: &str,
        amount: i64,
        is_default: bool,
    ) -> Value {
        json!({
            "id": script.id("inpay"),
            "object": "invoice_payment",
            "amount_paid": amount,
            "amount_requested": amount,
            "created": script.now,
            "currency": self.currency,
            "invoice": self.id,
            "is_default": is_default,
            "livemode": script.stripe.livemode,
            "payment": {"payment_intent": intent, "type": "payment_intent"},
            "status": "paid",
            "status_transitions": {"canceled_at": null, "paid_at": script.now},
        })
    }
}
