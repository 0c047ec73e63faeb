//! A small random number generator, so that a seed gives the same events on every machine.

const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// `SplitMix64`: fast, seeded, good enough for test data. Not for secrets.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// A generator that gives the same numbers for the same seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..bound`; 0 when the bound is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = bound as u64;
        usize::try_from(self.bits().checked_rem(bound).unwrap_or(0)).unwrap_or(0)
    }

    /// A number in `low..=high`.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        let span = high.abs_diff(low) + 1;
        low.saturating_add_unsigned(self.bits() % span)
    }

    /// True in about this share of calls (0 never, 1 always).
    pub fn chance(&mut self, share: f64) -> bool {
        // 53 bits fill the fraction of a double exactly.
        #[allow(clippy::cast_precision_loss)]
        let uniform = (self.bits() >> 11) as f64 / (1_u64 << 53) as f64;
        uniform < share
    }

    /// True half of the time.
    pub fn coin(&mut self) -> bool {
        self.bits() & 1 == 1
    }

    /// One of the items, which must not be empty.
    pub fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    /// A Stripe-like id: the prefix and 24 letters and digits.
    pub fn id(&mut self, prefix: &str) -> String {
        let tail = (0..23).map(|_| char::from(self.pick(ALPHABET)));
        format!("{prefix}_3{}", tail.collect::<String>())
    }
}
