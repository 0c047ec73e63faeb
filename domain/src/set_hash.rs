//! The hash of a set: the sum modulo 2^256 of its members' SHA-256, so that order does not matter
//! and no sorting is needed.

use std::fmt;

/// The sum of digests. The empty set is zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SetHash([u8; 32]);

impl SetHash {
    /// Adds a member's digest, both read as big-endian numbers.
    pub fn add(&mut self, digest: &[u8; 32]) {
        let mut carry = 0_u8;
        for (sum, byte) in self.0.iter_mut().zip(digest).rev() {
            let total = u16::from(*sum) + u16::from(*byte) + u16::from(carry);
            [carry, *sum] = total.to_be_bytes();
        }
    }

    /// Adds every member of another set.
    pub fn merge(&mut self, other: &Self) {
        self.add(&other.0);
    }
}

impl fmt::Display for SetHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sum(digests: &[[u8; 32]]) -> SetHash {
        let mut hash = SetHash::default();
        for digest in digests {
            hash.add(digest);
        }
        hash
    }

    #[test]
    fn carries_and_wraps() {
        let one = {
            let mut n = [0; 32];
            n[31] = 1;
            n
        };
        assert_eq!(sum(&[[0xff; 32], one]), SetHash::default());
        let mut half = [0; 32];
        half[31] = 0x80;
        let mut carried = [0; 32];
        carried[30] = 1;
        assert_eq!(sum(&[half, half]), SetHash(carried));
    }

    proptest! {
        #[test]
        fn order_does_not_matter(a: [u8; 32], b: [u8; 32], c: [u8; 32]) {
            prop_assert_eq!(sum(&[a, b, c]), sum(&[c, a, b]));
            let mut merged = sum(&[a]);
            merged.merge(&sum(&[b, c]));
            prop_assert_eq!(merged, sum(&[a, b, c]));
        }
    }
}
