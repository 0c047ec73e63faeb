//! Authorisations: captured at once or in steps, grown, or released.

use crate::payment::{Payment, SOON};
use serde_json::json;

/// How an account shows the released rest of a partial capture.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rest {
    /// In the charge's `amount_refunded`.
    pub(crate) shown: bool,
    /// As a refund object of its own, without a balance transaction.
    pub(crate) has_refund: bool,
}

impl Rest {
    /// Nothing is left to release.
    pub(crate) const NONE: Self = Self { shown: false, has_refund: false };
}

impl Payment<'_, '_> {
    /// The card is authorised; capture comes later.
    pub(crate) fn authorise(&mut self) {
        self.script.request_after(SOON);
        self.add_charge("succeeded", 0);
        self.set_intent("requires_capture");
        if let Some(intent) = &mut self.intent {
            intent.capturable = intent.amount;
        }
        self.emit_charge("charge.succeeded");
        self.emit_intent("payment_intent.amount_capturable_updated");
        let charge = self.charge().id.clone();
        self.script.fact("payment.authorized", &[&charge]);
    }

    /// The authorisation grows, as when a guest stays longer.
    pub(crate) fn increment(&mut self, by: i64) {
        self.script.request_after((60, 90_000));
        let before = json!({"amount": self.amount});
        self.amount += by;
        self.charge().amount = self.amount;
        if let Some(intent) = &mut self.intent {
            intent.amount += by;
            intent.capturable += by;
        }
        self.emit_charge_change(before);
        self.emit_intent("payment_intent.amount_capturable_updated");
    }

    /// All or part of the authorised amount is captured; the rest is released.
    pub(crate) fn capture(&mut self, amount: i64, rest: Rest) {
        self.script.request_after((60, 4000));
        let bt = self.script.id("txn");
        let released = self.amount - amount;
        let charge = self.charge();
        let before = charge.amount_captured;
        charge.captured = true;
        charge.amount_captured = amount;
        charge.balance_transaction = Some(bt);
        charge.released = if rest.shown { released } else { 0 };
        if rest.has_refund {
            self.release(released);
        }
        self.intent_succeeds(amount);
        self.emit_charge("charge.captured");
        self.emit_intent("payment_intent.succeeded");
        self.captured(before, amount);
    }

    /// A part is captured with `final_capture: false`: the rest stays authorised.
    pub(crate) fn capture_part(&mut self, part: i64) {
        self.script.request_after((60, 4000));
        let bt = self.script.id("txn");
        let charge = self.charge();
        let before = charge.amount_captured;
        charge.captured = true;
        charge.amount_captured += part;
        charge.balance_transaction = Some(bt);
        let total = charge.amount_captured;
        if let Some(intent) = &mut self.intent {
            intent.received = total;
            intent.capturable -= part;
        }
        self.emit_charge("charge.captured");
        self.emit_intent("payment_intent.amount_capturable_updated");
        self.captured(before, total);
    }

    /// The authorisation ends unused: somebody cancels it, or a week passes.
    pub(crate) fn release_all(&mut self, expires: bool) {
        if expires {
            self.script.happens_after_days((7, 7));
        } else {
            self.script.request_after((60, 4000));
        }
        let amount = self.amount;
        self.charge().released = amount;
        self.release(amount);
        self.emit_charge(if expires { "charge.expired" } else { "charge.refunded" });
        if self.intent.is_some() {
            self.canceled(if expires { "automatic" } else { "requested_by_customer" });
        }
    }
}
