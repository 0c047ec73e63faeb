//! Facts: what one record's object proves, and the domain event that tells it.
//!
//! Of several records that prove the same fact, the earliest gives its content and time
//! ([`Fact::precedes`]): a minimum register, so the order of arrival does not matter.

use crate::json;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Types of facts, and of the domain events that tell them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FactType {
    /// A payment intent exists.
    CheckoutInitiated,
    /// A charge holds an authorisation.
    PaymentAuthorized,
    /// Money was captured.
    PaymentCaptured,
    /// An attempt failed.
    PaymentFailed,
    /// A payment intent was canceled.
    PaymentCanceled,
    /// A refund of captured money exists.
    RefundIssued,
    /// A refund failed or was canceled.
    RefundFailed,
    /// A transfer to a connected account exists.
    TransferCreated,
    /// Part or all of a transfer came back.
    TransferReversed,
    /// A connected account's payout was paid.
    PayoutReleased,
    /// A payout failed.
    PayoutFailed,
    /// A dispute or inquiry exists.
    DisputeOpened,
    /// A dispute was won.
    DisputeWon,
    /// A dispute was lost.
    DisputeLost,
    /// A dispute or inquiry reached one of its ends.
    DisputeClosed,
    /// A dispute took money from the balance.
    DisputeFundsWithdrawn,
    /// A dispute gave money back to the balance.
    DisputeFundsReinstated,
    /// A connected account's projected state.
    ProviderUpdated,
}

impl FactType {
    /// Every type, in the order of docs/EVENTS.md.
    pub const ALL: [Self; 18] = [
        Self::CheckoutInitiated,
        Self::PaymentAuthorized,
        Self::PaymentCaptured,
        Self::PaymentFailed,
        Self::PaymentCanceled,
        Self::RefundIssued,
        Self::RefundFailed,
        Self::TransferCreated,
        Self::TransferReversed,
        Self::PayoutReleased,
        Self::PayoutFailed,
        Self::DisputeOpened,
        Self::DisputeWon,
        Self::DisputeLost,
        Self::DisputeClosed,
        Self::DisputeFundsWithdrawn,
        Self::DisputeFundsReinstated,
        Self::ProviderUpdated,
    ];

    /// The domain event's `type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CheckoutInitiated => "checkout.initiated",
            Self::PaymentAuthorized => "payment.authorized",
            Self::PaymentCaptured => "payment.captured",
            Self::PaymentFailed => "payment.failed",
            Self::PaymentCanceled => "payment.canceled",
            Self::RefundIssued => "refund.issued",
            Self::RefundFailed => "refund.failed",
            Self::TransferCreated => "transfer.created",
            Self::TransferReversed => "transfer.reversed",
            Self::PayoutReleased => "payout.released",
            Self::PayoutFailed => "payout.failed",
            Self::DisputeOpened => "dispute.opened",
            Self::DisputeWon => "dispute.won",
            Self::DisputeLost => "dispute.lost",
            Self::DisputeClosed => "dispute.closed",
            Self::DisputeFundsWithdrawn => "dispute.funds_withdrawn",
            Self::DisputeFundsReinstated => "dispute.funds_reinstated",
            Self::ProviderUpdated => "provider.updated",
        }
    }
}

/// What an object proves, before the record that carries it adds time and provenance.
#[derive(Debug, Clone, PartialEq)]
pub struct Proof {
    /// What is proved.
    pub kind: FactType,
    /// What it is about: with type and account it makes the fact's id.
    pub subject: String,
    /// Content of the domain event; money in minor units.
    pub data: Map<String, Value>,
    /// Whether it only holds if the aggregate bears it out (a refund, of captured money).
    pub conditional: bool,
}

/// A fact as one record proves it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fact {
    /// Id, the same for every proof.
    pub fact_id: String,
    /// Type of the domain event.
    pub kind: String,
    /// Stripe account that owns the object; empty when unknown.
    pub account: String,
    /// What the fact is about.
    pub subject: String,
    /// Object whose record proved it.
    pub object_id: String,
    /// Stripe's time of the proof, Unix seconds.
    pub created: i64,
    /// Event of the proof.
    pub event_id: String,
    /// False for test facts.
    pub livemode: bool,
    /// Content.
    pub data: Value,
    /// Whether it waits for the aggregate to bear it out.
    pub held: bool,
}

