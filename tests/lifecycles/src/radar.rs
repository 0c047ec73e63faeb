//! What Radar and the card networks say about a payment: reviews and early fraud warnings.

use crate::payment::{Payment, SOON};
use crate::{FraudWarning, Review};
use serde_json::{Value, json};

impl Payment<'_, '_> {
    /// A rule holds the payment for a person to look at.
    pub(crate) fn review(&mut self) {
        self.script.happens_after_days((0, 0));
        self.watched_since = self.script.now;
        let review = Review { id: self.script.id("prv"), open: true, reason: "rule" };
        self.reviews.push(review);
        self.emit_review("review.opened");
    }

    /// The person has decided.
    pub(crate) fn close_review(&mut self, reason: &'static str) {
        self.script.request_after(SOON);
        if let Some(review) = self.reviews.last_mut() {
            review.open = false;
            review.reason = reason;
        }
        self.emit_review("review.closed");
    }

    fn emit_review(&mut self, kind: &'static str) {
        let Some(review) = self.reviews.last().cloned() else { return };
        let charge = self.intent.is_none().then(|| self.charge().id.clone());
        let object = json!({
            "id": review.id,
            "object": "review",
            "billing_zip": null,
            "charge": charge,
            "closed_reason": (!review.open).then_some(review.reason),
            "created": self.watched_since,
            "ip_address": null,
            "ip_address_location": null,
            "livemode": self.common.livemode,
            "open": review.open,
            "opened_reason": "rule",
            "payment_intent": self.intent_id(),
            "reason": review.reason,
            "session": null,
        });
        self.script.emit(kind, object);
    }

    /// A card network says that the cardholder calls it fraud.
    pub(crate) fn warn(&mut self) {
        self.script.happens_after_days((1, 5));
        self.watched_since = self.script.now;
        let id = self.script.id("issfr");
        let fraud_type = self.script.rng().pick(&["misc", "card_never_received"]);
        self.fraud_warnings.push(FraudWarning { id, fraud_type, actionable: true });
        self.emit_warning("radar.early_fraud_warning.created");
    }

    /// The charge is refunded or disputed: nothing is left to be done about the warning.
    pub(crate) fn warning_is_spent(&mut self) {
        self.script.happens_after_days((0, 0));
        if let Some(warning) = self.fraud_warnings.last_mut() {
            warning.actionable = false;
        }
        self.emit_warning("radar.early_fraud_warning.updated");
    }

    fn emit_warning(&mut self, kind: &'static str) {
        let Some(warning) = self.fraud_warnings.last().cloned() else { return };
        let mut object = json!({
            "id": warning.id,
            "object": "radar.early_fraud_warning",
            "actionable": warning.actionable,
            "charge": self.charge().id,
            "created": self.watched_since,
            "fraud_type": warning.fraud_type,
            "livemode": self.common.livemode,
        });
        if !self.script.shape.nests() {
            object["payment_intent"] = self.intent_id().map_or(Value::Null, Value::from);
        }
        self.script.emit(kind, object);
    }
}
