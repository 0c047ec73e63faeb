//! The total order of records about one object, and the register that keeps the newest.
//!
//! Arrival order means nothing: Stripe repeats and reorders. Of all records about an object the one
//! with the greatest [`OrderingKey`] is its state, whatever order they came in. Keys compare as
//! bytes, so that Rust and PostgreSQL agree.

use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// What a snapshot says about its own place in the object's life.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// 0 for a passing state; a final state outranks every later record of a lower rank.
    pub final_rank: u8,
    /// Counters that only grow (captured, received, reversed amounts; balance transactions).
    pub counters: [i64; 2],
    /// Rank of the status among those that one second can show.
    pub status_rank: u8,
    /// Stripe's own status; empty where the object has none.
    pub status: String,
}

/// Where a record comes from, as far as the order cares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// Stripe's time of the event, Unix seconds.
    pub created: i64,
    /// Whether Stripe sent it as an event, rather than as an answer to a question.
    pub is_event: bool,
    /// Event id, or `fetch_` and a hash.
    pub event_id: String,
}

/// A record's place in the total order of records about one object. Compares as bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OrderingKey(Vec<u8>);

/// Bytes up to which two records speak of the same moment: final rank, time, counters.
const MOMENT_LEN: usize = 1 + 8 + 2 * 8;

impl OrderingKey {
    /// The key of a record with this standing, provenance and content.
    pub fn new(standing: &Standing, from: &Provenance, data_hash: &[u8; 32]) -> Self {
        let mut key =
            Vec::with_capacity(MOMENT_LEN + 2 + from.event_id.len() + 1 + data_hash.len());
        key.push(standing.final_rank);
        key.extend(sortable(from.created));
        for counter in standing.counters {
            key.extend(sortable(counter));
        }
        key.push(standing.status_rank);
        key.push(u8::from(from.is_event));
        // Ids hold no zero byte, so one ends them and shorter ones sort first.
        key.extend_from_slice(from.event_id.as_bytes());
        key.push(0);
        key.extend_from_slice(data_hash);
        Self(key)
    }

    /// A key read back from storage.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes to store.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn moment(&self) -> &[u8] {
        &self.0[..MOMENT_LEN.min(self.0.len())]
    }

    fn is_final(&self) -> bool {
        self.0.first().is_some_and(|rank| *rank > 0)
    }

    /// Whether two records of one moment disagree about a passing status, so that no order can say
    /// which is newer and Stripe must be asked.
    fn ties_with(&self, status: &str, other: &Self, other_status: &str) -> bool {
        self.moment() == other.moment() && !self.is_final() && status != other_status
    }
}

/// Big-endian with the sign flipped: compares as bytes like the number.
fn sortable(number: i64) -> [u8; 8] {
    (number.cast_unsigned() ^ (1 << 63)).to_be_bytes()
}

/// A maximum register: the newest of the records seen, and whether its moment is disputed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Newest<T> {
    /// Place of the newest record.
    pub key: OrderingKey,
    /// Its status.
    pub status: String,
    /// Whether another record of the same moment shows another passing status.
    pub tied: bool,
    /// What the newest record says.
    pub value: T,
}

impl<T> Newest<T> {
    /// Keeps the newer of both. Joining is commutative, associative and idempotent.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        let tie = self.key.ties_with(&self.status, &other.key, &other.status);
        let same_moment = self.key.moment() == other.key.moment();
        let (mut newest, older) =
            if self.key.cmp(&other.key) == Ordering::Less { (other, self) } else { (self, other) };
        newest.tied |= tie || (same_moment && older.tied);
        newest
    }
}

/// A minimum register of Unix seconds: the earliest of what was shown.
pub fn earliest(a: Option<i64>, b: Option<i64>) -> Option<i64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record() -> impl Strategy<Value = Newest<u8>> {
        (0..2u8, 0..2i64, 0..2i64, 0..3u8, any::<bool>(), 0..3u8).prop_map(
            |(final_rank, created, counter, status_rank, is_event, event)| {
                let status = status_rank.to_string();
                let standing = Standing {
                    final_rank,
                    counters: [counter, 0],
                    status_rank,
                    status: status.clone(),
                };
                let from = Provenance { created, is_event, event_id: format!("evt_{event}") };
                let key = OrderingKey::new(&standing, &from, &[event; 32]);
                Newest { key, status, tied: false, value: event }
            },
        )
    }

    proptest! {
        #[test]
        fn join_is_a_semilattice(a in record(), b in record(), c in record()) {
            prop_assert_eq!(a.clone().join(a.clone()), a.clone());
            prop_assert_eq!(a.clone().join(b.clone()), b.clone().join(a.clone()));
            prop_assert_eq!(a.clone().join(b.clone()).join(c.clone()), a.join(b.join(c)));
        }

        #[test]
        fn numbers_sort_as_bytes(a in any::<i64>(), b in any::<i64>()) {
            prop_assert_eq!(a.cmp(&b), sortable(a).cmp(&sortable(b)));
        }
    }

    /// A record of second 10 or later, with this standing.
    fn at(created: i64, final_rank: u8, counter: i64, status: &str) -> Newest<String> {
        let standing = Standing {
            final_rank,
            counters: [counter, 0],
            status_rank: u8::from(status == "under_review"),
            status: status.into(),
        };
        let from = Provenance { created, is_event: true, event_id: "evt_1".into() };
        let key = OrderingKey::new(&standing, &from, &[0; 32]);
        Newest { key, status: status.into(), tied: false, value: status.to_owned() }
    }

    #[test]
    fn a_final_state_outranks_a_later_passing_one() {
        let newest = at(10, 1, 0, "succeeded").join(at(11, 0, 0, "processing"));
        assert_eq!(newest.value, "succeeded");
        assert!(!newest.tied);
    }

    #[test]
    fn what_stripe_sent_is_newer_than_an_answer_of_the_same_second() {
        let of = |is_event, event_id: &str| {
            let from = Provenance { created: 10, is_event, event_id: event_id.into() };
            OrderingKey::new(&Standing::default(), &from, &[0; 32])
        };
        assert!(of(true, "evt_1") > of(false, "fetch_1"));
    }

    #[test]
    fn within_a_second_what_counted_further_is_newer() {
        let newest = at(10, 0, 2, "needs_response").join(at(10, 0, 1, "under_review"));
        assert_eq!(newest.value, "needs_response");
        assert!(!newest.tied, "the counter tells them apart");
    }

    #[test]
    fn two_passing_states_of_one_moment_are_a_tie_until_a_later_record() {
        let tied = at(10, 0, 1, "needs_response").join(at(10, 0, 1, "under_review"));
        assert_eq!((tied.value.as_str(), tied.tied), ("under_review", true));
        assert!(tied.clone().join(at(10, 0, 1, "under_review")).tied);
        assert!(!tied.join(at(11, 0, 1, "under_review")).tied);
        assert!(!at(10, 1, 0, "succeeded").join(at(10, 1, 0, "failed")).tied, "both are final");
    }
}
