//! Ids of our own, derived from Stripe's, so that a rebuild gives the same.

use sha2::{Digest, Sha256};

/// Id of the payment of this intent, or of this charge without an intent.
pub fn txn_id(account: &str, stripe_id: &str) -> String {
    derive("txn", &[account, stripe_id])
}

/// Id of a refund's row.
pub fn refund_id(account: &str, stripe_id: &str) -> String {
    derive("rfd", &[account, stripe_id])
}

/// Id of a dispute's row.
pub fn dispute_id(account: &str, stripe_id: &str) -> String {
    derive("dsp", &[account, stripe_id])
}

/// Id of a transfer's or payout's row.
pub fn payout_id(account: &str, stripe_id: &str) -> String {
    derive("pot", &[account, stripe_id])
}

/// Id of an invoice's row.
pub fn invoice_id(account: &str, stripe_id: &str) -> String {
    derive("inv", &[account, stripe_id])
}

/// Id of a fact: the same for every record that proves it.
pub fn fact_id(kind: &str, account: &str, subject: &str) -> String {
    derive("fct", &[kind, account, subject])
}

/// The first 128 bits of SHA-256 over the parts, each ended by a zero byte, in hex.
fn derive(prefix: &str, parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    format!("{prefix}_{}", hex::encode(&hash.finalize()[..16]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differs_by_account_and_by_where_a_part_ends() {
        assert_ne!(txn_id("acct_1", "pi_1"), txn_id("", "pi_1"));
        assert_ne!(txn_id("ab", "c"), txn_id("a", "bc"));
        assert_eq!(txn_id("", "pi_1").len(), "txn_".len() + 32);
    }
}
