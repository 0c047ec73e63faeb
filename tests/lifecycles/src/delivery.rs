//! How events arrive: repeated, reordered, in batches of any size.

use crate::Rng;

/// A seeded, unkind postman.
#[derive(Debug, Clone)]
pub struct Delivery(Rng);

impl Delivery {
    /// The same seed delivers the same way.
    pub fn new(seed: u64) -> Self {
        Self(Rng::new(seed))
    }

    /// Puts the items into a random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.0.below(last + 1));
        }
    }

    /// Every item, and about this share of them twice, the copy right behind.
    pub fn duplicated<T: Clone>(&mut self, items: &[T], share: f64) -> Vec<T> {
        let mut delivered = Vec::with_capacity(items.len());
        for item in items {
            delivered.push(item.clone());
            if self.0.chance(share) {
                delivered.push(item.clone());
            }
        }
        delivered
    }

    /// Splits into batches of 1 to `max` items (at least 1).
    pub fn batches<T: Clone>(&mut self, items: &[T], max: usize) -> Vec<Vec<T>> {
        let mut batches = Vec::new();
        let mut rest = items;
        while !rest.is_empty() {
            let (batch, later) = rest.split_at((self.0.below(max) + 1).min(rest.len()));
            batches.push(batch.to_vec());
            rest = later;
        }
        batches
    }
}
