//! Lenient reading of Stripe's JSON, with errors that name the place.
//!
//! Stripe's payloads differ by API version: a field may be absent, null, an id or the whole object.
//! [`Doc`] reads what is there in one form and says where a needed field is missing or of the wrong
//! type.

use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fmt;

/// A field that the core cannot do without is missing or unusable. Never holds a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct Malformed {
    /// Place in the object, dotted.
    pub place: String,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// Absent or null.
    Missing,
    /// Another JSON type, or out of range.
    WrongType,
    /// A status that this version does not know.
    UnknownStatus,
    /// An id longer than [`MAX_ID_LEN`] or with characters that no id has.
    BadId,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "missing",
            Self::WrongType => "wrong type",
            Self::UnknownStatus => "unknown status",
            Self::BadId => "not an id",
        })
    }
}

/// Longest id that is taken for one. Stripe promises ids of at most 255 characters.
pub const MAX_ID_LEN: usize = 255;

/// Longest text that is taken for one of our keys, characters: Stripe's own limit of a metadata
/// value. An index of PostgreSQL could not take much more.
const MAX_METADATA_LEN: usize = 500;

/// Room for the canonical form of most objects without growing.
const CANONICAL_BYTES: usize = 4096;

/// Whether this text can name something: short, and nothing that PostgreSQL cannot keep. Merchants
/// choose the ids of coupons and plans, with white space and all.
pub fn is_name(text: &str) -> bool {
    (1..=MAX_ID_LEN).contains(&text.len()) && !text.contains('\0')
}

/// Whether this is a time in the years that every part of the system can express, 1970 to 9999.
pub fn is_time(unix: i64) -> bool {
    (0..=253_402_300_799).contains(&unix)
}

/// Whether this text can be an id: short, printable, without white space.
pub fn is_id(text: &str) -> bool {
    (1..=MAX_ID_LEN).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A JSON object, read leniently.
#[derive(Debug, Clone, Copy)]
pub struct Doc<'a>(pub &'a Value);

impl<'a> Doc<'a> {
    /// The field, unless absent or null.
    pub fn get(self, field: &str) -> Option<&'a Value> {
        self.0.get(field).filter(|value| !value.is_null())
    }

    /// The object in this field.
    pub fn child(self, field: &str) -> Option<Doc<'a>> {
        self.get(field).filter(|value| value.is_object()).map(Doc)
    }

    /// The text in this field.
    pub fn text(self, field: &str) -> Option<&'a str> {
        self.get(field)?.as_str()
    }

    /// The text in this field, which must be there.
    pub fn need_text(self, field: &str) -> Result<&'a str, Malformed> {
        let value = self.get(field).ok_or_else(|| missing(field))?;
        value.as_str().ok_or_else(|| wrong_type(field))
    }

    /// The integer in this field: money in minor units, or Unix seconds.
    pub fn integer(self, field: &str) -> Option<i64> {
        self.get(field)?.as_i64()
    }

    /// The integer in this field, which must be there.
    pub fn need_integer(self, field: &str) -> Result<i64, Malformed> {
        let value = self.get(field).ok_or_else(|| missing(field))?;
        value.as_i64().ok_or_else(|| wrong_type(field))
    }

    /// The time in this field, Unix seconds. One that PostgreSQL could not keep is an error here,
    /// where it concerns this record alone, and not later, when others need the snapshot.
    pub fn time(self, field: &str) -> Result<Option<i64>, Malformed> {
        match self.integer(field) {
            Some(unix) if !is_time(unix) => Err(wrong_type(field)),
            found => Ok(found),
        }
    }

    /// A flag; absent is false.
    pub fn flag(self, field: &str) -> bool {
        self.get(field).and_then(Value::as_bool).unwrap_or(false)
    }

    /// The id in this field, given as such or as the expanded object.
    pub fn id_of(self, field: &str) -> Option<&'a str> {
        let value = self.get(field)?;
        value.as_str().or_else(|| value.get("id")?.as_str()).filter(|id| is_id(id))
    }

    /// The object's own id, which must be there.
    pub fn need_id(self) -> Result<&'a str, Malformed> {
        let id = self.need_text("id")?;
        if is_id(id) { Ok(id) } else { Err(malformed("id", Problem::BadId)) }
    }

    /// The currency, upper case (ISO 4217).
    pub fn need_currency(self) -> Result<String, Malformed> {
        self.need_text("currency").map(str::to_uppercase)
    }

    /// A value of the object's metadata, if its length is one that Stripe allows. Stripe sends `[]`
    /// for empty metadata in some versions.
    pub fn metadata(self, key: &str) -> Option<&'a str> {
        self.child("metadata")?.label(key)
    }

    /// A text that people chose, if it is not empty and no longer than metadata may be.
    pub fn label(self, field: &str) -> Option<&'a str> {
        let value = self.text(field)?;
        (1..=MAX_METADATA_LEN).contains(&value.chars().count()).then_some(value)
    }

    /// The elements of a Stripe list (`{"object": "list", "data": […]}`) or of a bare array.
    pub fn list(self, field: &str) -> &'a [Value] {
        let items = self.get(field).and_then(|value| {
            value.as_array().or_else(|| value.get("data").and_then(Value::as_array))
        });
        items.map_or(&[], Vec::as_slice)
    }
}

