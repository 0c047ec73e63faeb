//! A payment and what happens to it, told step by step.

use crate::TxnRow;
use crate::object::{Charge, Common, Connect, Intent, failure_code};
use crate::quote::Links;
use crate::script::Script;
use crate::settle::{Destination, Held};
use crate::{FraudWarning, Quote, Review};
use serde_json::{Value, json};

/// Seconds until a person or a server does the next thing.
pub(crate) const SOON: (i64, i64) = (1, 40);

/// One payment: an intent with its attempts, or a charge without an intent.
pub(crate) struct Payment<'s, 'a> {
    pub(crate) script: &'s mut Script<'a>,
    pub(crate) common: Common,
    pub(crate) amount: i64,
    pub(crate) charges: Vec<Charge>,
    pub(crate) links: Links,
    pub(crate) destination: Option<Destination>,
    pub(crate) application_fee: Option<i64>,
    pub(crate) reviews: Vec<Review>,
    pub(crate) fraud_warnings: Vec<FraudWarning>,
    /// When the review or warning was made.
    pub(crate) watched_since: i64,
    pub(crate) intent: Option<Intent>,
}

impl<'s, 'a> Payment<'s, 'a> {
    /// A payment of a usual amount, with or without an intent; nothing has happened yet. Its
    /// metadata may name a quote, and the quote may be known.
    pub(crate) fn new(script: &'s mut Script<'a>, currency: &'static str) -> Self {
        let amount = usual_amount(script, currency);
        let links = Links::usual(script);
        if let Some(id) = &links.quote
            && script.rng().coin()
        {
            // Paid exactly, in part, or too much.
            let total = script.rng().pick(&[amount, amount, amount * 3 / 2, amount * 2 / 3]);
            let quote = Quote::over(script, currency, total);
            let order_id = links.order.clone().filter(|_| script.rng().coin());
            script.quotes.push(Quote { quote_id: id.clone(), order_id, ..quote });
        }
        Self::of(script, currency, amount, links)
    }

    /// A payment of this amount whose metadata says this.
    pub(crate) fn of(
        script: &'s mut Script<'a>,
        currency: &'static str,
        amount: i64,
        links: Links,
    ) -> Self {
        let common = Common {
            currency,
            livemode: script.stripe.livemode,
            method: "card",
            metadata: links.metadata(),
            invoice: None,
            connect: Connect::default(),
        };
        Self {
            script,
            common,
            amount,
            charges: Vec::new(),
            links,
            destination: None,
            application_fee: None,
            reviews: Vec::new(),
            fraud_warnings: Vec::new(),
            watched_since: 0,
            intent: None,
        }
    }

    /// The customer reaches the checkout: an intent is created.
    pub(crate) fn open(&mut self, manual: bool) {
        self.script.request_after((0, 5));
        self.open_now(manual);
    }