impl Fact {
    /// Whether this proof is the one to keep of two of the same fact: the earlier one, and of one
    /// second the one whose domain event has the smaller id, for that is what a consumer can see.
    /// Event and object only say where one and the same content comes from.
    pub fn precedes(&self, other: &Self) -> bool {
        (self.created, self.content_hash(), &self.event_id, &self.object_id)
            < (other.created, other.content_hash(), &other.event_id, &other.object_id)
    }

    /// SHA-256 of the domain event without its id. Its first 64 bits end that id.
    pub fn content_hash(&self) -> [u8; 32] {
        Sha256::digest(json::canonical(&self.body())).into()
    }

    /// The domain event that tells this fact.
    pub fn to_domain_event(&self) -> DomainEvent {
        let mut body = self.body();
        let id = format!("{}.{}", self.fact_id, hex::encode(&self.content_hash()[..8]));
        body["id"] = Value::String(id.clone());
        DomainEvent { id, payload: json::canonical(&body) }
    }

    /// The domain event without its id.
    fn body(&self) -> Value {
        let source = match self.account.as_str() {
            "" => "/stripe".to_owned(),
            account => format!("/stripe/{account}"),
        };
        json!({
            "specversion": "1.0",
            "source": source,
            "type": self.kind,
            "subject": self.subject,
            "time": rfc3339(self.created),
            "datacontenttype": "application/json",
            "factid": self.fact_id,
            "data": self.data,
        })
    }
}

/// A domain event, ready to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainEvent {
    /// The fact's id and a hash of the content, so that an id never carries two contents.
    pub id: String,
    /// `CloudEvents` 1.0 in JSON, on one line.
    pub payload: String,
}

/// Unix seconds as RFC 3339 in UTC. Times outside the years 0 to 9999 become the epoch: Stripe has
/// none, and a fact is not lost for its time.
pub fn rfc3339(unix: i64) -> String {
    OffsetDateTime::from_unix_timestamp(unix)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
        .format(&Rfc3339)
        .unwrap_or_else(|_| "1970-01-01T00:00:00Z".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id;

    fn fact(created: i64, amount: i64) -> Fact {
        Fact {
            fact_id: id::fact_id("payment.captured", "", "ch_1:100"),
            kind: "payment.captured".into(),
            account: String::new(),
            subject: "ch_1:100".into(),
            object_id: "ch_1".into(),
            created,
            event_id: "evt_1".into(),
            livemode: false,
            data: json!({"amount_cents": amount}),
            held: false,
        }
    }

    #[test]
    fn one_id_never_carries_two_contents() {
        let first = fact(10, 100).to_domain_event();
        assert_eq!(first, fact(10, 100).to_domain_event());
        assert_ne!(first.id, fact(11, 100).to_domain_event().id);
        assert_ne!(first.id, fact(10, 101).to_domain_event().id);
        assert!(first.id.starts_with(&fact(11, 100).fact_id));
    }

    #[test]
    fn the_earliest_proof_is_kept() {
        assert!(fact(10, 100).precedes(&fact(11, 100)));
        assert!(!fact(10, 100).precedes(&fact(10, 100)));
    }

    /// What EVENTS.md tells consumers to keep is what is kept here.
    #[test]
    fn of_one_second_the_smaller_id_is_kept_whatever_event_proved_it() {
        for amount in 0..50 {
            let (one, mut other) = (fact(10, 100), fact(10, amount));
            other.event_id = "evt_0".to_owned();
            let (id, other_id) = (one.to_domain_event().id, other.to_domain_event().id);
            assert!(id == other_id || one.precedes(&other) == (id < other_id), "{amount}");
        }
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(rfc3339(1_700_000_000), "2023-11-14T22:13:20Z");
        assert_eq!(rfc3339(i64::MAX), "1970-01-01T00:00:00Z");
    }
}
