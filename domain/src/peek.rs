//! A look at a body: no more than the raw topic's key and headers need.
//!
//! Borrows from the body, never fails and promises little: wrong types are unknown values, a body
//! that is not JSON has a key and nothing else. What the body means is decided by its readers.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use sha2::{Digest as _, Sha256};

/// The longest text taken from a body into a header or a key, in bytes. Stripe's ids end at 255.
pub const TEXT_MAX: usize = 255;

/// What a body says of itself. `None` is unknown: absent, of another type, empty or too long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peek<'a> {
    /// Whether the body is JSON at all.
    pub json: bool,
    /// `object` of the envelope: `event`, or `v2.core.event` for a thin one.
    pub object: Option<Cow<'a, str>>,
    /// Event id.
    pub id: Option<Cow<'a, str>>,
    /// Event type.
    pub event_type: Option<Cow<'a, str>>,
    /// Stripe's time of the event, Unix seconds; unknown for thin events, which write it as text.
    pub created: Option<i64>,
    /// Connected account that the event belongs to.
    pub account: Option<Cow<'a, str>>,
    /// Live or test mode.
    pub livemode: Option<bool>,
    /// API version that shaped the payload.
    pub api_version: Option<Cow<'a, str>>,
    /// The aggregate as far as the body says it, for locality only: payment intent, else charge,
    /// else the object's own id, else the hex SHA-256 of the body.
    pub key: Cow<'a, str>,
}

/// Looks at a body.
pub fn peek(body: &[u8]) -> Peek<'_> {
    let (json, envelope) = match serde_json::from_slice::<Fields<'_, Envelope<'_>>>(body) {
        Ok(Fields(envelope, _)) => (true, envelope),
        Err(_) => (false, Envelope::default()),
    };
    let key = envelope.object.aggregate().or(envelope.related);
    Peek {
        json,
        object: envelope.kind,
        id: envelope.id,
        event_type: envelope.event_type,
        created: envelope.created,
        account: envelope.account,
        livemode: envelope.livemode,
        api_version: envelope.api_version,
        key: key.unwrap_or_else(|| Cow::Owned(hex::encode(Sha256::digest(body)))),
    }
}

type Text<'a> = Option<Cow<'a, str>>;

#[derive(Default)]
struct Envelope<'a> {
    kind: Text<'a>,
    id: Text<'a>,
    event_type: Text<'a>,
    created: Option<i64>,
    account: Text<'a>,
    livemode: Option<bool>,
    api_version: Text<'a>,
    object: Object<'a>,
    related: Text<'a>,
}

impl<'a> Take<'a> for Envelope<'a> {
    fn take<A: MapAccess<'a>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "object" => self.kind = map.next_value::<Scalar<'a>>()?.text(),
            "id" => self.id = map.next_value::<Scalar<'a>>()?.text(),
            "type" => self.event_type = map.next_value::<Scalar<'a>>()?.text(),
            "created" => self.created = map.next_value::<Scalar<'a>>()?.integer(),
            "account" => self.account = map.next_value::<Scalar<'a>>()?.text(),
            "livemode" => self.livemode = map.next_value::<Scalar<'a>>()?.boolean(),
            "api_version" => self.api_version = map.next_value::<Scalar<'a>>()?.text(),
            "data" => self.object = map.next_value::<Fields<'a, Data<'a>>>()?.0.object,
            "related_object" => self.related = map.next_value::<Fields<'a, Reference<'a>>>()?.id(),
            _ => drop(map.next_value::<IgnoredAny>()?),
        }
        Ok(())
    }
}

#[derive(Default)]
struct Data<'a> {
    object: Object<'a>,
}

impl<'a> Take<'a> for Data<'a> {
    fn take<A: MapAccess<'a>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "object" => self.object = map.next_value::<Fields<'a, Object<'a>>>()?.0,
            _ => drop(map.next_value::<IgnoredAny>()?),
        }
        Ok(())
    }
}

#[derive(Default)]
struct Object<'a> {
    kind: Text<'a>,
    id: Text<'a>,
    payment_intent: Text<'a>,
    charge: Text<'a>,
}