    /// An intent is created by what happens at this moment.
    pub(crate) fn open_now(&mut self, manual: bool) {
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
            let code = failure_code(self.common.method);
            intent.last_error = json!({"charge": charge, "code": code, "type": "card_error"});
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

    /// The checkout is given up before any attempt.
    pub(crate) fn cancel(&mut self) {
        self.script.request_after((60, 4000));
        self.canceled("abandoned");
    }

    pub(crate) fn canceled(&mut self, reason: &'static str) {
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
    pub(crate) fn start_bank_debit(&mut self, method: &'static str) {
        self.common.method = method;
        self.script.request_after(SOON);
        self.add_charge("pending", self.amount);
        self.set_intent("processing");
        self.emit_charge("charge.pending");
        self.emit_intent("payment_intent.processing");
    }

    /// Days later the bank pays, or not.
    pub(crate) fn settle_bank_debit(&mut self, days: (i64, i64), paid: bool) {
        self.script.happens_after_days(days);
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
        let (amount, late) = (self.amount, self.script.shape.captures_async());
        let bt = self.charge().balance_transaction.take_if(|_| late);
        let transfer = self.common.connect.transfer.take_if(|_| late);
        let fee = self.common.connect.fee.take_if(|_| late);
        self.intent_succeeds(amount);
        self.emit_charge("charge.succeeded");
        self.emit_intent("payment_intent.succeeded");
        self.captured(0, amount);
        if bt.is_some() {
            // Captured asynchronously: what money moved shows up a little later.
            self.script.happens_after_days((0, 0));
            self.charge().balance_transaction = bt;
            self.common.connect.transfer = transfer;
            self.common.connect.fee = fee;
            self.emit_charge_change(json!({"balance_transaction": null}));
        }
    }

    pub(crate) fn intent_succeeds(&mut self, received: i64) {
        self.set_intent("succeeded");
        if let Some(intent) = &mut self.intent {
            intent.received = received;
            intent.capturable = 0;
        }
    }

    /// States that the last charge's captured amount went from `before` to `total`.
    pub(crate) fn captured(&mut self, before: i64, total: i64) {
        let charge = self.charge().id.clone();
        self.script.fact("payment.captured", &[&charge, &total.to_string()]);
        let (name, currency) = (self.name(), self.common.currency);
        let accounts = ("stripe_clearing", "unallocated");
        self.script.moves(("capture", &name), currency, total - before, accounts);
    }

    /// The last charge; every step that needs one comes after one was made.
    pub(crate) fn charge(&mut self) -> &mut Charge {
        self.charges.last_mut().expect("a charge is made first")
    }

    pub(crate) fn add_charge(&mut self, status: &'static str, captured: i64) {
        let paid = status == "succeeded" && captured > 0;
        let charge = Charge {
            id: self.script.id(if self.common.method == "card" { "ch" } else { "py" }),
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

    pub(crate) fn set_intent(&mut self, status: &'static str) {
        if let Some(intent) = &mut self.intent {
            intent.status = status;
            intent.last_error = Value::Null;
        }
    }

    pub(crate) fn intent_id(&self) -> Option<&str> {
        self.intent.as_ref().map(|intent| intent.id.as_str())
    }

    /// The Stripe id that names the payment: the intent's, else the charge's.
    pub(crate) fn name(&self) -> String {
        let charge = self.charges.last().map(|charge| charge.id.as_str());
        self.intent_id().or(charge).unwrap_or_default().to_owned()
    }

    pub(crate) fn charge_json(&mut self) -> Value {
        let shape = self.script.shape;
        let common = self.common.clone();
        self.charge().json(shape, &common)
    }

    /// Somebody writes metadata on the charge afterwards; the intent does not get it.
    pub(crate) fn label_charge(&mut self, links: Links) {
        self.script.request_after(SOON);
        self.common.metadata = links.metadata();
        self.links = links;
        self.emit_charge_change(json!({"metadata": {}}));
    }

    pub(crate) fn emit_charge(&mut self, kind: &'static str) {
        let object = self.charge_json();
        self.script.emit(kind, object);
    }

    pub(crate) fn emit_charge_change(&mut self, before: Value) {
        let object = self.charge_json();
        self.script.emit_change("charge.updated", object, before);
    }

    pub(crate) fn emit_intent(&mut self, kind: &'static str) -> String {
        let Some(intent) = &self.intent else { return String::new() };
        let object = intent.json(self.script.shape, &self.common, &self.charges);
        self.script.emit(kind, object)
    }

    /// Ends the payment's story: states its row, and what it holds.
    pub(crate) fn is(&mut self, status: &'static str, captured: i64, refunded: i64) {
        let held = Held {
            row: self.script.truth.txns.len(),
            name: self.name(),
            created: match (&self.intent, self.charges.last()) {
                (Some(intent), _) => intent.created,
                (None, charge) => charge.map_or(0, |charge| charge.created),
            },
            currency: self.common.currency.to_uppercase(),
            captured,
            left: captured - self.given_back(),
            links: self.links.clone(),
            destination: self.destination.clone(),
            application_fee: self.application_fee,
            is_own: self.script.account.is_none(),
        };
        let row = TxnRow {
            stripe_pi: self.intent_id().map(str::to_owned),
            stripe_ch: self.charges.last().map(|charge| charge.id.clone()),
            account: self.script.account.clone(),
            status,
            amount: self.amount,
            captured,
            refunded,
            currency: held.currency.clone(),
            quote_id: None,
            order_id: self.links.order.clone(),
            fee: 0,
            tax: 0,
            provider_id: None,
            destination_account: self.destination.as_ref().map(|to| to.account.clone()),
            reviews: self.reviews.clone(),
            fraud_warnings: self.fraud_warnings.clone(),
        };
        self.script.truth.txns.push(row);
        self.script.held.push(held);
    }
}

/// An amount that people pay, in the currency's minor units.
pub(crate) fn usual_amount(script: &mut Script<'_>, currency: &str) -> i64 {
    let amount = script.rng().between(500, 50_000);
    // Stripe takes three-decimal currencies in tens of the smallest unit only.
    if currency == "kwd" { amount * 10 } else { amount }
}
