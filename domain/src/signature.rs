//! The `Stripe-Signature` header: what it says, and whether it is true of a body.
//!
//! The header is `t=UNIX_SECONDS,v1=HEX,…`. Each `v1` is the lower-case hex of HMAC-SHA256 over
//! `t + "." + body`, keyed with an endpoint's whole secret (`whsec_` included). Any `v1` may match
//! any active secret, so that secrets can be rolled; other schemes are ignored.
//!
//! The order of checks decides which reason is given: the header's form, then whether there is a
//! body, then the signature, and the time last. So `timestamp_outside_tolerance` always means
//! a genuine signature: a replay, a long delay or a wrong clock, never a guess.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// How far the header's time may lie from ours, both ways, unless set otherwise: seconds.
pub const DEFAULT_TOLERANCE_S: u64 = 300;

/// Bytes of an HMAC-SHA256.
const MAC_LEN: usize = 32;

/// Why a request is not from Stripe, or not provably so. Each has a stable code, which is the
/// answer's body and a metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// No header, or an empty one.
    #[error("there is no Stripe-Signature header")]
    MissingHeader,
    /// Not a list of `key=value` with exactly one numeric `t`.
    #[error("the Stripe-Signature header is not of the form t=SECONDS,v1=HEX")]
    MalformedHeader,
    /// Well formed, but without the one scheme that proves anything.
    #[error("the Stripe-Signature header has no v1 signature")]
    NoV1Signature,
    /// A body of no bytes: Stripe never sends one.
    #[error("the body is empty")]
    NoPayload,
    /// No `v1` matches the body with any of the secrets.
    #[error("no v1 signature matches this body with any active secret")]
    NoMatchingSignature,
    /// The signature is genuine, its time too far from ours.
    #[error("the signature is genuine but its timestamp is outside the tolerance")]
    TimestampOutsideTolerance,
}

impl Refusal {
    /// Every refusal, for whoever wants to show them all from the start.
    pub const ALL: [Self; 6] = [
        Self::MissingHeader,
        Self::MalformedHeader,
        Self::NoV1Signature,
        Self::NoPayload,
        Self::NoMatchingSignature,
        Self::TimestampOutsideTolerance,
    ];

    /// The stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::MissingHeader => "missing_header",
            Self::MalformedHeader => "malformed_header",
            Self::NoV1Signature => "no_v1_signature",
            Self::NoPayload => "no_payload",
            Self::NoMatchingSignature => "no_matching_signature",
            Self::TimestampOutsideTolerance => "timestamp_outside_tolerance",
        }
    }
}

/// A header taken apart, borrowing from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature<'a> {
    /// `t`, Unix seconds.
    pub timestamp: u64,
    /// `t` as it was written: that text is what was signed.
    text: &'a str,
    header: &'a str,
}

impl<'a> Signature<'a> {
    /// The `v1` values in their order, whatever they look like.
    pub fn v1(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        elements(self.header).filter_map(|element| element.strip_prefix("v1="))
    }

    /// How many elements belong to schemes that are ignored (`v0` in test mode).
    pub fn ignored(&self) -> usize {
        elements(self.header).filter(|e| !e.starts_with("v1=") && !e.starts_with("t=")).count()
    }
}

/// The comma separated elements, without the spaces around them and without empty ones.
fn elements(header: &str) -> impl Iterator<Item = &str> {
    header.split(',').map(str::trim).filter(|element| !element.is_empty())
}

/// Takes the header apart. Extra elements are fine as long as they are `key=value`.
pub fn parse(header: &str) -> Result<Signature<'_>, Refusal> {
    if header.trim().is_empty() {
        return Err(Refusal::MissingHeader);
    }
    let mut text = None;
    for element in elements(header) {
        match element.split_once('=') {
            Some(("t", value)) if text.is_none() => text = Some(value),
            Some(("t", _)) | None => return Err(Refusal::MalformedHeader),
            Some(_) => {}
        }
    }
    let text = text.ok_or(Refusal::MalformedHeader)?;
    // `parse` alone would accept a sign.
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Refusal::MalformedHeader);
    }
    let timestamp = text.parse().map_err(|_| Refusal::MalformedHeader)?;
    let signature = Signature { timestamp, text, header };
    if signature.v1().next().is_none() {
        return Err(Refusal::NoV1Signature);
    }
    Ok(signature)
}

/// An endpoint's secret, ready to verify with. Shows nothing of itself.
#[derive(Clone)]
pub struct Key(Hmac<Sha256>);

impl Key {
    /// `secret` is used whole, its prefix included.
    pub fn new(secret: &str) -> Self {
        // HMAC takes keys of any length; a key that it refused would match nothing.
        Self(Hmac::new_from_slice(secret.as_bytes()).unwrap_or_else(|_| Hmac::new(&[0; 64].into())))
    }

    fn mac(&self, timestamp: &str, body: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(timestamp.as_bytes());
        mac.update(b".");
        mac.update(body);
        mac
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

/// Verifies a request and returns the index of the key that matched. `now_s` is our time in Unix
/// seconds; `tolerance_s` of 0 means that the time is not checked.
pub fn verify(
    header: Option<&str>,
    body: &[u8],
    keys: &[Key],
    now_s: u64,
    tolerance_s: u64,
) -> Result<usize, Refusal> {
    let signature = parse(header.ok_or(Refusal::MissingHeader)?)?;
    if body.is_empty() {
        return Err(Refusal::NoPayload);
    }
    let matched = keys
        .iter()
        .position(|key| {
            let mac = key.mac(signature.text, body);
            // `verify_slice` takes the same time wherever the two differ.
            signature.v1().filter_map(lower_hex).any(|v1| mac.clone().verify_slice(&v1).is_ok())
        })
        .ok_or(Refusal::NoMatchingSignature)?;
    if tolerance_s > 0 && now_s.abs_diff(signature.timestamp) > tolerance_s {
        return Err(Refusal::TimestampOutsideTolerance);
    }
    Ok(matched)
}

/// 32 bytes of lower-case hex, or `None`.
fn lower_hex(text: &str) -> Option<[u8; MAC_LEN]> {
    let mut bytes = [0; MAC_LEN];
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(bytes)
}

/// The header that Stripe would send for `body` at `timestamp` (Unix seconds).
pub fn sign(secret: &str, timestamp: u64, body: &[u8]) -> String {
    let mac = Key::new(secret).mac(&timestamp.to_string(), body).finalize();
    let mut header = format!("t={timestamp},v1=");
    for byte in mac.into_bytes() {
        let _ = write!(header, "{byte:02x}");
    }
    header
}

#[cfg(test)]
#[path = "signature_tests.rs"]
mod tests;
