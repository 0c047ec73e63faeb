//! Writing down one story: time passes, events are emitted, truths are stated.

use crate::object::Shape;
use crate::{Event, Fact, Rng, Stripe, Truth};
use serde_json::{Value, json};

/// A story being told.
pub(crate) struct Script<'a> {
    pub(crate) stripe: &'a mut Stripe,
    pub(crate) shape: Shape,
    pub(crate) now: i64,
    /// Connected account that the next events are about.
    pub(crate) account: Option<String>,
    pub(crate) truth: Truth,
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
        self.push(kind, object, None)
    }

    /// Emits an event that says what was before.
    pub(crate) fn emit_change(&mut self, kind: &'static str, object: Value, before: Value) {
        self.push(kind, object, Some(before));
    }

    fn push(&mut self, kind: &'static str, object: Value, before: Option<Value>) -> String {
        let id = self.id("evt");
        let mut body = json!({
            "id": id,
            "object": "event",
            "api_version": self.shape.api_version(),
            "created": self.now,
            "livemode": self.stripe.livemode,
            "pending_webhooks": self.stripe.rng.between(1, 3),
            "request": self.request,
            "type": kind,
        });
        body["data"]["object"] = object;
        if let Some(before) = before {
            body["data"]["previous_attributes"] = before;
        }
        if let Some(account) = &self.account {
            body["account"] = json!(account);
        }
        let account = self.account.clone();
        self.events.push(Event { id: id.clone(), kind, created: self.now, account, body });
        id
    }

    /// States a fact about the subject made of these parts.
    pub(crate) fn fact(&mut self, kind: &'static str, subject: &[&str]) {
        self.truth.facts.insert(Fact { kind, subject: subject.join(":") });
    }

    pub(crate) fn end(self) -> (Vec<Event>, Truth) {
        (self.events, self.truth)
    }
}
