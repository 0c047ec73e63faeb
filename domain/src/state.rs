//! What is known of an object: a join of everything that was said about it.
//!
//! Every part is a maximum register, a minimum register or a growing set, so joining is
//! commutative, associative and idempotent: the same set of records gives the same state in any
//! order, any number of times, in any split.

use crate::object::ObjectKey;
use crate::order::{Newest, earliest};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;

/// The object as one record showed it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Stripe's `object` field.
    pub kind: String,
    /// The object as Stripe sent it.
    pub doc: Value,
    /// Stripe's time of the record, Unix seconds.
    pub created: i64,
    /// Event that carried it.
    pub event_id: String,
    /// API version of its shape, where Stripe said one.
    pub api_version: Option<String>,
    /// False for test objects.
    pub livemode: bool,
    /// Whether the record says that the object was deleted.
    pub deleted: bool,
}

impl Snapshot {
    /// Whether Stripe was asked for it, rather than sending it.
    pub fn is_fetched(&self) -> bool {
        self.event_id.starts_with("fetch_")
    }
}

/// Times of the earliest records that show something, Unix seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Milestones {
    /// Authorised.
    pub authorized_at: Option<i64>,
    /// Captured.
    pub captured_at: Option<i64>,
    /// Failed or canceled.
    pub failed_at: Option<i64>,
}

impl Milestones {
    fn join(self, other: Self) -> Self {
        Self {
            authorized_at: earliest(self.authorized_at, other.authorized_at),
            captured_at: earliest(self.captured_at, other.captured_at),
            failed_at: earliest(self.failed_at, other.failed_at),
        }
    }
}

/// Everything known of one object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObjectState {
    /// Which object.
    pub key: ObjectKey,
    /// Its newest snapshot; `None` while it was only named.
    pub newest: Option<Newest<Snapshot>>,
    /// Ids of the same aggregate that it names or that name it.
    pub links: BTreeSet<String>,
    /// Whether any record said that a connected account owns it.
    pub connected: bool,
    /// When what was first shown.
    pub milestones: Milestones,
}

impl ObjectState {
    /// An object of which nothing is known but its name.
    pub fn named(key: ObjectKey) -> Self {
        Self {
            key,
            newest: None,
            links: BTreeSet::new(),
            connected: false,
            milestones: Milestones::default(),
        }
    }

    /// Everything that either knows. Both are about the same object.
    #[must_use]
    pub fn join(mut self, other: Self) -> Self {
        assert_eq!(self.key, other.key, "states of two objects cannot be joined");
        self.links.extend(other.links);
        Self {
            key: self.key,
            newest: match (self.newest, other.newest) {
                (Some(a), Some(b)) => Some(a.join(b)),
                (a, b) => a.or(b),
            },
            links: self.links,
            connected: self.connected || other.connected,
            milestones: self.milestones.join(other.milestones),
        }
    }
}

/// What a state amounts to, without its content: equal marks are equal states of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    newest: Option<(crate::order::OrderingKey, bool)>,
    links: usize,
    connected: bool,
    milestones: Milestones,
}

impl ObjectState {
    /// The mark to compare before and after a join.
    pub fn mark(&self) -> Mark {
        Mark {
            newest: self.newest.as_ref().map(|newest| (newest.key.clone(), newest.tied)),
            links: self.links.len(),
            connected: self.connected,
            milestones: self.milestones,
        }
    }
}
