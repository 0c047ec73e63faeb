//! Checkout sessions: how a payment may learn of its quote and order.

use crate::payment::Payment;
use crate::quote::Links;
use crate::script::Script;
use serde_json::{Value, json};

/// A session of Stripe's own checkout page.
pub(crate) struct Session {
    id: String,
    created: i64,
    metadata: Value,
    client_reference_id: Option<String>,
}

impl Session {
    /// The customer is sent to the page. Stripe makes no event of that.
    pub(crate) fn begin(
        script: &mut Script<'_>,
        metadata: &Links,
        client_reference_id: Option<String>,
    ) -> Self {
        script.request_after((0, 5));
        let id = script.id("cs_test");
        Self { id, created: script.now, metadata: metadata.metadata(), client_reference_id }
    }

    /// The customer has done their part; a bank debit is still to come.
    pub(crate) fn complete(&self, payment: &mut Payment<'_, '_>) {
        let paid = payment.charge().status == "succeeded";
        let status = ("complete", if paid { "paid" } else { "unpaid" });
        self.emit(payment, "checkout.session.completed", status);
    }

    /// The bank debit of a completed session was paid.
    pub(crate) fn is_paid_late(&self, payment: &mut Payment<'_, '_>) {
        self.emit(payment, "checkout.session.async_payment_succeeded", ("complete", "paid"));
    }

    /// A day passes. The intent, where there is one yet, ends with the session.
    pub(crate) fn expire(&self, payment: &mut Payment<'_, '_>) {
        payment.script.happens_after_days((1, 1));
        if payment.intent.is_some() {
            payment.canceled("automatic");
        }
        self.emit(payment, "checkout.session.expired", ("expired", "unpaid"));
    }

    fn emit(
        &self,
        payment: &mut Payment<'_, '_>,
        kind: &'static str,
        (status, payment_status): (&str, &str),
    ) {
        let object = json!({
            "id": self.id,
            "object": "checkout.session",
            "amount_subtotal": payment.amount,
            "amount_total": payment.amount,
            "cancel_url": "https://example.com/cancel",
            "client_reference_id": self.client_reference_id,
            "created": self.created,
            "currency": payment.common.currency,
            "customer": null,
            "customer_details": null,
            "expires_at": self.created + 86_400,
            "invoice": null,
            "livemode": payment.common.livemode,
            "metadata": self.metadata,
            "mode": "payment",
            "payment_intent": payment.intent_id(),
            "payment_method_types": [payment.common.method],
            "payment_status": payment_status,
            "setup_intent": null,
            "status": status,
            "subscription": null,
            "success_url": "https://example.com/thanks",
            "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
            "url": null,
        });
        payment.script.emit(kind, object);
    }
}