/// An error about this place.
pub fn malformed(place: &str, problem: Problem) -> Malformed {
    Malformed { place: place.to_owned(), problem }
}

fn missing(place: &str) -> Malformed {
    malformed(place, Problem::Missing)
}

fn wrong_type(place: &str) -> Malformed {
    malformed(place, Problem::WrongType)
}

/// Writes every number as `jsonb` gives it back: `1e16` becomes an integer there, so it must be one
/// from the start, or a snapshot would read differently once it was stored.
pub fn normalize_numbers(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            // Rust's own form has no exponent and no `.0`.
            let plain = number.as_f64().and_then(|float| float.to_string().parse().ok());
            if let Some(plain) = plain {
                *number = plain;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(normalize_numbers),
        Value::Object(fields) => fields.values_mut().for_each(normalize_numbers),
        _ => {}
    }
}

/// JSON with sorted keys and no spaces: equal values give equal text.
///
/// `serde_json` keeps maps sorted (its `preserve_order` feature is off in this workspace).
pub fn canonical(value: &Value) -> String {
    value.to_string()
}

/// SHA-256 of the canonical form.
pub fn canonical_hash(value: &Value) -> [u8; 32] {
    // Bytes, not text: what is only hashed need not go through a formatter and be checked as UTF-8.
    let mut bytes = Vec::with_capacity(CANONICAL_BYTES);
    serde_json::to_writer(&mut bytes, value).expect("a value is JSON, and memory takes it");
    Sha256::digest(bytes).into()
}

/// Whether a key or text holds U+0000, which PostgreSQL keeps neither in `text` nor in `jsonb`.
pub fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(holds_nul),
        Value::Object(fields) => {
            fields.iter().any(|(key, value)| key.contains('\0') || holds_nul(value))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_an_id_whether_expanded_or_not() {
        let plain = json!({"charge": "ch_1"});
        let expanded = json!({"charge": {"id": "ch_1", "object": "charge"}});
        assert_eq!(Doc(&plain).id_of("charge"), Some("ch_1"));
        assert_eq!(Doc(&expanded).id_of("charge"), Some("ch_1"));
        assert_eq!(Doc(&json!({"charge": "a b"})).id_of("charge"), None);
    }

    #[test]
    fn metadata_may_be_an_empty_array() {
        assert_eq!(Doc(&json!({"metadata": []})).metadata("quote_id"), None);
        assert_eq!(Doc(&json!({"metadata": {"quote_id": "q"}})).metadata("quote_id"), Some("q"));
    }

    #[test]
    fn canonical_form_ignores_the_order_of_keys() {
        let a: Value = serde_json::from_str(r#"{"b":1,"a":[1,{"d":2,"c":3}]}"#).unwrap();
        let b: Value = serde_json::from_str(r#"{"a":[1,{"c":3,"d":2}],"b":1}"#).unwrap();
        assert_eq!(canonical_hash(&a), canonical_hash(&b));
        assert_eq!(canonical(&a), r#"{"a":[1,{"c":3,"d":2}],"b":1}"#);
        assert_eq!(canonical_hash(&a), <[u8; 32]>::from(Sha256::digest(canonical(&a))));
    }

    #[test]
    fn finds_a_nul_anywhere() {
        assert!(holds_nul(&json!({"a": ["x", {"b": "\0"}]})));
        assert!(holds_nul(&json!({"a\0": 1})));
        assert!(!holds_nul(&json!({"a": "\\u0000"})));
    }
}