impl<'a> Object<'a> {
    fn aggregate(self) -> Text<'a> {
        if self.kind.as_deref() == Some("payment_intent") {
            return self.id;
        }
        self.payment_intent.or(self.charge).or(self.id)
    }
}

impl<'a> Take<'a> for Object<'a> {
    fn take<A: MapAccess<'a>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "object" => self.kind = map.next_value::<Scalar<'a>>()?.text(),
            "id" => self.id = map.next_value::<Scalar<'a>>()?.text(),
            "payment_intent" => {
                self.payment_intent = map.next_value::<Fields<'a, Reference<'a>>>()?.id();
            }
            "charge" => self.charge = map.next_value::<Fields<'a, Reference<'a>>>()?.id(),
            _ => drop(map.next_value::<IgnoredAny>()?),
        }
        Ok(())
    }
}

/// An expanded object, of which only the id counts.
#[derive(Default)]
struct Reference<'a> {
    id: Text<'a>,
}

impl<'a> Take<'a> for Reference<'a> {
    fn take<A: MapAccess<'a>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "id" => self.id = map.next_value::<Scalar<'a>>()?.text(),
            _ => drop(map.next_value::<IgnoredAny>()?),
        }
        Ok(())
    }
}

/// Takes the fields it knows from a JSON object, the last of equal names, and skips the others.
trait Take<'a>: Default {
    fn take<A: MapAccess<'a>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error>;
}

/// Any JSON value: the fields of an object, or the scalar that stands in its place.
struct Fields<'a, T>(T, Scalar<'a>);

impl<'a> Fields<'a, Reference<'a>> {
    /// A reference is an id or the expanded object.
    fn id(self) -> Text<'a> {
        self.1.text().or(self.0.id)
    }
}

impl<'de, T: Take<'de>> Deserialize<'de> for Fields<'de, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue(T::default()))
    }
}

/// A JSON scalar; arrays and objects are read over and count as null.
enum Scalar<'a> {
    Null,
    Bool(bool),
    Integer(i64),
    Text(Cow<'a, str>),
}

impl<'a> Scalar<'a> {
    fn text(self) -> Text<'a> {
        match self {
            Self::Text(text) if (1..=TEXT_MAX).contains(&text.len()) => Some(text),
            _ => None,
        }
    }

    fn integer(&self) -> Option<i64> {
        if let Self::Integer(value) = self { Some(*value) } else { None }
    }

    fn boolean(&self) -> Option<bool> {
        if let Self::Bool(value) = self { Some(*value) } else { None }
    }
}

impl<'de> Deserialize<'de> for Scalar<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue(Nothing)).map(|Fields(Nothing, scalar)| scalar)
    }
}

/// Takes no fields.
#[derive(Default)]
struct Nothing;

impl<'a> Take<'a> for Nothing {
    fn take<A: MapAccess<'a>>(&mut self, _: &str, map: &mut A) -> Result<(), A::Error> {
        map.next_value::<IgnoredAny>().map(drop)
    }
}

/// The visitor that accepts whatever comes. Depth is no danger: the only values it descends into
/// are the few named above, and `serde_json` skips the others without recursion.
struct AnyValue<T>(T);

impl<'de, T: Take<'de>> Visitor<'de> for AnyValue<T> {
    type Value = Fields<'de, T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self::Value, A::Error> {
        while let Some(Scalar::Text(key)) = map.next_key()? {
            self.0.take(&key, &mut map)?;
        }
        Ok(Fields(self.0, Scalar::Null))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Fields(self.0, Scalar::Null))
    }

    fn visit_borrowed_str<E: de::Error>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Fields(self.0, Scalar::Text(Cow::Borrowed(value))))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Fields(self.0, Scalar::Text(Cow::Owned(value.to_owned()))))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Fields(self.0, Scalar::Bool(value)))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Fields(self.0, Scalar::Integer(value)))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Fields(self.0, i64::try_from(value).map_or(Scalar::Null, Scalar::Integer)))
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Fields(self.0, Scalar::Null))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(Fields(self.0, Scalar::Null))
    }
}

#[cfg(test)]
#[path = "peek_tests.rs"]
mod tests;
