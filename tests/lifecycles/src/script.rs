//! Writing down one story: time passes, events are emitted, truths are stated.

use crate::account::Connected;
use crate::books::Books;
use crate::settle::{self, Held};
use crate::{Event, Fact, Lifecycle, Quote, Rng, Scenario, Shape, Stripe, Truth};
use serde_json::{Value, json};

/// A story being told.
pub(crate) struct Script<'a> {
    pub(crate) stripe: &'a mut Stripe,
    pub(crate) shape: Shape,
    pub(crate) now: i64,
    /// Connected account that the next events are about.
    pub(crate) account: Option<String>,
    pub(crate) truth: Truth,
    pub(crate) quotes: Vec<Quote>,
    /// Payments whose allocation is settled at the end, when all that share a quote are told.
    pub(crate) held: Vec<Held>,
    books: Books,
    providers: Vec<(String, String)>,
    events: Vec<Event>,
    request: Value,
}

impl<'a> Script<'a> {
    pub(crate) fn new(stripe: &'a mut Stripe, shape: Shape) -> Self {
        let now = stripe.now;
        Self {
            stripe,
            shape,
            now,
            account: None,
            truth: Truth::default(),
            quotes: Vec::new(),
            held: Vec::new(),
            books: Books::default(),
            providers: Vec::new(),
            events: Vec::new(),
            request: json!({"id": null, "idempotency_key": null}),
        }
    }

    pub(crate) fn rng(&mut self) -> &mut Rng {
        &mut self.stripe.rng
    }

    pub(crate) fn id(&mut self, prefix: &str) -> String {
        self.rng().id(prefix)
    }

    /// One of the platform's connected accounts, with its link as an input of the story.
    pub(crate) fn pick_account(&mut self) -> Connected {
        let (id, linked) = self.stripe.pick_account();
        if let Some(provider) = &linked {
            self.link(provider, &id);
        }
        Connected { id, linked, named: None }
    }

    /// Somebody links a connected account to a provider.
    pub(crate) fn link(&mut self, provider: &str, account: &str) {
        self.providers.push((provider.to_owned(), account.to_owned()));
    }

    /// Somebody calls Stripe's API some seconds later: the next events are its outcome.
    pub(crate) fn request_after(&mut self, seconds: (i64, i64)) {
        self.now += self.stripe.rng.between(seconds.0, seconds.1);
        let id = self.id("req");
        let key = self.stripe.rng.coin().then(|| self.id("key"));
        self.request = json!({"id": id, "idempotency_key": key});
    }

    /// Stripe or a bank acts some days later, without a request.
    pub(crate) fn happens_after_days(&mut self, days: (i64, i64)) {
        self.now += self.stripe.rng.between(days.0 * 86_400, days.1 * 86_400) + 1;
        self.request = json!({"id": null, "idempotency_key": null});
    }

    /// Emits an event now and returns its id.
    pub(crate) fn emit(&mut self, kind: &'static str, object: Value) -> String {
        let body = self.envelope(kind, object);
        self.push(kind, body)
    }

    /// Emits an event that says what was before.
    pub(crate) fn emit_change(&mut self, kind: &'static str, object: Value, before: Value) {
        let mut body = self.envelope(kind, object);
        body["data"]["previous_attributes"] = before;
        self.push(kind, body);
    }

    /// Emits an event in the envelope of 2016: `request` was a string then.
    pub(crate) fn emit_of_old(&mut self, kind: &'static str, object: Value) {
        let mut body = self.envelope(kind, object);
        body["api_version"] = json!("2016-07-06");
        body["request"] = self.request["id"].clone();
        self.push(kind, body);
    }

    /// Emits a thin event: a notification without its object.
    pub(crate) fn emit_thin(&mut self, kind: &'static str, created: &str, related: &Value) {
        let body = json!({
            "id": self.id("evt"),
            "object": "v2.core.event",
            "context": null,
            "created": created,
            "livemode": self.stripe.livemode,
            "reason": null,
            "related_object": related,
            "type": kind,
        });
        self.push(kind, body);
    }

    fn envelope(&mut self, kind: &'static str, object: Value) -> Value {
        let mut body = json!({
            "id": self.id("evt"),
            "object": "event",
            "api_version": self.shape.api_version(),
            "created": self.now,
            "livemode": self.stripe.livemode,
            "pending_webhooks": self.stripe.rng.between(1, 3),
            "request": self.request,
            "type": kind,
        });
        body["data"]["object"] = object;
        if let Some(account) = &self.account {
            body["account"] = json!(account);
        }
        body
    }

    fn push(&mut self, kind: &'static str, body: Value) -> String {
        let id = body["id"].as_str().unwrap_or_default().to_owned();
        let account = self.account.clone();
        self.events.push(Event { id: id.clone(), kind, created: self.now, account, body });
        id
    }

    /// States a fact about the subject made of these parts.
    pub(crate) fn fact(&mut self, kind: &'static str, subject: &[&str]) {
        self.truth.facts.insert(Fact { kind, subject: subject.join(":") });
    }

    /// States that money moves for this subject (kind and Stripe id) from one ledger account to
    /// another. What belongs to a connected account is not in the platform's books.
    pub(crate) fn moves(
        &mut self,
        subject: (&'static str, &str),
        currency: &str,
        amount: i64,
        (to, from): (&'static str, &'static str),
    ) {
        self.post(subject, currency, to, "", amount);
        self.post(subject, currency, from, "", -amount);
    }

    /// States one side of a movement: debit positive, credit negative.
    pub(crate) fn post(
        &mut self,
        subject: (&'static str, &str),
        currency: &str,
        account: &'static str,
        party: &str,
        amount: i64,
    ) {
        if self.account.is_none() {
            self.books.post(subject, currency, account, party, amount);
        }
    }

    pub(crate) fn end(mut self, scenario: Scenario) -> Lifecycle {
        self.account = None;
        settle::settle(&mut self);
        self.truth.balances = self.books.close();
        Lifecycle {
            scenario,
            shape: self.shape,
            events: self.events,
            quotes: self.quotes,
            providers: self.providers,
            truth: self.truth,
        }
    }
}
