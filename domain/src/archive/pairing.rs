//! Segments that are listed by the bucket and by manifests, matched as they come.

use std::collections::BTreeSet;

/// Matches keys that come from two sides in roughly the same order. It keeps only what has come from
/// one side, so it is as large as the two orders differ.
#[derive(Debug, Default)]
pub struct Pairing {
    stored: BTreeSet<String>,
    named: BTreeSet<String>,
}

impl Pairing {
    /// A segment that is in the bucket.
    pub fn stored(&mut self, key: String) {
        if !self.named.remove(&key) {
            self.stored.insert(key);
        }
    }

    /// A segment that a manifest names.
    pub fn named(&mut self, key: &str) {
        if !self.stored.remove(key) {
            self.named.insert(key.to_owned());
        }
    }

    /// How many wait for their other side.
    pub fn waiting(&self) -> usize {
        self.stored.len() + self.named.len()
    }

    /// The segments that are in the bucket and that no manifest names.
    pub fn unnamed(self) -> BTreeSet<String> {
        self.stored
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_both_sides_is_forgotten() {
        let mut pairing = Pairing::default();
        pairing.stored("a".to_owned());
        pairing.named("b");
        pairing.named("a");
        pairing.stored("c".to_owned());
        assert_eq!(pairing.waiting(), 2);
        pairing.stored("b".to_owned());
        assert_eq!(pairing.unnamed(), BTreeSet::from(["c".to_owned()]));
    }
}
