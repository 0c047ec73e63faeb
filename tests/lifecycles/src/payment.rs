//! A payment and what happens to it, told step by step.

use crate::object::{Charge, Common, Intent, Refund, Shape};
use crate::script::Script;
use crate::{RefundRow, TxnRow};
use serde_json::{Value, json};

/// Seconds until a person or a server does the next thing.
const SOON: (i64, i64) = (1, 40);

/// One payment: an intent with its attempts, or a charge without an intent.
pub(crate) struct Payment<'s, 'a> {
    pub(crate) script: &'s mut Script<'a>,
    pub(crate) common: Common,
    pub(crate) amount: i64,
    pub(crate) charges: Vec<Charge>,
    intent: Option<Intent>,
    quote_id: Option<String>,
}

impl<'s, 'a> Payment<'s, 'a> {
    /// A payment of a usual amount, with or without an intent; nothing has happened yet.
    pub(crate) fn new(script: &'s mut Script<'a>, currency: &'static str) -> Self {
        let amount = script.rng().between(500, 50_000);
        let quote_id = script.rng().chance(0.6).then(|| script.id("qte"));
        let metadata = match &quote_id {
            Some(quote) => json!({"quote_id": quote, "order_id": "ord_1", "provider_id": "usr_1"}),
            None => json!({}),
        };
        let livemode = script.stripe.livemode;
        let common = Common { currency, livemode, method: "card", metadata };
        Self { script, common, amount, charges: Vec::new(), intent: None, quote_id }
    }

    /// The customer reaches the checkout: an intent is created.
    pub(crate) fn open(&mut self, manual: bool) {
        self.script.request_after((0, 5));
        let intent = Intent {
            id: self.script.id("pi"),
            created: self.script.now,
            amount: self.amount,
            received: 0,
            capturable: 0,
            status: "requires_payment_method",
            manual,
            canceled: None,
            last_error: Value::Null,
        };
        self.script.fact("checkout.initiated", &[&intent.id]);
        self.intent = Some(intent);
        self.emit_intent("payment_intent.created");
    }

    /// The bank asks the customer to authenticate.
    pub(crate) fn asks_for_action(&mut self) {
        self.script.request_after(SOON);
        self.set_intent("requires_action");
        self.emit_intent("payment_intent.requires_action");
    }

    /// The customer fails to authenticate: no charge is made.
    pub(crate) fn authentication_fails(&mut self) {
        self.script.request_after(SOON);
        self.set_intent("requires_payment_method");
        if let Some(intent) = &mut self.intent {
            intent.last_error =
                json!({"code": "payment_intent_authentication_failure", "type": "card_error"});
            let id = intent.id.clone();
            let event = self.emit_intent("payment_intent.payment_failed");
            self.script.fact("payment.failed", &[&id, &event]);
        }
    }

    /// The card is declined.
    pub(crate) fn decline(&mut self) {
        self.script.request_after(SOON);
        self.add_charge("failed", 0);
        self.declined();
    }

    fn declined(&mut self) {
        let Some(charge) = self.charges.last().map(|charge| charge.id.clone()) else { return };
        self.set_intent("requires_payment_method");
        if let Some(intent) = &mut self.intent {
            intent.last_error =
                json!({"charge": charge, "code": "card_declined", "type": "card_error"});
        }
        self.emit_charge("charge.failed");
        self.emit_intent("payment_intent.payment_failed");
        self.script.fact("payment.failed", &[&charge]);
    }

    /// The card is charged at once.
    pub(crate) fn pay(&mut self) {
        self.script.request_after(SOON);
        self.add_charge("succeeded", self.amount);
        self.succeed();
    }

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

