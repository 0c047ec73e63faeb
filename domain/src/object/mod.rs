//! Stripe's objects: what one snapshot of each modelled kind says.
//!
//! A kind is one module and one line in [`KINDS`]. Objects of other kinds keep their newest
//! snapshot and prove nothing.

use crate::fact::{FactType, Proof};
use crate::json::{Doc, Malformed};
use crate::order::Standing;
use crate::settings::MetadataKeys;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

pub mod account;
pub mod application_fee;
pub mod authorization;
pub mod capability;
pub mod charge;
pub mod checkout_session;
pub mod dispute;
pub mod invoice;
pub mod payment_intent;
pub mod payout;
pub mod refund;
pub mod review;
pub mod transfer;

/// Every modelled kind.
static KINDS: [Kind; 17] = [
    payment_intent::KIND,
    charge::KIND,
    refund::KIND,
    dispute::KIND,
    checkout_session::KIND,
    review::REVIEW_KIND,
    review::WARNING_KIND,
    application_fee::KIND,
    application_fee::SHARE_KIND,
    application_fee::REFUND_KIND,
    payout::KIND,
    transfer::KIND,
    invoice::KIND,
    invoice::PAYMENT_KIND,
    account::KIND,
    authorization::KIND,
    capability::KIND,
];

/// A modelled kind of object.
pub struct Kind {
    /// Stripe's `object` field.
    pub name: &'static str,
    /// What a snapshot says.
    read: fn(Doc<'_>, &Context<'_>) -> Result<Reading, Malformed>,
}

impl Kind {
    /// The modelled kind of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        KINDS.iter().find(|kind| kind.name == name)
    }

    /// The names of every modelled kind.
    pub fn names() -> impl Iterator<Item = &'static str> {
        KINDS.iter().map(|kind| kind.name)
    }

    /// The status that a snapshot of this kind shows; empty where it has none.
    pub fn status(&self, doc: Doc<'_>) -> String {
        let context = Context {
            account: "",
            connected: false,
            event_id: "",
            keys: &MetadataKeys::default(),
            platforms: &BTreeSet::new(),
        };
        self.read(doc, &context).map(|reading| reading.standing.status).unwrap_or_default()
    }

    /// What a snapshot of this kind says.
    pub fn read(&self, doc: Doc<'_>, context: &Context<'_>) -> Result<Reading, Malformed> {
        (self.read)(doc, context)
    }
}

/// What the record around a snapshot says.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Stripe account that owns the object; empty when unknown.
    pub account: &'a str,
    /// Whether that account is connected to the platform whose endpoint received the record.
    pub connected: bool,
    /// Event id.
    pub event_id: &'a str,
    /// Names of our keys in Stripe's metadata.
    pub keys: &'a MetadataKeys,
    /// The platform's own Stripe accounts.
    pub platforms: &'a BTreeSet<String>,
}

/// Key of an object: Stripe ids are looked up within the account that owns them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectKey {
    /// Stripe account that owns the object; empty when unknown.
    pub account: String,
    /// Stripe id.
    pub id: String,
}

impl ObjectKey {
    /// The key of this id in this account.
    pub fn new(account: impl Into<String>, id: impl Into<String>) -> Self {
        Self { account: account.into(), id: id.into() }
    }

    /// The key of an account, which owns itself whoever speaks of it.
    pub fn of_account(id: &str) -> Self {
        Self::new(id, id)
    }
}

/// What one snapshot says by itself.
#[derive(Debug, Default)]
pub struct Reading {
    /// Its place in the object's life.
    pub standing: Standing,
    /// Ids of the same aggregate that it names.
    pub links: Vec<String>,
    /// Whole objects inside it, as older API versions and expansions nest them.
    pub nested: Vec<Value>,
    /// What it shows to have happened.
    pub shows: Shows,
    /// What it proves.
    pub proofs: Vec<Proof>,
}

/// What a snapshot shows to have happened; the earliest record that shows it gives its time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shows {
    /// Money was authorised.
    pub authorized: bool,
    /// Money was captured.
    pub captured: bool,
    /// The object failed or was canceled.
    pub failed: bool,
}

/// Content of a domain event, built field by field.
#[derive(Debug, Default)]
struct Data(Map<String, Value>);

impl Data {
    /// The fields that every event about this payment has.
    fn of_payment(doc: Doc<'_>, context: &Context<'_>) -> Self {
        let keys = context.keys;
        Self::default()
            .with("quote_id", doc.metadata(&keys.quote_id))
            .with("order_id", doc.metadata(&keys.order_id))
            .with("provider_id", doc.metadata(&keys.provider_id))
    }

    /// With this field, unless there is nothing to say.
    fn with(mut self, field: &str, value: Option<impl Into<Value>>) -> Self {
        if let Some(value) = value {
            self.0.insert(field.to_owned(), value.into());
        }
        self
    }

    /// The proof with this content.
    fn proves(self, kind: FactType, subject: impl Into<String>) -> Proof {
        Proof { kind, subject: subject.into(), data: self.0, conditional: false }
    }
}

/// The objects of a list, and the expanded objects in these fields.
fn nested(doc: Doc<'_>, lists: &[&str], fields: &[&str]) -> Vec<Value> {
    let listed = lists.iter().flat_map(|field| doc.list(field));
    let expanded = fields.iter().filter_map(|field| doc.get(field));
    listed.chain(expanded).filter(|value| value.is_object()).cloned().collect()
}

/// The connected account that gets the money of a destination charge, in the name since 2018 or the
/// one before. <https://docs.stripe.com/connect/destination-charges>
pub fn destination(doc: Doc<'_>) -> Option<&str> {
    let transfer = doc.child("transfer_data");
    let named = transfer.and_then(|transfer| transfer.id_of("destination"));
    named.or_else(|| doc.id_of("destination")).filter(|id| id.starts_with("acct_"))
}

/// The ids in these fields.
fn ids(doc: Doc<'_>, fields: &[&str]) -> Vec<String> {
    fields.iter().filter_map(|field| doc.id_of(field)).map(str::to_owned).collect()
}
