//! Tests of [`super`].
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn key(object: &str) -> String {
    peek(format!(r#"{{"id":"evt_1","data":{{"object":{object}}}}}"#).as_bytes()).key.into_owned()
}

fn hash(body: &[u8]) -> String {
    hex::encode(Sha256::digest(body))
}

#[test]
fn an_event_tells_what_the_headers_need() {
    let body = br#"{"id":"evt_1","object":"event","account":"acct_1","api_version":"2024-06-20",
        "created":1700000000,"livemode":false,"pending_webhooks":1,"type":"charge.succeeded",
        "data":{"object":{"id":"ch_1","object":"charge","payment_intent":"pi_1"}}}"#;
    let seen = peek(body);
    assert!(seen.json);
    assert_eq!(seen.object.as_deref(), Some("event"));
    assert_eq!(seen.id.as_deref(), Some("evt_1"));
    assert_eq!(seen.event_type.as_deref(), Some("charge.succeeded"));
    assert_eq!(seen.created, Some(1_700_000_000));
    assert_eq!(seen.account.as_deref(), Some("acct_1"));
    assert_eq!(seen.livemode, Some(false));
    assert_eq!(seen.api_version.as_deref(), Some("2024-06-20"));
    assert_eq!(seen.key, "pi_1");
    assert!(matches!(seen.id, Some(Cow::Borrowed(_))), "an id is borrowed from the body");
}

#[test]
fn the_key_is_the_aggregate() {
    assert_eq!(key(r#"{"id":"pi_1","object":"payment_intent","charge":"ch_1"}"#), "pi_1");
    assert_eq!(key(r#"{"id":"dp_1","object":"dispute","charge":"ch_1"}"#), "ch_1");
    assert_eq!(key(r#"{"id":"re_1","charge":{"id":"ch_1"},"payment_intent":null}"#), "ch_1");
    assert_eq!(key(r#"{"id":"ch_1","payment_intent":{"object":"x","id":"pi_1"}}"#), "pi_1");
    assert_eq!(key(r#"{"id":"po_1","object":"payout"}"#), "po_1");
    let thin = br#"{"id":"evt_2","object":"v2.core.event","related_object":{"id":"acct_1"}}"#;
    assert_eq!(peek(thin).key, "acct_1");
}

#[test]
fn a_body_that_names_no_object_is_keyed_by_its_hash() {
    for body in [
        "",
        "}",
        "not JSON",
        "{}",
        "[]",
        "null",
        "1",
        r#""text""#,
        r#"{"data":1}"#,
        r#"{"data":{"object":[]}}"#,
        r#"{"data":{"object":{"id":7}}}"#,
        r#"{"id":"evt_1"} trailing"#,
    ] {
        assert_eq!(peek(body.as_bytes()).key, hash(body.as_bytes()), "{body}");
    }
    assert!(!peek(br#"{"id":"evt_1"} trailing"#).json);
    assert!(peek(b"[]").json);
}

#[test]
fn wrong_types_are_unknown_and_harm_nothing_else() {
    let body = br#"{"id":{"deep":[1]},"type":7,"created":"2024-01-01T00:00:00Z","account":null,
        "livemode":"yes","api_version":[],"data":{"object":{"id":"ch_1","charge":[{"id":"x"}],
        "payment_intent":1.5e300,"metadata":[]}},"request":"req_1"}"#;
    let seen = peek(body);
    assert!(seen.json);
    assert_eq!((seen.id, seen.event_type, seen.created), (None, None, None));
    assert_eq!((seen.account, seen.livemode, seen.api_version), (None, None, None));
    assert_eq!(seen.key, "ch_1");
}

#[test]
fn escapes_are_resolved_and_the_last_of_equal_names_counts() {
    let seen = peek(br#"{"id":"evt\u005f1","i\u0064":"evt_2","type":"a\"b"}"#);
    assert_eq!(seen.id.as_deref(), Some("evt_2"));
    assert_eq!(seen.event_type.as_deref(), Some("a\"b"));
    assert_eq!(peek(br#"{"id":"evt\u005f1"}"#).id.as_deref(), Some("evt_1"));
}

#[test]
fn texts_have_bounds() {
    let (fits, long) = ("x".repeat(TEXT_MAX), "x".repeat(TEXT_MAX + 1));
    assert_eq!(peek(format!(r#"{{"id":"{fits}"}}"#).as_bytes()).id.unwrap(), fits);
    assert_eq!(peek(format!(r#"{{"id":"{long}"}}"#).as_bytes()).id, None);
    assert_eq!(peek(br#"{"id":""}"#).id, None);
    let body = format!(r#"{{"data":{{"object":{{"id":"{long}"}}}}}}"#);
    assert_eq!(peek(body.as_bytes()).key, hash(body.as_bytes()));
}

#[test]
fn depth_and_length_are_no_danger() {
    for depth in [500, 100_000] {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        let body = format!(
            r#"{{"id":{open}{close},"x":{open}{close},"data":{{"object":{{"id":"ch_1",
            "charge":{open}{close},"y":{open}{close}}}}}}}"#
        );
        assert_eq!(peek(body.as_bytes()).key, "ch_1", "depth {depth}");
        assert!(peek(format!("{open}{close}").as_bytes()).json);
    }
    let digits = "7".repeat(1 << 20);
    peek(digits.as_bytes());
    assert_eq!(key(&format!(r#"{{"id":"ch_1","amount":{digits}}}"#)), "ch_1");
}

proptest! {
    #[test]
    fn anything_gets_a_key(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let seen = peek(&body);
        prop_assert!((1..=TEXT_MAX).contains(&seen.key.len()));
    }

    #[test]
    fn anything_cut_short_gets_a_key(cut in 0usize..160) {
        let body = br#"{"id":"evt_1","created":1,"data":{"object":{"id":"\u00e9","charge":{"id":"c"}}}}"#;
        let seen = peek(&body[..cut.min(body.len())]);
        prop_assert!(!seen.key.is_empty());
        prop_assert_eq!(seen.json, cut >= body.len());
    }
}