    /// All or part of the authorised amount is captured; the rest is released.
    pub(crate) fn capture(&mut self, amount: i64, rest: Rest) {
        self.script.request_after((60, 4000));
        let bt = self.script.id("txn");
        let released = self.amount - amount;
        let charge = self.charge();
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
        self.captured(amount);
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

    /// The checkout is given up before any attempt.
    pub(crate) fn cancel(&mut self) {
        self.script.request_after((60, 4000));
        self.canceled("abandoned");
    }

    fn canceled(&mut self, reason: &'static str) {
        self.set_intent("canceled");
        let now = self.script.now;
        if let Some(intent) = &mut self.intent {
            intent.capturable = 0;
            intent.canceled = Some((now, reason));
            let id = intent.id.clone();
            self.script.fact("payment.canceled", &[&id]);
        }
        self.emit_intent("payment_intent.canceled");
    }

    /// A bank debit starts. Its pending charge already says that all was captured.
    pub(crate) fn start_bank_debit(&mut self) {
        self.common.method = "us_bank_account";
        self.script.request_after(SOON);
        self.add_charge("pending", self.amount);
        self.set_intent("processing");
        self.emit_charge("charge.pending");
        self.emit_intent("payment_intent.processing");
    }

    /// Days later the bank pays, or not.
    pub(crate) fn settle_bank_debit(&mut self, paid: bool) {
        self.script.happens_after_days((1, 4));
        if paid {
            let bt = self.script.id("txn");
            let charge = self.charge();
            charge.status = "succeeded";
            charge.balance_transaction = Some(bt);
            self.succeed();
        } else {
            self.charge().status = "failed";
            self.declined();
        }
    }

    fn succeed(&mut self) {
        let (amount, late) = (self.amount, self.script.shape == Shape::Flat);
        let bt = self.charge().balance_transaction.take_if(|_| late);
        self.intent_succeeds(amount);
        self.emit_charge("charge.succeeded");
        self.emit_intent("payment_intent.succeeded");
        self.captured(amount);
        if bt.is_some() {
            // Captured asynchronously: the balance transaction shows up a little later.
            self.script.happens_after_days((0, 0));
            self.charge().balance_transaction = bt;
            let object = self.charge_json();
            let before = json!({"balance_transaction": null});
            self.script.emit_change("charge.updated", object, before);
        }
    }

    fn intent_succeeds(&mut self, received: i64) {
        self.set_intent("succeeded");
        if let Some(intent) = &mut self.intent {
            intent.received = received;
            intent.capturable = 0;
        }
    }

    fn captured(&mut self, amount: i64) {
        let charge = self.charge().id.clone();
        self.script.fact("payment.captured", &[&charge, &amount.to_string()]);
    }

    /// The last charge; every step that needs one comes after one was made.
    pub(crate) fn charge(&mut self) -> &mut Charge {
        self.charges.last_mut().expect("a charge is made first")
    }

    fn add_charge(&mut self, status: &'static str, captured: i64) {
        let paid = status == "succeeded" && captured > 0;
        let charge = Charge {
            id: self.script.id("ch"),
            intent: self.intent.as_ref().map(|intent| intent.id.clone()),
            created: self.script.now,
            amount: self.amount,
            amount_captured: captured,
            captured: captured > 0,
            status,
            balance_transaction: paid.then(|| self.script.id("txn")),
            source_transfer: None,
            refunds: Vec::new(),
            released: 0,
        };
        self.charges.push(charge);
    }

    fn set_intent(&mut self, status: &'static str) {
        if let Some(intent) = &mut self.intent {
            intent.status = status;
            intent.last_error = Value::Null;
        }
    }

    pub(crate) fn intent_id(&self) -> Option<&str> {
        self.intent.as_ref().map(|intent| intent.id.as_str())
    }

    pub(crate) fn charge_json(&mut self) -> Value {
        let shape = self.script.shape;
        let common = self.common.clone();
        self.charge().json(shape, &common)
    }

    pub(crate) fn emit_charge(&mut self, kind: &'static str) {
        let object = self.charge_json();
        self.script.emit(kind, object);
    }

    fn emit_intent(&mut self, kind: &'static str) -> String {
        let Some(intent) = &self.intent else { return String::new() };
        let object = intent.json(self.script.shape, &self.common, &self.charges);
        self.script.emit(kind, object)
    }

    /// States the payment's row.
    pub(crate) fn is(&mut self, status: &'static str, captured: i64, refunded: i64) {
        let row = TxnRow {
            stripe_pi: self.intent_id().map(str::to_owned),
            stripe_ch: self.charges.last().map(|charge| charge.id.clone()),
            status,
            amount: self.amount,
            captured,
            refunded,
            currency: self.common.currency.to_uppercase(),
            quote_id: self.quote_id.clone(),
        };
        self.script.truth.txns.push(row);
    }

    /// States the row of the refund at this index.
    pub(crate) fn refund_is(&mut self, index: usize, status: &'static str) {
        let refund = &self.charge().refunds[index];
        let row = RefundRow { stripe_ref: refund.id.clone(), status, amount: refund.amount };
        self.script.truth.refunds.push(row);
    }
}

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

/// Refunds.
impl Payment<'_, '_> {
    /// Refunds captured money and returns the refund's index.
    pub(crate) fn refund(&mut self, amount: i64, status: &'static str) -> usize {
        self.script.request_after((60, 90_000));
        let before = json!({"amount_refunded": self.charge().amount_refunded()});
        let bt = self.script.id("txn");
        let refund = self.new_refund(amount, status, Some(bt));
        self.script.fact("refund.issued", &[&refund.id]);
        let index = self.charge().refunds.len();
        self.charge().refunds.push(refund);
        let object = self.charge_json();
        self.script.emit_change("charge.refunded", object, before);
        if self.script.shape == Shape::Flat {
            self.emit_refund("refund.created", index);
        }
        index
    }

    /// Days later the bank has the last word on a refund.
    pub(crate) fn settle_refund(&mut self, index: usize, status: &'static str) {
        self.script.happens_after_days((1, 3));
        let refunded = self.charge().amount_refunded();
        self.charge().refunds[index].status = status;
        if self.script.shape == Shape::Flat {
            self.emit_refund("refund.updated", index);
            if status == "failed" {
                self.emit_refund("refund.failed", index);
            }
        } else {
            self.emit_refund("charge.refund.updated", index);
        }
        if status == "succeeded" {
            return;
        }
        let id = self.charge().refunds[index].id.clone();
        self.script.fact("refund.failed", &[&id]);
        // Not every account gets this event: the refund alone must be enough.
        if self.script.rng().chance(0.7) {
            let object = self.charge_json();
            let before = json!({"amount_refunded": refunded});
            self.script.emit_change("charge.updated", object, before);
        }
    }

    fn release(&mut self, amount: i64) {
        let mut refund = self.new_refund(amount, "succeeded", None);
        refund.is_release = true;
        let index = self.charge().refunds.len();
        self.charge().refunds.push(refund);
        if self.script.shape == Shape::Flat {
            self.emit_refund("refund.created", index);
        }
    }

    fn new_refund(&mut self, amount: i64, status: &'static str, bt: Option<String>) -> Refund {
        Refund {
            id: self.script.id("re"),
            charge: self.charge().id.clone(),
            intent: self.intent_id().map(str::to_owned),
            created: self.script.now,
            amount,
            status,
            balance_transaction: bt,
            source_transfer_reversal: None,
            is_release: false,
        }
    }

    fn emit_refund(&mut self, kind: &'static str, index: usize) {
        let object = self
            .charges
            .last()
            .map(|charge| charge.refunds[index].json(self.script.shape, &self.common));
        if let Some(object) = object {
            self.script.emit(kind, object);
        }
    }
}
