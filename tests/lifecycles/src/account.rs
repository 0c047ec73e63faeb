//! Connected accounts: who they are, and what becomes of them.

use crate::AccountRow;
use crate::script::Script;
use serde_json::{Value, json};

/// A connected account that money goes to, and who is behind it.
#[derive(Debug, Clone)]
pub(crate) struct Connected {
    pub(crate) id: String,
    /// By a row of `acc.provider_connect`.
    pub(crate) linked: Option<String>,
    /// By the account's own metadata.
    pub(crate) named: Option<String>,
}

impl Connected {
    /// An account of this story alone: linked, named by its metadata, both or neither.
    pub(crate) fn new(script: &mut Script<'_>) -> Self {
        let named = script.rng().coin().then(|| script.id("usr"));
        let mut account = Account::named(script, named.clone());
        account.activate(script);
        account.is(script, "active");
        let linked = script.rng().coin().then(|| script.id("usr"));
        if let Some(provider) = &linked {
            script.link(provider, &account.id);
        }
        Self { id: account.id, linked, named }
    }

    /// The provider: a link counts before what the account says.
    pub(crate) fn provider(&self) -> Option<&str> {
        self.linked.as_deref().or(self.named.as_deref())
    }

    /// The party of what is owed to it.
    pub(crate) fn party(&self) -> &str {
        self.provider().unwrap_or("unknown")
    }
}

/// A connected account from its beginning.
pub(crate) struct Account {
    pub(crate) id: String,
    created: i64,
    states: usize,
    provider_id: Option<String>,
}

impl Account {
    /// Somebody begins to sign up and has told nothing yet.
    pub(crate) fn begin(script: &mut Script<'_>) -> Self {
        let provider_id = script.rng().coin().then(|| script.id("usr"));
        Self::named(script, provider_id)
    }

    fn named(script: &mut Script<'_>, provider_id: Option<String>) -> Self {
        script.request_after((1, 40));
        let mut account =
            Self { id: script.id("acct"), created: script.now, states: 0, provider_id };
        account.speak(script, false, json!({"currently_due": ["external_account"]}));
        account
    }

    /// All that Stripe asked for is there.
    pub(crate) fn activate(&mut self, script: &mut Script<'_>) {
        script.request_after((600, 90_000));
        self.speak(script, true, json!({"currently_due": []}));
    }

    /// Something is overdue, and Stripe stops the payouts.
    pub(crate) fn restrict(&mut self, script: &mut Script<'_>) {
        script.happens_after_days((10, 30));
        let due = json!(["person_1.verification.document"]);
        let reason = "requirements.past_due";
        let requirements =
            json!({"currently_due": due, "past_due": due, "disabled_reason": reason});
        self.speak(script, false, requirements);
    }

    /// The account withdraws its permission. The event's object is the platform's application.
    pub(crate) fn deauthorise(&mut self, script: &mut Script<'_>) {
        self.permits(script, "account.application.deauthorized");
    }

    /// The account gives its permission again.
    pub(crate) fn authorise(&mut self, script: &mut Script<'_>) {
        self.permits(script, "account.application.authorized");
    }

    fn permits(&self, script: &mut Script<'_>, kind: &'static str) {
        script.request_after((600, 90_000));
        script.account = Some(self.id.clone());
        script.emit(kind, json!({"id": "ca_1", "object": "application", "name": "Platform"}));
        script.account = None;
    }

    /// States the account's status.
    pub(crate) fn is(&self, script: &mut Script<'_>, status: &'static str) {
        script.truth.accounts.push(AccountRow {
            stripe_acct: self.id.clone(),
            status,
            provider_id: self.provider_id.clone(),
            states: self.states,
        });
    }

    fn speak(&mut self, script: &mut Script<'_>, enabled: bool, requirements: Value) {
        let submitted = self.states > 0;
        let metadata = match &self.provider_id {
            Some(provider) => json!({"provider_id": provider}),
            None => json!({}),
        };
        let mut object = json!({
            "id": self.id,
            "object": "account",
            "capabilities": {"transfers": if enabled { "active" } else { "inactive" }},
            "charges_enabled": enabled,
            "country": "US",
            "created": self.created,
            "default_currency": "usd",
            "details_submitted": submitted,
            "email": null,
            "metadata": metadata,
            "payouts_enabled": enabled,
            "requirements": {
                "current_deadline": null,
                "currently_due": [],
                "disabled_reason": null,
                "errors": [],
                "eventually_due": [],
                "past_due": [],
                "pending_verification": [],
            },
            "type": "express",
        });
        if let Value::Object(fields) = requirements {
            for (field, value) in fields {
                object["requirements"][field] = value;
            }
        }
        script.account = Some(self.id.clone());
        script.emit_change("account.updated", object, json!({"capabilities": {}}));
        script.account = None;
        self.states += 1;
    }
}
