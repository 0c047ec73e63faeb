//! The platform, its connected accounts, and the events that it gets.

use crate::scenario::Scenario;
use crate::script::Script;
use crate::{Quote, Rng, Shape, Truth};
use serde_json::Value;

/// How many connected accounts a platform has.
const ACCOUNTS: usize = 4;
/// How many of them are linked to a provider; nobody knows who the others are.
const LINKED: usize = 3;

/// One webhook event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Stripe's event id.
    pub id: String,
    /// Stripe's event type.
    pub kind: &'static str,
    /// Stripe's time, Unix seconds.
    pub created: i64,
    /// The connected account, where the event is about one.
    pub account: Option<String>,
    /// The whole event.
    pub body: Value,
}

impl Event {
    /// The request's body: indented JSON, as Stripe sends it.
    pub fn to_body(&self) -> String {
        format!("{:#}", self.body)
    }
}

/// One story from begin to end.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    /// Which story it is.
    pub scenario: Scenario,
    /// The API version that shapes its events.
    pub shape: Shape,
    /// Events in the order in which Stripe made them.
    pub events: Vec<Event>,
    /// Rows of `pay.quote` that belong to it; they may come at any moment.
    pub quotes: Vec<Quote>,
    /// Links of `acc.provider_connect` that it needs, as (user, connected account); they may come
    /// at any moment. Lifecycles that share an account have the same link.
    pub providers: Vec<(String, String)>,
    /// What events, quotes and providers together must come to.
    pub truth: Truth,
}

/// A platform on Stripe, deterministic by its seed.
#[derive(Debug, Clone)]
pub struct Stripe {
    pub(crate) rng: Rng,
    pub(crate) now: i64,
    pub(crate) livemode: bool,
    accounts: Vec<String>,
    links: Vec<(String, String)>,
}

impl Stripe {
    /// A platform in test mode whose first event is at or after `start_time` (Unix seconds).
    pub fn new(seed: u64, start_time: i64) -> Self {
        let mut rng = Rng::new(seed);
        let accounts: Vec<_> = (0..ACCOUNTS).map(|_| rng.id("acct")).collect();
        let linked = accounts.iter().take(LINKED);
        let links = linked.map(|account| (rng.id("usr"), account.clone())).collect();
        Self { rng, now: start_time, livemode: false, accounts, links }
    }

    /// The same platform with events that say `livemode: true`.
    #[must_use]
    pub fn live(mut self) -> Self {
        self.livemode = true;
        self
    }

    /// The connected accounts that transfers and payouts go to.
    pub fn accounts(&self) -> &[String] {
        &self.accounts
    }

    /// Who is behind those accounts, as (user, connected account), as far as anybody knows.
    pub fn providers(&self) -> &[(String, String)] {
        &self.links
    }

    /// A lifecycle of this scenario, in any API version that has it.
    pub fn lifecycle(&mut self, scenario: Scenario) -> Lifecycle {
        let shape = self.rng.pick(scenario.shapes());
        self.lifecycle_in(scenario, shape)
    }

    /// A lifecycle of this scenario in the shape of this API version. Where that version does not
    /// have it ([`Scenario::shapes`]), the first that does: [`Lifecycle::shape`] says which.
    pub fn lifecycle_in(&mut self, scenario: Scenario, shape: Shape) -> Lifecycle {
        let shapes = scenario.shapes();
        let shape = if shapes.contains(&shape) { shape } else { shapes[0] };
        // Stories overlap in time: the next begins soon, however long this one takes.
        self.now += self.rng.between(0, 20);
        let mut script = Script::new(self, shape);
        scenario.play(&mut script);
        script.end(scenario)
    }

    /// This many lifecycles: each scenario in turn, so that a hundred hold all of them.
    pub fn mixed(&mut self, count: usize) -> Vec<Lifecycle> {
        Scenario::ALL.iter().cycle().take(count).map(|scenario| self.lifecycle(*scenario)).collect()
    }

    /// One of the connected accounts, and the provider it is linked to.
    pub(crate) fn pick_account(&mut self) -> (String, Option<String>) {
        let index = self.rng.below(self.accounts.len());
        let linked = self.links.get(index).map(|(provider, _)| provider.clone());
        (self.accounts[index].clone(), linked)
    }
}
