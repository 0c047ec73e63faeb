//! What an archived record still proves: that Stripe signed it, and when it was received.

use crate::endpoint::{DEFAULT, Endpoints};
use crate::record::{RawRecord, header};
use crate::signature::{self, Refusal};

/// What came of looking at a record's signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// Stripe signed this body, within the tolerance of its receipt.
    Genuine,
    /// No secret of its endpoint is given, so nobody can tell.
    NoSecret,
    /// It did not come as a webhook: nobody has signed it.
    Unsigned,
    /// It is not genuine.
    Refused(Refusal),
}

/// Verifies a webhook as ingest did when it came: the header's time against the time of receipt. A
/// record that does not say when it was received is verified without its time. `tolerance_s` is
/// in seconds; 0 does not check the time.
pub fn prove(record: &RawRecord, endpoints: &Endpoints, tolerance_s: u64) -> Proof {
    if record.header(header::SOURCE) != Some("webhook") {
        return Proof::Unsigned;
    }
    let name = record.header(header::ENDPOINT).unwrap_or(DEFAULT);
    let Some(endpoint) = endpoints.get(name) else { return Proof::NoSecret };
    let received_ms = record.header(header::RECEIVED_AT).and_then(|text| text.parse::<u64>().ok());
    let (now_s, tolerance_s) = received_ms.map_or((0, 0), |ms| (ms / 1000, tolerance_s));
    let signature = record.header(header::STRIPE_SIGNATURE);
    let body = record.value.as_deref().unwrap_or_default();
    match signature::verify(signature, body, &endpoint.keys, now_s, tolerance_s) {
        Ok(_) => Proof::Genuine,
        Err(refusal) => Proof::Refused(refusal),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn record(source: &str, endpoint: &str, signature: &str, received_ms: &str) -> RawRecord {
        let header = |(name, value): (&str, &str)| {
            (name.to_owned(), Some(Bytes::copy_from_slice(value.as_bytes())))
        };
        let headers = [
            (header::SOURCE, source),
            (header::ENDPOINT, endpoint),
            (header::STRIPE_SIGNATURE, signature),
            (header::RECEIVED_AT, received_ms),
        ];
        RawRecord {
            partition: 0,
            offset: 0,
            timestamp_ms: 0,
            key: None,
            headers: headers.map(header).to_vec(),
            value: Some(Bytes::from_static(b"{}")),
        }
    }

    #[test]
    fn a_webhook_is_verified_as_it_was_when_it_came() {
        let endpoints = Endpoints::parse("whsec_new,whsec_old,eu:whsec_eu", "").unwrap();
        let prove = |record: &RawRecord| prove(record, &endpoints, 300);
        let old = signature::sign("whsec_old", 1_600_000_000, b"{}");
        let genuine = record("webhook", "default", &old, "1600000300999");
        assert_eq!(prove(&genuine), Proof::Genuine);
        let late = record("webhook", "default", &old, "1600000301000");
        assert_eq!(prove(&late), Proof::Refused(Refusal::TimestampOutsideTolerance));
        assert_eq!(prove(&record("webhook", "default", &old, "")), Proof::Genuine);
        let other = record("webhook", "eu", &old, "1600000000000");
        assert_eq!(prove(&other), Proof::Refused(Refusal::NoMatchingSignature));
        assert_eq!(prove(&record("webhook", "us", &old, "0")), Proof::NoSecret);
        assert_eq!(prove(&record("stripe_list", "eu", "", "0")), Proof::Unsigned);
        let changed = RawRecord { value: Some(Bytes::from_static(b"{ }")), ..genuine };
        assert_eq!(prove(&changed), Proof::Refused(Refusal::NoMatchingSignature));
    }
}
